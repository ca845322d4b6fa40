"""JSON from anybody: refused with a place and a sentence, never by an accident of the parser."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemiscale_strategist.bounded_json import (
    JsonLimits,
    decode_utf8,
    load_bounded_json,
    parse_bounded_json,
    read_bounded_bytes,
)
from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def parse(text: str | bytes, **limits: int) -> object:
    content = text.encode() if isinstance(text, str) else text
    return parse_bounded_json(content, source="file.json", limits=JsonLimits(**limits))


def refusal(text: str | bytes, **limits: int) -> RejectedFileError:
    with pytest.raises(RejectedFileError) as caught:
        parse(text, **limits)
    return caught.value


@given(json_values)
def test_plain_values_come_back_as_they_went(value):
    assert parse(json.dumps(value)) == value


@given(json_values)
def test_agrees_with_the_parser_whatever_stands_in_strings(value):
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert parse(text) == json.loads(text)


@given(st.binary())
def test_arbitrary_bytes_are_read_or_refused(content):
    with contextlib.suppress(RejectedFileError):
        parse(content)


@given(st.text(alphabet='[]{}",:\\ \n0.1eE-NanIfity', max_size=60))
def test_almost_json_is_read_or_refused(text):
    try:
        value = parse(text, max_depth=3)
    except RejectedFileError:
        return
    assert value == json.loads(text)


@given(st.lists(st.sampled_from(["[", '{"a":']), min_size=1, max_size=8), st.sampled_from(['"]}[["', "1", r'"\"[["']))
def test_depth_is_that_of_arrays_and_objects_outside_strings(openings, leaf):
    text = "".join(openings) + leaf + "".join("]" if opening == "[" else "}" for opening in reversed(openings))
    assert parse(text, max_depth=len(openings)) == json.loads(text)
    if len(openings) > 1:
        assert f"nested more than {len(openings) - 1} levels" in refusal(text, max_depth=len(openings) - 1).problem


def test_siblings_do_not_add_to_the_depth():
    assert parse("[[],[],[],[]]", max_depth=2) == [[], [], [], []]


def test_depth_excess_tells_line_and_column():
    error = refusal('{"a":\n  [[\n 1]]}', max_depth=2)
    assert (error.line, error.column) == (2, 4)
    assert str(error) == "file.json, line 2, column 4: nested more than 2 levels deep"


def test_nesting_that_would_exhaust_the_stack_is_refused_before_parsing():
    depth = 200_000
    assert refusal("[" * depth).column == 65
    # Where the limit is lifted, the parser's own is no crash either.
    assert "too deeply" in refusal("[" * depth, max_depth=10**6).problem


def test_an_unclosed_string_is_scanned_once():
    # Scanning again from every escaped quote would take minutes, in which the interpreter hears no signal: so apart.
    program = (
        "from alchemiscale_strategist.bounded_json import *\n"
        "content = b'[[],[],\"' + b'\\\\\"' * 500_000\n"
        "try:\n"
        "    parse_bounded_json(content, source='file.json', limits=JsonLimits(max_depth=2))\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.startswith("file.json, line 1, column 8: not valid JSON: Unterminated string")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[1 2]", 1, 4),
        ('{\n "a": }', 2, 7),
        ("nope", 1, 1),
        ("[1]\n[2]", 2, 1),
        ('["é" x]', 1, 6),
        ("\N{BYTE ORDER MARK}[1 2]", 1, 4),
    ],
)
def test_broken_json_tells_line_and_column(text, line, column):
    error = refusal(text)
    assert (error.line, error.column) == (line, column)
    assert f"file.json, line {line}, column {column}: not valid JSON" in str(error)


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [(b"\xff\xfe[\x00", 1, 1), (b'[1,\n "\xc3\xa9\xff"]', 2, 4), (b'\xef\xbb\xbf["\xff"]', 1, 3)],
)
def test_bytes_that_are_no_utf8_tell_line_and_column(content, line, column):
    error = refusal(content)
    assert (error.line, error.column) == (line, column)
    assert "not UTF-8 text (byte 0xff)" in error.problem
    assert error.remedy


@pytest.mark.parametrize("text", ["", " \n\t", "\N{BYTE ORDER MARK}"])
def test_nothing_is_no_json(text):
    assert refusal(text).problem == "is empty, expected JSON"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_lacks_are_refused(constant):
    assert refusal(f'{{"a": [{constant}]}}').problem == f"{constant} is no JSON number"


def test_numbers_beyond_what_can_be_held_are_refused():
    assert "1e999" in refusal("[1e999]").problem
    assert "5000 digits" in refusal("9" * 5000).problem
    assert parse("9" * 4300) == int("9" * 4300)
    assert parse("[1.5, -2e-400]") == [1.5, -0.0]


def test_long_integers_are_refused_under_a_lower_limit_of_python():
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(700)
    try:
        assert "800 digits" in refusal("9" * 800).problem
    finally:
        sys.set_int_max_str_digits(before)


def test_duplicate_keys_are_named():
    assert refusal('{"a": 1, "b": {"c": 1, "c": 1}}').problem == "an object has the key 'c' twice"
    assert len(refusal(json.dumps("k" * 500).join(["{", ":1,", ":1}"])).problem) < 150


def test_size_is_checked_before_reading(tmp_path):
    path = tmp_path / "large.json"
    path.write_text("[1, 2, 3]")
    assert load_bounded_json(path, limits=JsonLimits(max_bytes=9)) == [1, 2, 3]
    with pytest.raises(RejectedFileError, match="larger than the limit of 8 bytes") as caught:
        load_bounded_json(path, limits=JsonLimits(max_bytes=8))
    assert caught.value.path == path
    assert "limit of 8 bytes" in refusal("[1, 2, 3]", max_bytes=8).problem
    sparse = tmp_path / "sparse.json"
    with sparse.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RejectedFileError, match="536,870,912 bytes"):
        load_bounded_json(sparse)


def test_a_pipe_that_tells_no_size_is_bounded_too(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"[1, 2, 3]",))
    writer.start()
    with pytest.raises(RejectedFileError, match="larger than the limit of 4 bytes"):
        read_bounded_bytes(pipe, max_bytes=4)
    writer.join(timeout=30)


def test_what_cannot_be_opened_is_told(tmp_path, monkeypatch):
    for path, sentence in [
        (tmp_path / "missing.json", "there is no such file"),
        (tmp_path, "is a directory, expected a file"),
        (tmp_path / ("x" * 5000), "cannot be read: File name too long"),
        (tmp_path / "a\0b", "is no file's path"),
    ]:
        with pytest.raises(RejectedFileError, match=sentence):
            load_bounded_json(path)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(RejectedFileError, match="permission denied"):
        load_bounded_json(tmp_path / "locked.json")


@pytest.mark.parametrize("field", ["max_bytes", "max_depth"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_limits_are_positive_whole_numbers(field, value):
    with pytest.raises(RejectedInputError, match=field):
        JsonLimits(**{field: value})


def test_a_byte_order_mark_is_no_text():
    assert decode_utf8("\N{BYTE ORDER MARK}é".encode(), source="x") == "é"
