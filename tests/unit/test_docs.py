"""The documentation keeps up with the code: nothing that users meet is missing, and what it prints is printed."""

import importlib.util
import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest

from alchemiscale_strategist import Reason, Specification, StrategyHealth, StrategyMode, StrategyStatus, TaskScaling
from alchemiscale_strategist.cli import main
from alchemiscale_strategist.simulation.plot import PLOT_SUFFIXES
from alchemiscale_strategist.strategies.native import NATIVE_STRATEGIES
from alchemiscale_strategist.table_files import TABLE_SUFFIXES

DOCS = Path(__file__).resolve().parents[2] / "docs"

_spec = importlib.util.spec_from_file_location("docs_console", DOCS / "console.py")
console = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = console
_spec.loader.exec_module(console)


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def section(name, heading):
    """What stands under a heading of a page, down to the next one of the same level."""
    level = heading.partition(" ")[0]
    _, found, rest = page(name).partition(f"\n{heading}\n")
    assert found, f"{name} has no heading {heading!r}"
    return re.split(rf"^{level} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text):
    """The code in the first cells of tables, without headings and metavars: what the tables are about."""
    rows = re.findall(r"^\|([^|\n]+)\|.*\n(?!\|---)", f"{text}\n", flags=re.MULTILINE)
    return {re.sub(r" [A-Z=]+$", "", name) for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def commands(group, prefix=()):
    """Every command by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*prefix, name))
        else:
            yield " ".join((*prefix, name)), command


def options(command):
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


COMMANDS = dict(commands(main))


def test_every_reason_is_explained_in_its_own_words():
    text = section("user-guide/planning.md", "### Reasons")
    assert first_cells(text) == {reason.value for reason in Reason}
    for reason in Reason:
        assert f"| `{reason.value}` | {reason.sentence} |" in text


def test_every_field_of_the_specification_is_explained():
    text = section("user-guide/planning.md", "### What you ask for")
    assert first_cells(text) == {field.name for field in fields(Specification)}
    for mode in StrategyMode:
        assert f"`{mode.value}`" in text


def test_every_field_of_the_health_is_explained():
    text = section("user-guide/planning.md", "### Health")
    assert first_cells(text) == {field.name for field in fields(StrategyHealth)}
    for status in StrategyStatus:
        assert f"`{status.value}`" in text


def test_every_scaling_is_explained():
    text = section("user-guide/planning.md", "## From weights to counts")
    assert first_cells(text) == {scaling.value for scaling in TaskScaling}


@pytest.mark.parametrize("name", sorted(NATIVE_STRATEGIES))
def test_every_setting_of_a_native_strategy_is_explained(name):
    text = section("user-guide/strategies.md", f"## {name}")
    settings = {field.name: field.default for field in fields(NATIVE_STRATEGIES[name])}
    assert first_cells(text) == settings.keys()
    for setting, default in settings.items():
        assert re.search(rf"\| `{setting}` \| `?{default}`? \|", text)


def test_every_command_is_explained():
    assert first_cells(page("user-guide/command-line.md").partition("\n## ")[0]) == COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_of_a_command_is_explained(name):
    text = section("user-guide/command-line.md", f"## {name}")
    shared = first_cells(section("user-guide/command-line.md", "## Options of `plan` and `simulate`"))
    common = shared if name in {"plan", "simulate"} else set()
    explained = first_cells(text) | common | set(re.findall(r"`(--[\w-]+)`", text))
    assert options(COMMANDS[name]) <= explained
    # Nor is there an explanation of an option that is gone.
    assert first_cells(text) | common <= options(COMMANDS[name])


def test_every_import_rule_is_explained():
    text = " ".join(page("architecture.md").split())
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        assert f"**{contract['name']}**" in text
    # The drawing has the same parts in the same order.
    drawing = section("architecture.md", "## Layers").partition("```text\n")[2].partition("```")[0]
    drawn = [line[:48] for line in drawing.splitlines()]
    assert [set(re.findall(r"\w+", line)) for line in drawn] == [
        set(re.findall(r"\w+", layer)) for layer in contracts[0]["layers"]
    ]


def test_every_kind_of_file_is_named():
    for suffix in TABLE_SUFFIXES:
        assert f"`{suffix}`" in page("user-guide/files.md")
    for suffix in PLOT_SUFFIXES:
        assert f"`{suffix}`" in section("user-guide/command-line.md", "## simulate")


@pytest.mark.parametrize("path", console.pages(), ids=lambda path: str(path.relative_to(DOCS)))
def test_commands_print_what_the_page_says(path):
    with console.folder_with_the_files():
        for block in console.blocks(path):
            for example, printed in zip(block, console.run(block), strict=True):
                assert example.shortened(printed) == example.output, f"renew with: python docs/console.py\n{example}"


def test_the_pages_have_commands_that_are_run():
    assert sum(len(block) for path in console.pages() for block in console.blocks(path)) > 15
