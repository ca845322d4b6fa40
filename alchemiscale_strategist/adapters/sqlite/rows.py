"""Between values and rows: nothing here talks to a database."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from alchemiscale_strategist.planning.health import Failure, StrategyHealth
from alchemiscale_strategist.planning.models import (
    Specification,
    StrategyMode,
    StrategyStatus,
    TaskKey,
    TaskScaling,
    TransformationKey,
)
from alchemiscale_strategist.ports import IterationRecord, StrategyKind, StrategyPayload, TransformationChange

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
    }


def specification_from_row(row: Row) -> Specification:
    """The specification that a row of table ``strategy`` holds."""
    return Specification(
        mode=StrategyMode(row["mode"]),
        max_tasks_per_transformation=row["max_tasks_per_transformation"],
        max_tasks_per_network=row["max_tasks_per_network"],
        task_scaling=TaskScaling(row["task_scaling"]),
        extends_preference=row["extends_preference"],
        sleep_interval=timedelta(microseconds=row["sleep_interval"]),
    )


def payload_to_row(strategy: StrategyPayload) -> Row:
    """The columns that hold the Strategy."""
    return {"kind": strategy.kind.value, "name": strategy.name, "content": strategy.content}


def payload_from_row(row: Row) -> StrategyPayload:
    """The Strategy that a row of table ``strategy`` holds."""
    return StrategyPayload(kind=StrategyKind(row["kind"]), name=row["name"], content=row["content"])


def health_to_row(health: StrategyHealth) -> Row:
    """The columns that the service owns; mode and interval are the user's and not among them."""
    return {
        "status": health.status.value,
        "iterations": health.iterations,
        "last_iteration": _micros_or_none(health.last_iteration),
        "result_count": health.last_iteration_result_count,
        "newest_result": _micros_or_none(health.newest_result_seen),
        "retries": health.retries,
        "retry_at": _micros_or_none(health.retry_at),
        "error": _failure_to_json(health.error),
        "last_failure": _failure_to_json(health.last_failure),
        "stalled": json.dumps(health.stalled),
        "unclaimable": json.dumps(health.unclaimable),
    }


def health_from_row(row: Row) -> StrategyHealth:
    """The health that a row of table ``strategy`` holds."""
    return StrategyHealth(
        mode=StrategyMode(row["mode"]),
        status=StrategyStatus(row["status"]),
        iterations=row["iterations"],
        sleep_interval=timedelta(microseconds=row["sleep_interval"]),
        last_iteration=_time_or_none(row["last_iteration"]),
        last_iteration_result_count=row["result_count"],
        newest_result_seen=_time_or_none(row["newest_result"]),
        error=_failure_from_json(row["error"]),
        retries=row["retries"],
        retry_at=_time_or_none(row["retry_at"]),
        last_failure=_failure_from_json(row["last_failure"]),
        stalled=tuple(json.loads(row["stalled"])),
        unclaimable=tuple(TaskKey(task) for task in json.loads(row["unclaimable"])),
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


def _failure_to_json(failure: Failure | None) -> str | None:
    return None if failure is None else json.dumps(asdict(failure))


def _failure_from_json(text: str | None) -> Failure | None:
    return None if text is None else Failure(**json.loads(text))
