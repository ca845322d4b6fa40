"""``explain``: why a Transformation has the Tasks that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import click

from alchemiscale_strategist.bootstrap import EmbeddedStore, preview_stored_network
from alchemiscale_strategist.cli.history import change_to_dict, reason_sentence
from alchemiscale_strategist.cli.options import json_option
from alchemiscale_strategist.cli.output import print_json, standard_output, table
from alchemiscale_strategist.cli.store_options import existing_store, find_strategy, store_option
from alchemiscale_strategist.cli.wording import absolute, described, iso, number, plain, shown_mode, unbroken
from alchemiscale_strategist.errors import StrategyError
from alchemiscale_strategist.networks import NetworkTransformation
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    TaskKey,
    TaskPlan,
    TaskRecord,
    TaskStatus,
    TransformationKey,
    TransformationState,
)
from alchemiscale_strategist.ports import IterationRecord, StrategyKind, StrategyRecord, TransformationChange
from alchemiscale_strategist.results import Repeat

__all__ = ["explain"]

_TASK_COLUMNS = ("task", "status", "actioned", "extends", "claimable", "remark")
_RESULT_COLUMNS = ("result", "estimate", "uncertainty")
_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class _Explanation:
    """All that is known of one Transformation; of ``plan`` and ``error`` one is ``None``."""

    record: StrategyRecord
    edge: NetworkTransformation
    state: TransformationState
    results: tuple[Repeat, ...]
    plan: TaskPlan | None
    error: StrategyError | None
    changed: tuple[IterationRecord, TransformationChange] | None


@click.command()
@click.argument("network")
@click.argument("transformation")
@store_option
@json_option
def explain(*, network: str, transformation: str, store_file: Path, as_json: bool) -> None:
    """Say why TRANSFORMATION of NETWORK has the Tasks that it has, and what a pass would do now; both by name or key.

    The Strategy is asked again, and nothing is changed.
    """
    with existing_store(store_file) as store:
        found = _look(store, find_strategy(store, network), transformation)
    if as_json:
        print_json(_to_dict(found))
        return
    console = standard_output()
    title = plain(f"{found.edge.name} ({found.edge.key}) in {found.record.network_name}")
    tasks = [_task_row(task, found.state) for task in _by_age(found.state)]
    if tasks:
        console.print(unbroken(table(title, _TASK_COLUMNS, tasks), "task"))
    else:
        console.print(f"{title}: no Tasks", soft_wrap=True)
    if found.results:
        rows = [
            {"result": repeat.repeat, "estimate": repeat.estimate, "uncertainty": repeat.uncertainty}
            for repeat in found.results
        ]
        console.print(table("Successful results (kcal/mol)", _RESULT_COLUMNS, rows))
    for sentence in _sentences(found):
        console.print(plain(sentence), soft_wrap=True)


def _look(store: EmbeddedStore, record: StrategyRecord, name_or_key: str) -> _Explanation:
    inputs = store.inputs(record.network, StrategyKind.NATIVE)
    key = inputs.network.resolve(name_or_key)
    error = None
    try:
        preview = preview_stored_network(store, record.network)
        observation, plan = preview.observation, preview.plan
    except StrategyError as failed:
        observation, plan, error = store.observe(record.network), None, failed
    return _Explanation(
        record=record,
        edge=inputs.network.by_key[key],
        state=next(state for state in observation.transformations if state.key == key),
        results=inputs.results.of(key),
        plan=plan,
        error=error,
        changed=_last_change(store, record.network, key),
    )


def _last_change(
    store: EmbeddedStore, network: NetworkKey, key: TransformationKey
) -> tuple[IterationRecord, TransformationChange] | None:
    """The newest iteration that changed the Transformation, as far back as the history goes."""
    before = None
    while page := store.iterations(network, limit=_PAGE, before=before):
        for iteration in page:
            for change in iteration.changes:
                if change.transformation == key:
                    return iteration, change
        before = page[-1].iteration
    return None


# Tasks


def _by_age(state: TransformationState) -> list[TaskRecord]:
    return sorted(state.tasks, key=lambda task: (task.created, task.key))


def _task_row(task: TaskRecord, state: TransformationState) -> dict[str, Any]:
    claimable, remark = _claimable(task, {other.key: other for other in state.tasks})
    return {
        "task": task.key,
        "status": task.status.value,
        "actioned": "yes" if task.actioned else "no",
        "extends": task.extends,
        "claimable": "yes" if claimable else "no",
        "remark": remark,
    }


def _claimable(task: TaskRecord, by_key: Mapping[TaskKey, TaskRecord]) -> tuple[bool, str]:
    """Whether a compute service can claim a Task for this network, and if not, why."""
    match task.status:
        case TaskStatus.WAITING:
            return _waiting(task, by_key)
        case TaskStatus.RUNNING:
            return False, "it runs" if task.actioned else "it runs, though it is not actioned"
        case TaskStatus.COMPLETE:
            return False, "it is done"
        case TaskStatus.ERROR:
            return False, "it failed: set it to waiting, invalid or deleted to go on"
        case TaskStatus.INVALID | TaskStatus.DELETED:
            return False, "it does not count"
        case _:
            assert_never(task.status)


def _waiting(task: TaskRecord, by_key: Mapping[TaskKey, TaskRecord]) -> tuple[bool, str]:
    if not task.actioned:
        return False, "it is not actioned"
    if task.claim_weight <= 0:
        return False, "its weight on the TaskHub is 0"
    parent = by_key.get(task.extends) if task.extends is not None else None
    if parent is None or parent.can_be_extended:
        return True, "it waits for a compute service"
    if parent.status is not TaskStatus.COMPLETE:
        return False, f"the Task that it extends is {parent.status}"
    return False, "the Task that it extends has not exactly one result, a successful one"


# Words


def _sentences(found: _Explanation) -> Iterator[str]:
    yield _state_of_the_strategy(found.record)
    yield _now(found)
    yield _last(found)


def _state_of_the_strategy(record: StrategyRecord) -> str:
    told = f"Strategy {described(record.strategy)}: {record.health.status}, mode {shown_mode(record.specification)}"
    if record.problems:
        return f"{told}; what is stored cannot be read: {'; '.join(record.problems)}."
    if record.health.error is not None:
        failure = record.health.error
        told += f" ({failure.type}: {failure.message}), so no pass runs until somebody acts. {failure.remedy}"
        return told.rstrip()
    if record.health.stalled:
        return f"{told}, stalled ({'; '.join(record.health.stalled)})."
    return f"{told}."


def _now(found: _Explanation) -> str:
    if found.plan is None:
        return f"Asked now, the Strategy fails: {found.error}"
    row = found.plan[found.edge.key]
    told = (
        f"Asked now: weight {number(row.weight)}, {row.have} → {row.want} Tasks in flight, as {row.why}; "
        f"create {len(row.create)}, action {len(row.action)}, cancel {len(row.cancel)}."
    )
    if row.unclaimable:
        told += f" {len(row.unclaimable)} of them cannot be claimed."
    return told


def _last(found: _Explanation) -> str:
    if found.changed is None:
        return "No iteration in the history has changed it."
    iteration, change = found.changed
    return (
        f"Last changed in iteration {iteration.iteration} at {absolute(iteration.at)} UTC: weight "
        f"{number(change.weight)}, {change.have} → {change.want} Tasks in flight (created {change.created}, actioned "
        f"{change.actioned}, cancelled {change.cancelled}), as {reason_sentence(change.reason)}."
    )


def _to_dict(found: _Explanation) -> dict[str, Any]:
    record, health = found.record, found.record.health
    return {
        "network": record.network_name,
        "network_key": record.network,
        "transformation": found.edge.name,
        "key": found.edge.key,
        "blocked": found.state.blocked,
        "strategy": record.strategy.name,
        "mode": record.specification.mode.value,
        "status": health.status.value,
        "error": health.to_dict()["error"],
        "stalled": list(health.stalled),
        "problems": list(record.problems),
        "tasks": [_task_dict(task, found.state) for task in _by_age(found.state)],
        "results": [
            {
                "repeat": repeat.repeat,
                "estimate_kcal_per_mol": repeat.estimate,
                "uncertainty_kcal_per_mol": repeat.uncertainty,
            }
            for repeat in found.results
        ],
        "preview": _preview_dict(found),
        "preview_error": None if found.error is None else str(found.error),
        "last_change": _change_dict(found),
    }


def _task_dict(task: TaskRecord, state: TransformationState) -> dict[str, Any]:
    row = _task_row(task, state)
    return {
        **row,
        "actioned": task.actioned,
        "claimable": row["claimable"] == "yes",
        "created": iso(task.created),
        "results": task.results,
        "successful_results": task.successful_results,
    }


def _preview_dict(found: _Explanation) -> dict[str, Any] | None:
    if found.plan is None:
        return None
    row = found.plan[found.edge.key]
    plain_row = next(values for values in found.plan.to_rows() if values["key"] == found.edge.key)
    return {**plain_row, "unclaimable": list(row.unclaimable)}


def _change_dict(found: _Explanation) -> dict[str, Any] | None:
    if found.changed is None:
        return None
    iteration, change = found.changed
    names = {found.edge.key: found.edge.name}
    return {"iteration": iteration.iteration, "at": iso(iteration.at), **change_to_dict(change, names)}
