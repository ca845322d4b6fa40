"""A store in one SQLite file: networks, Tasks, results, Strategies, their health and history."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from alchemiscale_strategist.adapters.sqlite import rows, schema
from alchemiscale_strategist.adapters.sqlite.connection import Database
from alchemiscale_strategist.checks import check_number, check_whole_number
from alchemiscale_strategist.errors import (
    RejectedInputError,
    StrategyError,
    SupersededError,
    UnknownNetworkError,
)
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation
from alchemiscale_strategist.planning.health import StrategyHealth
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Observation,
    ResultsSeen,
    Specification,
    TaskKey,
    TaskPlan,
    TaskRecord,
    TaskStatus,
    TransformationKey,
    TransformationState,
)
from alchemiscale_strategist.ports import (
    Applied,
    Claim,
    ClaimedTask,
    Clock,
    GraphInputs,
    IterationRecord,
    PassEnding,
    Postponed,
    ProposalInputs,
    Released,
    StrategyFailed,
    StrategyKind,
    StrategyPayload,
    StrategyRecord,
)
from alchemiscale_strategist.results import NetworkResults, Repeat

__all__ = ["SQLiteStore"]

_LONGEST_LEASE = timedelta(days=1)
_LONGEST_INTERVAL = timedelta(days=3650)


class SQLiteStore:
    """The embedded store: fulfils ``ReconcileStore``, ``SpecificationStore``, ``ResultSource`` and ``ComputeStore``.

    Safe for several threads (one transaction at a time) and several processes (SQLite's own locks, write-ahead log). A
    file that is busy for longer than ``busy_timeout`` gives a :class:`TransientError`.

    Args:
        path: the file, made where it is missing; ``":memory:"`` keeps everything in this object.
        clock: the store's clock.
        new_task_id: gives the part of a new Task's key behind ``Task-``; random by default.
        history: how many iterations are kept for each network.
        durable: wait for the disk at every commit, so that even a power cut loses nothing.
        busy_timeout: how long to wait for another process.

    Raises:
        RejectedFileError: the file is no store of ours, or has another schema version, or may not be written to.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock,
        new_task_id: Callable[[], str] | None = None,
        history: int = 1000,
        durable: bool = True,
        busy_timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        self.path = path
        self._clock = clock
        self._new_task_id = new_task_id or (lambda: uuid.uuid4().hex)
        self._history = history
        self._db = Database(path, durable=durable, busy_timeout=busy_timeout)

    def close(self) -> None:
        """Close the file; the store cannot be used any more."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Networks

    def add_network(self, graph: NetworkGraph) -> NetworkKey:
        """Store a network, without a Strategy; one that is there already stays as it is.

        A Transformation that several networks have is stored once, so they share its Tasks and results.
        """
        with self._db.writing():
            if self._db.one("SELECT 1 FROM network WHERE key = ?", graph.key) is None:
                created = rows.to_micros(self._clock.now())
                self._db.run(
                    "INSERT INTO network (key, name, created) VALUES (?, ?, ?)", graph.key, graph.name, created
                )
                edges = graph.transformations
                self._db.run_many("INSERT OR IGNORE INTO transformation (key) VALUES (?)", ((e.key,) for e in edges))
                self._db.run_many(
                    "INSERT INTO network_transformation "
                    "(network, position, transformation, name, state_a, state_b, leg, leg_a, leg_b) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        (graph.key, number, e.key, e.name, e.state_a, e.state_b, e.leg, e.leg_a, e.leg_b)
                        for number, e in enumerate(edges)
                    ),
                )
        return graph.key

    def network_keys(self) -> tuple[NetworkKey, ...]:
        """The keys of all networks, sorted."""
        with self._db.reading():
            return tuple(NetworkKey(row[0]) for row in self._db.all("SELECT key FROM network ORDER BY key"))

    def add_results(self, network: NetworkKey, results: NetworkResults) -> int:
        """Store successful results that came from elsewhere, without a Task; return how many are new.

        A repeat that its Transformation has already stays as it is.

        Raises:
            UnknownNetworkError: there is no such network.
            RejectedInputError: results of a Transformation that the network does not have.
        """
        with self._db.writing():
            self._check_network(network)
            known = {row[0] for row in self._db.all(schema.TRANSFORMATIONS, network)}
            if unknown := sorted(results.keys() - known):
                raise RejectedInputError(field="results", value=unknown, expected="Transformations of the network")
            created = rows.to_micros(self._clock.now())
            return sum(
                self._db.run(schema.ADD_RESULT, key, repeat.repeat, repeat.estimate, repeat.uncertainty, created)
                for key, repeats in results.items()
                for repeat in repeats
            )

    # ReconcileStore

    def claim_due(
        self,
        *,
        owner: str,
        limit: int,
        lease: timedelta,
        minimum_interval: timedelta = timedelta(0),
        networks: Collection[NetworkKey] | None = None,
    ) -> Sequence[Claim]:
        """See :meth:`ReconcileStore.claim_due`."""
        check_whole_number("limit", limit, least=0)
        if not timedelta(0) < lease <= _LONGEST_LEASE:
            raise RejectedInputError(field="lease", value=lease, expected="more than nothing and at most a day")
        if not timedelta(0) <= minimum_interval <= _LONGEST_INTERVAL:
            raise RejectedInputError(field="minimum_interval", value=minimum_interval, expected="from 0 to ten years")
        with self._db.writing():
            when = {
                "now": rows.to_micros(self._clock.now()),
                "minimum_interval": rows.interval_to_micros(minimum_interval),
            }
            claimed = self._db.all(
                schema.CLAIM_DUE,
                **when,
                owner=owner,
                limit=limit,
                lease=rows.interval_to_micros(lease),
                every_network=networks is None,
                networks=json.dumps(sorted(networks or ())),
            )
            in_order = self._db.all(schema.CLAIMED_IN_ORDER, **when, claimed=json.dumps([row[0] for row in claimed]))
            return [claim for row in in_order if (claim := self._claim(NetworkKey(row[0]))) is not None]

    def observe(self, network: NetworkKey) -> Observation:
        """See :meth:`ObservationSource.observe`."""
        with self._db.reading():
            return self._observe(network)

    def apply(self, claim: Claim, decide: Callable[[Observation], TaskPlan], *, seen: ResultsSeen) -> Applied:
        """See :meth:`ReconcileStore.apply`."""
        with self._db.writing():
            self._check_claim(claim)
            plan = decide(self._observe(claim.network))
            if plan.network != claim.network:
                raise RejectedInputError(field="plan", value=plan, expected=f"a plan for {claim.network}")
            now = self._clock.now()
            self._apply_tasks(plan, now=now)
            health = claim.health.after_iteration(plan, seen=seen, now=now)
            return Applied(plan=plan, health=health, record=self._end_iteration(claim, health, plan=plan))

    def finish(self, claim: Claim, ending: PassEnding) -> None:
        """See :meth:`ReconcileStore.finish`."""
        with self._db.writing():
            self._check_claim(claim)
            now = self._clock.now()
            match ending:
                case Released():
                    self._release(claim.network)
                case Postponed(error=error, retry_after=delay):
                    self._end_claim(claim, claim.health.after_transient_failure(error, retry_at=now + delay))
                case StrategyFailed(error=error, seen=seen):
                    self._end_iteration(claim, claim.health.after_strategy_error(error, seen=seen, now=now))

    # SpecificationStore

    def set_strategy(self, network: NetworkKey, strategy: StrategyPayload, specification: Specification) -> None:
        """See :meth:`SpecificationStore.set_strategy`."""
        with self._db.writing():
            self._check_network(network)
            self._forget_strategy(network)
            health = StrategyHealth()
            values = {**rows.specification_to_row(specification), **rows.health_to_row(health)}
            text = {**rows.payload_to_row(strategy), "health": rows.health_to_text(health)}
            self._db.insert("strategy", {"network": network, **values})
            self._db.insert("strategy_text", {"network": network, **text})
            self._edited(network)

    def edit_specification(self, network: NetworkKey, edit: Callable[[Specification], Specification]) -> Specification:
        """See :meth:`SpecificationStore.edit_specification`."""
        with self._db.writing():
            specification = edit(self._record(network).specification)
            self._db.update("strategy", rows.specification_to_row(specification), where="network", equals=network)
            self._edited(network)
        return specification

    def wake(self, network: NetworkKey) -> None:
        """See :meth:`SpecificationStore.wake`."""
        with self._db.writing():
            self._write_health(network, self._record(network).health.after_wake())
            self._edited(network)

    def drop_strategy(self, network: NetworkKey) -> None:
        """See :meth:`SpecificationStore.drop_strategy`."""
        with self._db.writing():
            self._check_network(network)
            if self._forget_strategy(network):
                self._edited(network)

    def get_strategy(self, network: NetworkKey) -> StrategyRecord | None:
        """See :meth:`SpecificationStore.get_strategy`."""
        with self._db.reading():
            self._check_network(network)
            row = self._db.one_named(schema.STRATEGY, network)
            return None if row is None else rows.record_from_row(row)

    def list_strategies(self) -> Sequence[StrategyRecord]:
        """See :meth:`SpecificationStore.list_strategies`."""
        with self._db.reading():
            return [rows.record_from_row(row) for row in self._db.all_named(schema.STRATEGIES)]

    def iterations(
        self, network: NetworkKey, *, limit: int = 100, before: int | None = None
    ) -> Sequence[IterationRecord]:
        """See :meth:`SpecificationStore.iterations`."""
        with self._db.reading():
            self._check_network(network)
            found = self._db.all(
                "SELECT record FROM iteration WHERE network = ? AND (? IS NULL OR iteration < ?) "
                "ORDER BY iteration DESC LIMIT ?",
                network,
                before,
                before,
                limit,
            )
            return [rows.record_from_json(row[0]) for row in found]

    # ResultSource

    def inputs(self, network: NetworkKey, kind: StrategyKind) -> ProposalInputs:  # noqa: ARG002 - all of one sort here
        """See :meth:`ResultSource.inputs`; repeats are numbered as the results came."""
        repeats: dict[TransformationKey, list[Repeat]] = {}
        with self._db.reading():
            name = self._check_network(network)
            edges = tuple(
                NetworkTransformation(
                    key=TransformationKey(key),
                    name=edge_name,
                    state_a=state_a,
                    state_b=state_b,
                    leg=leg,
                    leg_a=leg_a,
                    leg_b=leg_b,
                )
                for key, edge_name, state_a, state_b, leg, leg_a, leg_b in self._db.all(schema.TRANSFORMATIONS, network)
            )
            for key, estimate, uncertainty in self._db.all(schema.ESTIMATES, network):
                of_this = repeats.setdefault(TransformationKey(key), [])
                of_this.append(Repeat(repeat=len(of_this), estimate=estimate, uncertainty=uncertainty))
        return GraphInputs(
            network=NetworkGraph(key=network, name=name, transformations=edges),
            results=NetworkResults(transformations=tuple(edge.key for edge in edges), repeats=repeats),
        )

    # ComputeStore

    def claim_task(self) -> ClaimedTask | None:
        """See :meth:`ComputeStore.claim_task`."""
        with self._db.writing():
            row = self._db.one(schema.CLAIMABLE_TASK)
            if row is None:
                return None
            key, transformation, extends, older = row
            self._db.run("UPDATE task SET status = 'running' WHERE key = ?", key)
            return ClaimedTask(
                task=TaskKey(key),
                transformation=TransformationKey(transformation),
                repeat=older,
                extends=None if extends is None else TaskKey(extends),
            )

    def complete_task(self, task: TaskKey, *, estimate: float, uncertainty: float | None) -> None:
        """See :meth:`ComputeStore.complete_task`."""
        check_number("estimate", estimate)
        if uncertainty is not None:
            check_number("uncertainty", uncertainty, least=0)
        with self._db.writing():
            self._hand_in(task, status=TaskStatus.COMPLETE, estimate=estimate, uncertainty=uncertainty)
            self._db.run("DELETE FROM action WHERE task = ?", task)

    def fail_task(self, task: TaskKey, *, restart: bool) -> None:
        """See :meth:`ComputeStore.fail_task`."""
        with self._db.writing():
            self._hand_in(task, status=TaskStatus.WAITING if restart else TaskStatus.ERROR)
            if not restart:
                self._db.run("DELETE FROM action WHERE task = ?", task)

    # Inside a transaction

    def _observe(self, network: NetworkKey) -> Observation:
        self._check_network(network)
        tasks: dict[str, list[TaskRecord]] = {}
        for transformation, key, status, created, extends, weight, results, successes in self._db.all(
            schema.TASKS, network
        ):
            tasks.setdefault(transformation, []).append(
                TaskRecord(
                    key=TaskKey(key),
                    status=TaskStatus(status),
                    actioned=weight is not None,
                    created=rows.from_micros(created),
                    extends=None if extends is None else TaskKey(extends),
                    results=results,
                    successful_results=successes,
                    claim_weight=0.5 if weight is None else weight,
                )
            )
        successes_of = {row[0]: row[1:] for row in self._db.all(schema.SUCCESSES, network)}
        states = []
        for key, name, *_ in self._db.all(schema.TRANSFORMATIONS, network):
            count, first, _newest = successes_of.get(key, (0, None, None))
            states.append(
                TransformationState(
                    key=TransformationKey(key),
                    name=name,
                    tasks=tuple(tasks.get(key, ())),
                    successful_results=count,
                    first_success=None if first is None else rows.from_micros(first),
                )
            )
        newest = max((row[2] for row in successes_of.values()), default=None)
        seen = ResultsSeen(
            count=sum(row[0] for row in successes_of.values()),
            newest=None if newest is None else rows.from_micros(newest),
        )
        return Observation(network=network, transformations=tuple(states), results_seen=seen)

    def _claim(self, network: NetworkKey) -> Claim | None:
        """The claim on a network that was just taken; none where its row cannot be read, as its health then tells."""
        record = self._record(network)
        if record.problems:
            error = StrategyError(
                f"what is stored cannot be read: {'; '.join(record.problems)}",
                error_type="UnreadableSpecification",
                remedy="Set the Strategy again.",
            )
            health = record.health.after_strategy_error(error, seen=ResultsSeen(), now=self._clock.now())
            self._write_health(network, health)
            self._release(network)
            return None
        owner, fence, expires = self._db.one("SELECT owner, fence, lease_expires FROM network WHERE key = ?", network)
        return Claim(
            network=network,
            owner=owner,
            fence=fence,
            expires=rows.from_micros(expires),
            generation=record.generation,
            strategy=record.strategy,
            specification=record.specification,
            health=record.health,
        )

    def _check_claim(self, claim: Claim) -> None:
        row = self._db.one("SELECT fence, owner, generation FROM network WHERE key = ?", claim.network)
        if row is None:
            raise SupersededError(f"the network {claim.network} is gone")
        fence, owner, generation = row
        if generation != claim.generation:
            raise SupersededError(f"the specification of {claim.network} was edited during the pass")
        if fence != claim.fence:
            raise SupersededError(f"{claim.network} was claimed again: fence {fence} is newer than {claim.fence}")
        if owner is None:
            raise SupersededError(f"the claim of {claim.network} with fence {claim.fence} has ended already")

    def _end_claim(self, claim: Claim, health: StrategyHealth) -> None:
        self._write_health(claim.network, health)
        self._release(claim.network)

    def _end_iteration(self, claim: Claim, health: StrategyHealth, *, plan: TaskPlan | None = None) -> IterationRecord:
        self._end_claim(claim, health)
        in_flight = plan.want if plan else self._observe(claim.network).in_flight
        record = IterationRecord.of(claim, health, plan=plan, in_flight=in_flight)
        values = {"network": claim.network, "iteration": record.iteration, "record": rows.record_to_json(record)}
        self._db.insert("iteration", values)
        oldest = record.iteration - self._history
        self._db.run("DELETE FROM iteration WHERE network = ? AND iteration <= ?", claim.network, oldest)
        return record

    def _write_health(self, network: NetworkKey, health: StrategyHealth) -> None:
        """What was edited is seen by this, too: the network is not due for an edit any more."""
        values = {**rows.health_to_row(health), "edited_at": None}
        self._db.update("strategy", values, where="network", equals=network)
        self._db.update("strategy_text", {"health": rows.health_to_text(health)}, where="network", equals=network)

    def _release(self, network: NetworkKey) -> None:
        self._db.run("UPDATE network SET owner = NULL, lease_expires = NULL WHERE key = ?", network)

    def _apply_tasks(self, plan: TaskPlan, *, now: datetime) -> None:
        made = [
            (TaskKey(f"Task-{self._new_task_id()}"), row.key, creation.extends)
            for row in plan.transformations
            for creation in row.create
        ]
        created = rows.to_micros(now)
        self._db.run_many(
            "INSERT INTO task (key, transformation, status, created, extends) VALUES (?, ?, 'waiting', ?, ?)",
            ((key, transformation, created, extends) for key, transformation, extends in made),
        )
        on = [key for key, _, _ in made] + [task for row in plan.transformations for task in row.action]
        off = [task for row in plan.transformations for task in row.cancel]
        self._db.run_many("INSERT INTO action (task, network) VALUES (?, ?)", ((task, plan.network) for task in on))
        self._db.run_many("DELETE FROM action WHERE task = ? AND network = ?", ((task, plan.network) for task in off))

    def _hand_in(
        self, task: TaskKey, *, status: TaskStatus, estimate: float | None = None, uncertainty: float | None = None
    ) -> None:
        row = self._db.one("SELECT transformation, status FROM task WHERE key = ?", task)
        if row is None or row[1] != TaskStatus.RUNNING:
            found = "no such Task" if row is None else f"it is {row[1]}"
            raise RejectedInputError(field="task", value=task, expected=f"the key of a running Task ({found})")
        now = rows.to_micros(self._clock.now())
        ok = status is TaskStatus.COMPLETE
        self._db.run(
            "INSERT INTO result (transformation, task, ok, estimate, uncertainty, created) VALUES (?, ?, ?, ?, ?, ?)",
            row[0],
            task,
            ok,
            estimate,
            uncertainty,
            now,
        )
        self._db.run("UPDATE task SET status = ? WHERE key = ?", status.value, task)

    def _check_network(self, network: NetworkKey) -> str:
        row = self._db.one("SELECT name FROM network WHERE key = ?", network)
        if row is None:
            raise UnknownNetworkError(field="network", value=network, expected="the key of a network in this store")
        return str(row[0])

    def _record(self, network: NetworkKey) -> StrategyRecord:
        self._check_network(network)
        row = self._db.one_named(schema.STRATEGY, network)
        if row is None:
            raise UnknownNetworkError(field="network", value=network, expected="a network that has a Strategy")
        return rows.record_from_row(row)

    def _forget_strategy(self, network: NetworkKey) -> bool:
        """Remove the Strategy with its history, and say whether there was one."""
        self._db.run("DELETE FROM iteration WHERE network = ?", network)
        self._db.run("DELETE FROM strategy_text WHERE network = ?", network)
        return self._db.run("DELETE FROM strategy WHERE network = ?", network) > 0

    def _edited(self, network: NetworkKey) -> None:
        """A pass that runs is superseded by the new generation; its lease goes, so that nobody waits for it."""
        self._db.run("UPDATE network SET generation = generation + 1 WHERE key = ?", network)
        # It is due since the first edit that no pass has seen.
        now = rows.to_micros(self._clock.now())
        self._db.run("UPDATE strategy SET edited_at = ifnull(edited_at, ?) WHERE network = ?", now, network)
        self._release(network)
