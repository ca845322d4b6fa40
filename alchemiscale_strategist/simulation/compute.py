"""Simulated compute services: workers that take Tasks, spend virtual time on them, and hand in drawn results."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from alchemiscale_strategist.checks import check_number, check_whole_number
from alchemiscale_strategist.planning.models import TaskKey, TransformationKey
from alchemiscale_strategist.ports import ClaimedTask, ComputeStore
from alchemiscale_strategist.simulation.events import EventQueue
from alchemiscale_strategist.simulation.truth import TransformationTruth

__all__ = ["ComputeSettings", "SimulatedCompute", "TaskEnds"]

_DURATION_SHAPE = 25.0  # of a gamma distribution: durations vary by a fifth of their mean


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """How the simulated compute behaves.

    Args:
        workers: Tasks that run at once, ≥ 1.
        failure_rate: chance that an attempt at a Task fails, 0 to below 1.
        max_restarts: how often a failed Task is started again before it stays in error, ≥ 0.
        seed: the same seed draws the same durations, failures and results.
    """

    workers: int = 8
    failure_rate: float = 0.02
    max_restarts: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole_number("workers", self.workers, least=1)
        check_number("failure_rate", self.failure_rate, least=0, below=1)
        check_whole_number("max_restarts", self.max_restarts, least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskEnds:
    """The attempt of a worker at a Task is over."""

    claimed: ClaimedTask
    attempt: int
    failed: bool
    hours: float


@dataclass(kw_only=True)
class SimulatedCompute:
    """Workers over a :class:`ComputeStore`.

    Every draw depends on the seed, the Transformation, the number of the repeat and of the attempt alone: Strategies
    that are compared under one seed get the same results for the same repeats.
    """

    store: ComputeStore
    truth: Mapping[TransformationKey, TransformationTruth]
    settings: ComputeSettings
    events: EventQueue[object]
    running: int = 0
    completed: int = 0
    failures: int = 0
    gpu_hours: float = 0.0
    _attempts: dict[TaskKey, int] = field(default_factory=dict)

    def start_tasks(self) -> None:
        """Let idle workers take what there is."""
        while self.running < self.settings.workers and (claimed := self.store.claim_task()) is not None:
            self.running += 1
            attempt = self._attempts.get(claimed.task, 0)
            draw = self._draw(claimed, attempt, "time")
            mean = self.truth[claimed.transformation].hours
            hours = draw.gammavariate(_DURATION_SHAPE, mean / _DURATION_SHAPE)
            failed = draw.random() < self.settings.failure_rate
            if failed:
                hours *= draw.random()
            ends = TaskEnds(claimed=claimed, attempt=attempt, failed=failed, hours=hours)
            self.events.schedule(ends, after=timedelta(hours=hours))

    def end_task(self, ends: TaskEnds) -> None:
        """Hand in what an attempt came to."""
        self.running -= 1
        self.gpu_hours += ends.hours
        task = ends.claimed.task
        if ends.failed:
            self.failures += 1
            self._attempts[task] = ends.attempt + 1
            self.store.fail_task(task, restart=ends.attempt < self.settings.max_restarts)
            return
        truth = self.truth[ends.claimed.transformation]
        estimate = self._draw(ends.claimed, 0, "estimate").gauss(truth.free_energy, truth.spread)
        self.store.complete_task(task, estimate=estimate, uncertainty=truth.reported_uncertainty)
        self.completed += 1

    def _draw(self, claimed: ClaimedTask, attempt: int, what: str) -> random.Random:
        name = f"{self.settings.seed}:{claimed.transformation}:{claimed.repeat}:{attempt}:{what}"
        return random.Random(name)  # noqa: S311 - not for secrets
