"""Errors that say what went wrong, whose fault it is and what to do.

The reconciler decides by the *class* of an error alone:

- :class:`TransientError`: ours (a database, an object store). The pass is tried again later; the Strategy is blameless.
- :class:`StrategyError`: the Strategy's own, and permanent. The network's status becomes ``error`` until a user acts.
- :class:`SupersededError`: somebody else went on; nothing was written, nothing needs doing.
- :class:`RejectedInputError`: what a caller handed in is wrong. Nothing was written.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "InvalidWeightsError",
    "MissingDependencyError",
    "RejectedFileError",
    "RejectedInputError",
    "StoppedError",
    "StrategistError",
    "StrategyError",
    "SupersededError",
    "TransientError",
    "UnknownNetworkError",
    "shown",
]


class StrategistError(Exception):
    """Base of every error that this package raises on purpose; ``remedy`` says what to do, or is empty."""

    remedy: str = ""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        if remedy:
            self.remedy = remedy


class TransientError(StrategistError):
    """A failure of the surroundings that is worth another try with the same input."""


class StoppedError(TransientError):
    """The service is to stop, so the pass is given up: nobody's fault, and the claim is given back."""


class SupersededError(StrategistError):
    """The claim was lost or the specification edited while a pass ran: nothing was written."""


class StrategyError(StrategistError):
    """A Strategy failed, and would fail again on the same input: permanent until a user acts.

    ``error_type`` is the name of the class of the original exception, ``details`` its traceback, or is empty.
    """

    def __init__(self, message: str, *, error_type: str = "", details: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.error_type = error_type or type(self).__name__
        self.details = details


class InvalidWeightsError(StrategyError, ValueError):
    """A Strategy's weights break the contract: not finite, negative, for an unknown Transformation, or none."""

    remedy = "Mend the Strategy: a weight is None or a finite number of at least 0, keyed by Transformation."


class RejectedInputError(StrategistError, ValueError):
    """An argument is not acceptable: ``field`` names it, ``value`` is what it was, ``expected`` what would be right.

    >>> error = RejectedInputError(field="sleep_interval", value=-1, expected="a number of seconds of at least 0")
    >>> print(error)
    sleep_interval: got -1, expected a number of seconds of at least 0
    """

    def __init__(self, *, field: str, value: object, expected: str, remedy: str = "") -> None:
        super().__init__(f"{field}: got {shown(value)}, expected {expected}", remedy=remedy)
        self.field = field
        self.value = value
        self.expected = expected


class UnknownNetworkError(RejectedInputError):
    """The store has no such network, or no Strategy is attached to it."""


class RejectedFileError(StrategistError, ValueError):
    """A file cannot be used: where (``path``, and ``line`` and ``column`` where they are known, from 1), and why.

    >>> print(RejectedFileError("expected a number, got 'high'", path=Path("results.csv"), line=3, column=4))
    results.csv, line 3, column 4: expected a number, got 'high'
    """

    def __init__(
        self,
        problem: str,
        *,
        path: Path | str,
        line: int | None = None,
        column: int | None = None,
        unit: str = "line",
        remedy: str = "",
    ) -> None:
        where = str(path)
        if line is not None:
            where += f", {unit} {line}"
        if column is not None:
            where += f", column {column}"
        super().__init__(f"{where}: {problem}", remedy=remedy)
        self.path = Path(path)
        self.problem = problem
        self.line = line
        self.column = column


class MissingDependencyError(StrategistError):
    """A feature needs a package that is not installed; ``extra`` names the extra of ours that brings it."""

    def __init__(self, *, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs {package}, which is not installed",
            remedy=f'Install it with: pip install "alchemiscale-strategist[{extra}]"',
        )
        self.package = package
        self.extra = extra


def shown(value: object, limit: int = 120) -> str:
    """A value in an error message: as it is, but not endlessly, and whatever its class makes of ``repr``."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a Strategy's own class may do anything
        return f"<{type(value).__name__} that cannot be printed>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
