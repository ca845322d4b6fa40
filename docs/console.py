"""The console examples of the documentation: what a command prints, run again.

A ``console`` block holds commands behind ``$ `` and what they print; a line ``…`` stands for lines left out. Run this
file to renew what is printed in all pages; ``tests/unit/test_docs.py`` compares.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from alchemiscale_strategist.cli import main

DOCS = Path(__file__).resolve().parent
DATA = (DOCS.parent / "examples", DOCS / "_data")
PROGRAM = "alchemiscale-strategist"
LEFT_OUT = "…"
BLOCK = re.compile(r"^```console\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A command, and the lines that it prints."""

    command: str
    output: tuple[str, ...]

    @property
    def runnable(self) -> bool:
        return self.command.startswith(PROGRAM) or self.command == "echo $?"

    def agrees_with(self, printed: tuple[str, ...]) -> bool:
        return self.output == self.shortened(printed)

    def shortened(self, printed: tuple[str, ...]) -> tuple[str, ...]:
        """``printed``, with as many lines left out as the example leaves out."""
        if LEFT_OUT not in self.output:
            return printed
        head = self.output.index(LEFT_OUT)
        tail = len(self.output) - head - 1
        return (*printed[:head], LEFT_OUT, *printed[len(printed) - tail :])


def pages() -> list[Path]:
    return sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def examples(body: str) -> list[Example]:
    """The examples of one block."""
    found: list[list[str]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append([line[2:]])
        else:
            found[-1].append(line)
    return [Example(command, tuple(output)) for command, *output in found]


def blocks(page: Path) -> list[list[Example]]:
    """The blocks of a page that can be run."""
    found = [examples(match["body"]) for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    return [block for block in found if all(example.runnable for example in block)]


@contextlib.contextmanager
def folder_with_the_files() -> Iterator[None]:
    """Work where the example files lie, in copies of them."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for source in DATA:
            for file in source.iterdir():
                if file.is_file():
                    shutil.copy(file, folder)
        yield


def run(block: list[Example]) -> list[tuple[str, ...]]:
    """What each command of a block prints; call it inside ``folder_with_the_files``."""
    printed = []
    code = 0
    for example in block:
        if example.command == "echo $?":
            printed.append((str(code),))
            continue
        # Colours and widths are the terminal's, and there is none.
        plain = {"COLUMNS": "80", "NO_COLOR": "1", "FORCE_COLOR": None, "TTY_COMPATIBLE": None}
        done = CliRunner(env=plain).invoke(main, shlex.split(example.command)[1:], prog_name=PROGRAM)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        code = done.exit_code
        printed.append(tuple(line.rstrip() for line in done.output.splitlines()))
    return printed


def renewed(text: str) -> str:
    """A page with every block run again."""

    def again(match: re.Match[str]) -> str:
        block = examples(match["body"])
        if not all(example.runnable for example in block):
            return match[0]
        lines = []
        for example, printed in zip(block, run(block), strict=True):
            lines += [f"$ {example.command}", *example.shortened(printed)]
        return "\n".join(["```console", *lines, "```"])

    return BLOCK.sub(again, text)


if __name__ == "__main__":
    os.environ.pop("FORCE_COLOR", None)
    for page in pages():
        with folder_with_the_files():
            text = page.read_text(encoding="utf-8")
            new = renewed(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
