"""Between values and rows: nothing here talks to a database."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.planning.health import Failure, StrategyHealth
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Specification,
    StrategyStatus,
    TaskKey,
    TransformationKey,
)
from alchemiscale_strategist.ports import IterationRecord, StrategyPayload, StrategyRecord, TransformationChange

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Row = dict[str, Any]


def to_micros(time: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The time that many microseconds after 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def interval_to_micros(interval: timedelta) -> int:
    """An interval in whole microseconds."""
    return interval // _MICROSECOND


def specification_to_row(specification: Specification) -> Row:
    """The columns that the user owns."""
    return {
        "mode": specification.mode.value,
        "max_tasks_per_transformation": specification.max_tasks_per_transformation,
        "max_tasks_per_network": specification.max_tasks_per_network,
        "task_scaling": specification.task_scaling.value,
        "extends_preference": specification.extends_preference,
        "sleep_interval": interval_to_micros(specification.sleep_interval),
        "mode_before_pause": None if specification.mode_before_pause is None else specification.mode_before_pause.value,
    }


def specification_from_row(row: Row) -> tuple[Specification, tuple[str, ...]]:
    """The specification that a row of table ``strategy`` holds, and what in it cannot be read.

    Another program may have written it: what is not acceptable is told, and alchemiscale's default stands in its place.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in specification_to_row(Specification()):
        value: Any = timedelta(microseconds=row[field]) if field == "sleep_interval" else row[field]
        try:
            Specification(**{field: value})
            values[field] = value
        except RejectedInputError as error:
            problems.append(str(error))
    return Specification(**values), tuple(problems)


def payload_to_row(strategy: StrategyPayload) -> Row:
    """The columns that hold the Strategy."""
    return {"kind": strategy.kind.value, "name": strategy.name, "content": strategy.content}


def payload_from_row(row: Row) -> StrategyPayload:
    """The Strategy that a row of table ``strategy_text`` holds."""
    return StrategyPayload(kind=row["kind"], name=row["name"], content=row["content"])


def health_to_row(health: StrategyHealth) -> Row:
    """The columns of table ``strategy`` that the service owns; mode and interval are the user's and not among them."""
    return {
        "status": health.status.value,
        "iterations": health.iterations,
        "last_iteration": _micros_or_none(health.last_iteration),
        "result_count": health.last_iteration_result_count,
        "newest_result": _micros_or_none(health.newest_result_seen),
        "retries": health.retries,
        "retry_at": _micros_or_none(health.retry_at),
    }


def health_to_text(health: StrategyHealth) -> str:
    """The rest of the health, which no query asks for."""
    return json.dumps(
        {
            "error": None if health.error is None else asdict(health.error),
            "last_failure": None if health.last_failure is None else asdict(health.last_failure),
            "stalled": health.stalled,
            "unclaimable": health.unclaimable,
        }
    )


def health_from_row(row: Row, specification: Specification) -> StrategyHealth:
    """The health that the rows of ``strategy`` and ``strategy_text`` hold, under what the user asks for."""
    text = json.loads(row["health"])
    return StrategyHealth(
        status=StrategyStatus(row["status"]),
        iterations=row["iterations"],
        last_iteration=_time_or_none(row["last_iteration"]),
        last_iteration_result_count=row["result_count"],
        newest_result_seen=_time_or_none(row["newest_result"]),
        error=_failure(text["error"]),
        retries=row["retries"],
        retry_at=_time_or_none(row["retry_at"]),
        last_failure=_failure(text["last_failure"]),
        stalled=tuple(text["stalled"]),
        unclaimable=tuple(TaskKey(task) for task in text["unclaimable"]),
    ).under(specification)


def record_from_row(row: Row) -> StrategyRecord:
    """The record of a row of :data:`schema.STRATEGY`, whatever stands in it; its ``problems`` tell."""
    specification, problems = specification_from_row(row)
    try:
        strategy = payload_from_row(row)
    except RejectedInputError as error:
        strategy, problems = StrategyPayload.native(row["name"]), (*problems, str(error))
    try:
        health = health_from_row(row, specification)
    except (KeyError, TypeError, ValueError) as error:
        health, problems = StrategyHealth().under(specification), (*problems, f"health: {error!r}")
    return StrategyRecord(
        network=NetworkKey(row["network"]),
        network_name=row["network_name"],
        strategy=strategy,
        specification=specification,
        generation=row["generation"],
        health=health,
        problems=problems,
    )


def record_to_json(record: IterationRecord) -> str:
    """An entry of the history as text; :func:`record_from_json` reads it back."""
    values = asdict(record)
    return json.dumps({**values, "at": to_micros(record.at)})


def record_from_json(text: str) -> IterationRecord:
    """An entry of the history from its text."""
    values = json.loads(text)
    changes = tuple(
        TransformationChange(**{**change, "transformation": TransformationKey(change["transformation"])})
        for change in values.pop("changes")
    )
    return IterationRecord(
        **{
            **values,
            "at": from_micros(values["at"]),
            "status": StrategyStatus(values["status"]),
            "stalled": tuple(values["stalled"]),
            "changes": changes,
        }
    )


def _micros_or_none(time: datetime | None) -> int | None:
    return None if time is None else to_micros(time)


def _time_or_none(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _failure(values: dict[str, str] | None) -> Failure | None:
    return None if values is None else Failure(**values)
