"""The group of commands, and how their errors become one sentence and an exit code."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from alchemiscale_strategist.cli.completion import completion
from alchemiscale_strategist.cli.edits import drop, pause, resume, set_, wake
from alchemiscale_strategist.cli.explain import explain
from alchemiscale_strategist.cli.history import history
from alchemiscale_strategist.cli.network import network
from alchemiscale_strategist.cli.plan import plan
from alchemiscale_strategist.cli.serve import serve
from alchemiscale_strategist.cli.simulate import simulate
from alchemiscale_strategist.cli.status import health, status
from alchemiscale_strategist.cli.submit import submit
from alchemiscale_strategist.errors import (
    MissingDependencyError,
    RejectedFileError,
    RejectedInputError,
    StrategistError,
)

__all__ = ["PROGRAM", "main"]

PROGRAM = "alchemiscale-strategist"

_MISTAKES = (RejectedInputError, RejectedFileError, MissingDependencyError)


class _Failure(click.ClickException):
    """An error of ours as one sentence, and what to do."""

    def __init__(self, error: StrategistError) -> None:
        super().__init__(f"{error}\n{error.remedy}".rstrip())


class _Mistake(_Failure):
    """The same where the user can mend it: told apart by the exit code, as click does."""

    exit_code = 2


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A dash that the terminal's encoding lacks is no reason to fail.
                stream.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except StrategistError as error:
            kind = _Mistake if isinstance(error, _MISTAKES) else _Failure
            raise kind(error) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name=PROGRAM)
def main() -> None:
    """Let a Strategy decide which alchemical Transformations to run next.

    Try it without any file: alchemiscale-strategist simulate
    """


main.add_command(completion)
main.add_command(network)
main.add_command(plan)
main.add_command(serve)
main.add_command(simulate)

for _command in (submit, status, health, pause, resume, wake, set_, drop, history, explain):
    main.add_command(_command)
