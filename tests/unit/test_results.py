"""Results tables: every problem is told by its place and what was expected."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation
from alchemiscale_strategist.results import NetworkResults, Repeat, read_results

DATA = Path(__file__).parents[1] / "data"
HEAD = "transformation,repeat,estimate,uncertainty\n"


@pytest.fixture(scope="module")
def network():
    return NetworkGraph.read(DATA / "small_network.json")


@pytest.fixture
def read(tmp_path, network):
    def read_text(text, name="results.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_results(path, network)

    return read_text


@pytest.fixture
def refused(read):
    def read_refused(text, name="results.csv"):
        with pytest.raises(RejectedFileError) as caught:
            read(text, name)
        return caught.value

    return read_refused


@pytest.fixture
def ab(network):
    return network.resolve("a_b_solvent")


def test_the_small_table(network):
    results = read_results(DATA / "small_results.csv", network)
    assert results.total == 12
    assert list(results) == list(network.by_key)
    assert all(results.count(key) == 2 for key in network.by_key)
    assert results[network.resolve("a_b_solvent")] == (
        Repeat(repeat=0, estimate=-1.13, uncertainty=0.06),
        Repeat(repeat=1, estimate=-0.76, uncertainty=0.07),
    )
    assert results[network.resolve("a_c_complex")][1].uncertainty is None


@pytest.mark.parametrize("campaign", ["tyk2", "hif2a", "mcl1", "thrombin"])
def test_real_campaigns(shared_data, tmp_path, campaign):
    stem = shared_data / "campaigns" / f"{campaign}_openfe2024"
    network = NetworkGraph.read(f"{stem}.json")
    results = read_results(f"{stem}_results.csv", network)
    assert len(results) == len(network)
    assert {tuple(repeat.repeat for repeat in repeats) for repeats in results.values()} == {(0, 1, 2)}
    # Against pandas, and by way of Parquet.
    frame = pd.read_csv(f"{stem}_results.csv")
    assert results.total == len(frame)
    for row in frame.itertuples():
        repeat = results[row.transformation_key][row.repeat]
        assert (repeat.estimate, repeat.uncertainty) == (row.estimate_kcal_per_mol, row.uncertainty_kcal_per_mol)
    frame.to_parquet(tmp_path / "results.parquet")
    assert read_results(tmp_path / "results.parquet", network) == results


def test_names_and_keys_and_order(read, network, ab):
    results = read(f"{HEAD}{ab},2,2.5,\n a_b_solvent ,0,-1e-1,0\n{ab},1,+.5,0.1\n")
    assert results[ab] == (
        Repeat(repeat=0, estimate=-0.1, uncertainty=0.0),
        Repeat(repeat=1, estimate=0.5, uncertainty=0.1),
        Repeat(repeat=2, estimate=2.5, uncertainty=None),
    )
    other = network.resolve("b_c_solvent")
    assert (len(results), results.total, results.count(other), results.of(other)) == (1, 3, 0, ())
    assert other not in results
    with pytest.raises(KeyError):
        results[other]


@pytest.mark.parametrize(
    "header",
    [
        "transformation,repeat,estimate_kcal_per_mol",
        "Transformation,Repeat,Estimate",
        "\N{BYTE ORDER MARK}transformation,repeat,estimate (kcal/mol)",
        '"transformation", "repeat", "estimate [kcal mol^-1]"',
        "transformation,repeat,estimate_kcal",
    ],
)
def test_headers(read, ab, header):
    assert read(f"{header}\na_b_solvent,0,1\n")[ab] == (Repeat(repeat=0, estimate=1.0),)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_blank_lines(read, refused, ab, end):
    lines = [HEAD.strip(), "", "a_b_solvent,0,1,", "", ",,,", "a_b_solvent,1,x,"]
    assert read(end.join(lines[:5]))[ab] == (Repeat(repeat=0, estimate=1.0),)
    error = refused(end.join(lines))
    assert (error.line, error.column) == (6, 3)


def test_a_header_alone_gives_no_results(read, network, tmp_path):
    results = read(HEAD)
    assert (len(results), results.total) == (0, 0)
    assert all(results.of(key) == () for key in network.by_key)
    frame = pd.DataFrame({"transformation": [], "repeat": [], "estimate": []})
    frame.to_parquet(tmp_path / "none.parquet")
    assert read_results(tmp_path / "none.parquet", network) == results


def test_the_index_of_pandas_is_nobodys_column(read, ab):
    assert read(",transformation,repeat,estimate\n0,a_b_solvent,0,1\n")[ab][0].estimate == 1


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("transformation,estimate\n", 1, None, "no column 'repeat'; found the columns 'transformation', 'estimate'"),
        ("repeat,estimate\n", 1, None, "no column 'transformation'; found"),
        ("transformation,repeat,value\n", 1, None, "no column 'estimate_kcal_per_mol'; found"),
        ("\n\ntransformation,estimate\n", 3, None, "no column 'repeat'"),
        ("transformation,repeat,repeat,estimate\n", 1, 3, "repeat: column 2 has the same name"),
        ("transformation,repeat,estimate,estimate_kcal_per_mol\n", 1, 4, "column 3 gives the estimate, too"),
        (f"{HEAD}a_b_solvant,0,1,\n", 2, 1, "transformation: got 'a_b_solvant', expected the name or key"),
        (f"{HEAD},0,1,\n", 2, 1, "transformation: the cell is empty, expected the name or key"),
        (f"{HEAD}a_b_solvent,,1,\n", 2, 2, "repeat: the cell is empty, expected a whole number of at least 0"),
        (f"{HEAD}a_b_solvent,-1,1,\n", 2, 2, "repeat: got '-1', expected a whole number"),
        (f"{HEAD}a_b_solvent,0.5,1,\n", 2, 2, "repeat: got '0.5', expected a whole number"),
        (f"{HEAD}a_b_solvent,1e300,1,\n", 2, 2, "repeat: got '1e300', expected a whole number"),
        (f"{HEAD}a_b_solvent,0,1,\na_b_solvent,0,2,\n", 3, 2, "repeat 0 of 'a_b_solvent' is already in line 2"),
        (f"{HEAD}a_b_solvent,0,,\n", 2, 3, "estimate: the cell is empty, expected a finite number"),
        (f"{HEAD}a_b_solvent,0,high,\n", 2, 3, "estimate: got 'high', expected a finite number"),
        (f"{HEAD}a_b_solvent,0,nan,\n", 2, 3, "estimate: got 'nan', expected a finite number"),
        (f"{HEAD}a_b_solvent,0,-inf,\n", 2, 3, "estimate: got '-inf', expected a finite number"),
        (f"{HEAD}a_b_solvent,0,1e999,\n", 2, 3, "estimate: got '1e999', expected a finite number"),
        (f"{HEAD}a_b_solvent,0,1_000,\n", 2, 3, "estimate: got '1_000', expected a finite number"),
        (f'{HEAD}a_b_solvent,0,"1,5",\n', 2, 3, "estimate: got '1,5', expected a finite number"),
        (f"{HEAD}a_b_solvent,0,1,-0.1\n", 2, 4, "uncertainty: got '-0.1', expected a finite number of at least 0"),
        (f"{HEAD}a_b_solvent,0,1,NaN\n", 2, 4, "uncertainty: got 'NaN', expected a finite number of at least 0"),
        (f"{HEAD}a_b_solvent,0,1\n", 2, 4, "the row has 3 cells, expected 4 as in line 1"),
        (f"{HEAD}a_b_solvent,0,1,,\n", 2, 5, "the row has 5 cells, expected 4 as in line 1"),
        (f'{HEAD}a_b_solvent,0,"1"2,\n', 2, None, "the row cannot be read"),
        (b"transformation,repeat,estimate\na_b_solvent,0,\xb1\n", 2, 15, "not UTF-8 text (byte 0xb1)"),
        ("", None, None, "is empty, expected a line with the names of the columns"),
        ("\n\n", None, None, "is empty"),
    ],
)
def test_a_problem_tells_line_and_column(refused, text, line, column, words):
    error = refused(text)
    assert (error.line, error.column) == (line, column)
    assert words in error.problem
    where = "results.csv" + (f", line {line}" if line else "") + (f", column {column}" if column else "")
    assert f"{where}: " in str(error)


def test_lines_are_those_of_an_editor(refused):
    head = '"a\nnote",transformation,repeat,estimate\n'
    good = '"two\r\nlines",a_b_solvent,0,1\n'
    # The row starts in line 5; the cell stands behind one that runs into line 7.
    bad = '"three\n\nlines",a_b_solvent,1,x\n'
    error = refused(head + good + bad)
    assert (error.line, error.column) == (7, 4)
    lines = (head + good + bad).splitlines()
    assert lines[error.line - 1].endswith(",x")


def test_close_names_are_told(refused):
    assert "close to it: 'a_b_solvent'" in refused(f"{HEAD}a_b_solvant,0,1,\n").problem


def test_decimal_commas_have_a_remedy(refused):
    assert "decimal point" in refused(f'{HEAD}a_b_solvent,0,"1,5",\n').remedy


@pytest.mark.parametrize(
    ("header", "unit", "conversion"),
    [
        ("estimate_kj_per_mol", "kJ/mol", "divide by 4.184"),
        ("estimate_kJ_mol", "kJ/mol", "divide by 4.184"),
        ("estimate (kJ/mol)", "kJ/mol", "divide by 4.184"),
        ("Estimate in kilojoules per mole", "kJ/mol", "divide by 4.184"),
        ("estimate [J mol^-1]", "J/mol", "divide by 4184"),
        ("estimate_kT", "kT", "temperature"),
        ("estimate_kB_T", "kT", "temperature"),
        ("estimate_eV", "eV", "23.0605"),
    ],
)
def test_other_units_in_a_header(refused, header, unit, conversion):
    error = refused(f"transformation,repeat,{header}\na_b_solvent,0,1\n")
    assert (error.line, error.column) == (1, 3)
    assert f"{header}: found the unit {unit}, expected kcal/mol: " in error.problem
    assert conversion in error.problem
    assert conversion in error.remedy


def test_another_unit_of_the_uncertainty_is_not_overlooked(refused):
    error = refused("transformation,repeat,estimate,uncertainty_kJ_mol\na_b_solvent,0,1,1\n")
    assert (error.line, error.column) == (1, 4)


@pytest.mark.parametrize("cell", ["1.2 kJ/mol", "1.2kJ/mol", "-1e-3 kJ mol-1", "1.2 kj per mol"])
def test_other_units_in_a_cell(refused, cell):
    error = refused(f"{HEAD}a_b_solvent,0,{cell},\n")
    assert (error.line, error.column) == (2, 3)
    assert "found the unit kJ/mol, expected kcal/mol: divide by 4.184" in error.problem


def test_the_right_unit_in_a_cell_is_to_be_left_out(refused):
    assert refused(f"{HEAD}a_b_solvent,0,1,0.1 kcal/mol\n").remedy == "Write the number alone, in kcal/mol."


def test_a_column_of_units(read, refused, ab):
    head = "transformation,repeat,estimate,unit\n"
    assert read(f"{head}a_b_solvent,0,1,kcal/mol\na_b_solvent,1,1,\n").count(ab) == 2
    error = refused(f"{head}a_b_solvent,0,1,kJ/mol\n")
    assert (error.line, error.column) == (2, 4)
    assert "divide by 4.184" in error.problem
    assert "got 'furlong', expected kcal/mol" in refused(f"{head}a_b_solvent,0,1,furlong\n").problem


def test_the_key_must_agree(read, refused, network, ab):
    head = "transformation,transformation_key,repeat,estimate\n"
    other = network.resolve("b_c_solvent")
    assert read(f"{head}a_b_solvent,{ab},0,1\n{ab},{ab},1,1\na_b_solvent,,2,1\n").count(ab) == 3
    for cell, words in [
        (other, f"{other} is the key of 'b_c_solvent', expected the key of 'a_b_solvent'"),
        ("Transformation-none", "got 'Transformation-none', expected the name or key"),
        ("a_b_solvent", "got the name 'a_b_solvent', expected a key"),
    ]:
        error = refused(f"{head}a_b_solvent,{cell},0,1\n")
        assert (error.line, error.column) == (2, 2)
        assert words in error.problem


def test_a_key_tells_apart_what_a_name_does_not(tmp_path):
    edges = tuple(
        NetworkTransformation(key=f"Transformation-{leg}", name="a_b", state_a="a", state_b="b", leg=leg)
        for leg in ("complex", "solvent")
    )
    network = NetworkGraph(name="n", key="k", transformations=edges)
    path = tmp_path / "results.csv"
    path.write_text("transformation,repeat,estimate\na_b,0,1\n")
    with pytest.raises(RejectedFileError, match=r"line 2, column 1: .* a key, as 2 Transformations have that name"):
        read_results(path, network)
    path.write_text("transformation,transformation_key,repeat,estimate\na_b,Transformation-solvent,0,1\n")
    assert list(read_results(path, network)) == ["Transformation-solvent"]


def test_tsv(read, refused, ab):
    assert read(f"{HEAD}a_b_solvent,0,1,\n".replace(",", "\t"), "results.tsv").count(ab) == 1
    assert "'\\t'" in refused(HEAD.replace(",", "\t")).remedy


@pytest.mark.parametrize("blank", [" ", "\t", "\x1c", "\x85", "\u2003"])
def test_blanks_around_a_cell_do_not_matter(read, ab, blank):
    row = ",".join(f"{blank}{cell}{blank}" for cell in ("a_b_solvent", "1", ".5", ""))
    assert read(f"{HEAD}{row}\n")[ab] == (Repeat(repeat=1, estimate=0.5),)


# Parquet


def parquet(tmp_path, **columns):
    path = tmp_path / "results.parquet"
    given = {"transformation": ["a_b_solvent", "b_c_solvent"], "repeat": [0, 0], "estimate": [1.0, 2.0]}
    pq.write_table(pa.table(given | columns), path)
    return path


def test_parquet(tmp_path, network, ab):
    results = read_results(parquet(tmp_path, repeat=[0.0, 1.0], estimate=[1, 2], uncertainty=[None, 0.25]), network)
    assert results[ab] == (Repeat(repeat=0, estimate=1.0),)
    assert results[network.resolve("b_c_solvent")] == (Repeat(repeat=1, estimate=2.0, uncertainty=0.25),)


@pytest.mark.parametrize(
    ("columns", "where", "words"),
    [
        ({"estimate": [1.0, float("nan")]}, (2, 3), "estimate: got nan, expected a finite number"),
        ({"estimate": [float("inf"), 1.0]}, (1, 3), "estimate: got inf, expected a finite number"),
        ({"estimate": [1.0, None]}, (2, 3), "estimate: the cell is empty"),
        ({"estimate": [True, False]}, (1, 3), "estimate: got True"),
        ({"estimate": ["1", "1 kJ/mol"]}, (2, 3), "found the unit kJ/mol"),
        ({"repeat": [0, -1]}, (2, 2), "repeat: got -1"),
        ({"transformation": ["a_b_solvent"] * 2}, (2, 2), "is already in row 1"),
        ({"uncertainty": [0.1, -0.1]}, (2, 4), "uncertainty: got -0.1"),
        ({"uncertainty_kJ_mol": [0.1, 0.1]}, (None, 4), "found the unit kJ/mol"),
        ({"uncertainty": [[0.1], []]}, (1, 4), "uncertainty: got [0.1]"),
    ],
)
def test_a_problem_in_parquet_tells_row_and_column(tmp_path, network, columns, where, words):
    path = parquet(tmp_path, **columns)
    with pytest.raises(RejectedFileError) as caught:
        read_results(path, network)
    error = caught.value
    row, column = where
    assert (error.line, error.column) == where
    assert words in error.problem
    assert (f"row {row}, column {column}: " if row else f"results.parquet, column {column}: ") in str(error)


def test_files_that_cannot_be_read(tmp_path, network):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but no more")
    for name, words in [
        ("missing.csv", "no such file"),
        ("missing.parquet", "no such file"),
        ("broken.parquet", "cannot be read as Parquet"),
        ("results.xlsx", ".csv, .tsv, .parquet, .pq"),
    ]:
        with pytest.raises(RejectedFileError, match=words):
            read_results(tmp_path / name, network)


FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
SMALL_BYTES = (DATA / "small_results.csv").read_bytes()


@FUZZ
@given(at=st.integers(0, len(SMALL_BYTES)), cut=st.integers(0, 20), bits=st.binary(max_size=6))
def test_damaged_tables_are_read_or_refused(tmp_path, network, at, cut, bits):
    path = tmp_path / "damaged.csv"
    path.write_bytes(SMALL_BYTES[:at] + bits + SMALL_BYTES[at + cut :])
    with contextlib.suppress(RejectedFileError):
        assert read_results(path, network).total <= 12 + len(bits)


@FUZZ
@given(data=st.data())
def test_damaged_parquet_is_read_or_refused(tmp_path, network, data):
    content = bytearray(parquet(tmp_path, uncertainty=[0.1, None]).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    with contextlib.suppress(RejectedFileError):
        read_results(path, network)


# The values


def test_results_of_nothing_known_are_refused():
    with pytest.raises(RejectedInputError, match="keys of the network's Transformations"):
        NetworkResults(transformations=("T-1",), repeats={"T-2": []})
    with pytest.raises(RejectedInputError, match="transformation: got 'T-2'"):
        NetworkResults(transformations=("T-1",), repeats={}).of("T-2")
    twice = [Repeat(repeat=0, estimate=1.0), Repeat(repeat=0, estimate=2.0)]
    with pytest.raises(RejectedInputError, match="every repeat of a Transformation once"):
        NetworkResults(transformations=("T-1",), repeats={"T-1": twice})


@pytest.mark.parametrize(
    "fields",
    [{"repeat": -1}, {"estimate": float("nan")}, {"uncertainty": -1.0}, {"uncertainty": float("inf")}],
)
def test_a_repeat_is_checked(fields):
    with pytest.raises(RejectedInputError, match=next(iter(fields))):
        Repeat(**{"repeat": 0, "estimate": 1.0, **fields})


def test_results_are_a_value_that_keeps_to_itself():
    given = {"T-1": [Repeat(repeat=1, estimate=1.0), Repeat(repeat=0, estimate=2.0)], "T-2": []}
    results = NetworkResults(transformations=("T-2", "T-1"), repeats=given)
    given["T-1"].clear()
    assert [repeat.repeat for repeat in results["T-1"]] == [0, 1]
    assert dict(results) == {"T-1": results["T-1"]}
    assert pickle.loads(pickle.dumps(results)) == results  # noqa: S301 - our own bytes
    assert repr(results) == "<NetworkResults: 2 results of 1 of 2 Transformations>"
    with pytest.raises(AttributeError):
        results.transformations = ()
