"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.planning.models import Specification, StrategyMode, TaskScaling
from alchemiscale_strategist.strategies.native import NATIVE_STRATEGIES, NativeStrategy, make_native_strategy

__all__ = ["ExistingFile", "json_option", "specification_of", "strategy_of", "strategy_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

ExistingFile = click.Path(exists=True, dir_okay=False, path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")

_STRATEGY_OPTIONS = (
    click.option(
        "--strategy",
        type=click.Choice(sorted(NATIVE_STRATEGIES)),
        default="connectivity",
        show_default=True,
        help="The Strategy that proposes weights.",
    ),
    click.option(
        "--setting",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of the Strategy, e.g. max_runs=2; may be given several times. 'null' is no value.",
    ),
    click.option(
        "--mode",
        type=click.Choice([StrategyMode.FULL.value, StrategyMode.PARTIAL.value]),
        default=StrategyMode.FULL.value,
        show_default=True,
        help="Whether Tasks may be cancelled (full) or not (partial).",
    ),
    click.option(
        "--max-tasks-per-transformation",
        type=int,
        default=3,
        show_default=True,
        metavar="N",
        help="Most Tasks of one Transformation at once.",
    ),
    click.option("--max-tasks-per-network", type=int, metavar="N", help="Most Tasks at once.  [default: no limit]"),
    click.option(
        "--task-scaling",
        type=click.Choice([scaling.value for scaling in TaskScaling]),
        default=TaskScaling.EXPONENTIAL.value,
        show_default=True,
        help="How weights become numbers of Tasks.",
    ),
)


def strategy_options(command: Command) -> Command:
    """Add the options that say which Strategy is asked, and under which limits."""
    for option in reversed(_STRATEGY_OPTIONS):
        command = option(command)
    return command


def strategy_of(name: str, settings: tuple[str, ...]) -> NativeStrategy:
    """The Strategy that ``--strategy`` and ``--setting`` name."""
    pairs = [_setting(text) for text in settings]
    values = dict(pairs)
    if len(values) < len(pairs):
        raise RejectedInputError(field="--setting", value=" ".join(settings), expected="every setting only once")
    return make_native_strategy(name, values)


def specification_of(**options: Any) -> Specification:  # noqa: ANN401 - as click hands them over
    """The specification that the options stand for."""
    return Specification(**options)


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RejectedInputError(field="--setting", value=text, expected="NAME=VALUE, for instance max_runs=2")
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):
        return name.strip(), value
