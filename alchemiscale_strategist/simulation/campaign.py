"""A whole campaign in virtual time: the real reconciler over the real store, until the Strategy has no more to ask."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from alchemiscale_strategist.adapters.clock import ManualClock
from alchemiscale_strategist.adapters.in_process import InProcessRunner
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.health import StrategyHealth
from alchemiscale_strategist.planning.models import (
    Observation,
    Specification,
    StrategyMode,
    StrategyStatus,
    TransformationKey,
)
from alchemiscale_strategist.ports import ProposalRunner, StrategyKind, StrategyPayload
from alchemiscale_strategist.reconciler import PassOutcome, run_pass
from alchemiscale_strategist.results import NetworkResults
from alchemiscale_strategist.simulation.compute import ComputeSettings, SimulatedCompute, TaskEnds
from alchemiscale_strategist.simulation.events import EventQueue
from alchemiscale_strategist.simulation.precision import PrecisionModel
from alchemiscale_strategist.simulation.truth import TransformationTruth

__all__ = ["Campaign", "CampaignEnd", "CampaignRun", "Progress", "simulate_campaign"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
_OWNER = "simulation"
_LEASE = timedelta(minutes=5)


class CampaignEnd(StrEnum):
    """Why a campaign is over."""

    DORMANT = "dormant"
    """The Strategy is satisfied and nothing runs any more."""
    STALLED = "stalled"
    """The Strategy still asks, but nothing can be done."""
    ERROR = "error"
    """The Strategy failed."""
    UNFINISHED = "unfinished"
    """The greatest number of passes was reached."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A campaign at one instant.

    Args:
        hours: virtual time since its start.
        passes: passes that were run.
        tasks_completed: Tasks with a successful result.
        gpu_hours: compute spent, failed attempts included.
        in_flight: Tasks that are actioned, and waiting or running.
        standard_error: to expect of a ligand (or state), kcal/mol, for the true spreads: see
            :class:`~alchemiscale_strategist.simulation.precision.PrecisionModel`; infinite while the results do not
            connect all of them.
    """

    hours: float
    passes: int
    tasks_completed: int
    gpu_hours: float
    in_flight: int
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What is to be simulated.

    Args:
        network: the graph.
        truth: what is true of each Transformation.
        strategy: a native Strategy.
        specification: mode, limits, scaling, interval; ``extends_preference`` must be 0: extensions are not simulated.
        compute: the simulated compute services.
        truth_from: where the truth comes from, for reports.
        most_passes: the campaign ends unfinished after that many passes.
    """

    network: NetworkGraph
    truth: Mapping[TransformationKey, TransformationTruth]
    strategy: StrategyPayload
    specification: Specification
    compute: ComputeSettings
    truth_from: str = ""
    most_passes: int = 10_000

    def __post_init__(self) -> None:
        if self.specification.mode is StrategyMode.DISABLED:
            raise RejectedInputError(
                field="mode", value="disabled", expected="'full' or 'partial': nothing would happen"
            )
        if missing := [edge.name for edge in self.network.transformations if edge.key not in self.truth]:
            raise RejectedInputError(field="truth", value=missing[:3], expected="a truth of every Transformation")
        if self.specification.extends_preference:
            raise RejectedInputError(
                field="extends_preference",
                value=self.specification.extends_preference,
                expected="0: a simulated result is an independent repeat, which an extension is not",
            )
        if not self.specification.sleep_interval:
            raise RejectedInputError(
                field="sleep_interval", value=0, expected="more than 0 seconds: virtual time has to go on"
            )


@dataclass(frozen=True, kw_only=True)
class CampaignRun:
    """What a simulated campaign came to: its end, its course (the last point is the end), and all that was stored."""

    campaign: Campaign
    end: CampaignEnd
    course: tuple[Progress, ...]
    failures: int
    health: StrategyHealth
    observation: Observation
    results: NetworkResults

    @cached_property
    def precision(self) -> PrecisionModel:
        """What the campaign's precision is judged by."""
        return PrecisionModel(self.campaign.network, self.campaign.truth)

    @property
    def final(self) -> Progress:
        """The campaign at its end."""
        return self.course[-1]


def simulate_campaign(
    campaign: Campaign,
    *,
    store_path: Path | str = ":memory:",
    runner: ProposalRunner | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> CampaignRun:
    """Run a campaign to its end; deterministic for the same campaign.

    Args:
        campaign: what to simulate.
        store_path: a file for the store, to look into afterwards; kept in memory by default.
        runner: runs the Strategy; in this process by default.
        on_progress: called after every pass.

    Raises:
        RejectedInputError: the store is not empty.
    """
    clock = ManualClock(_START)
    # Task keys are numbered, so that a seed gives the same campaign to the last key.
    numbers = itertools.count()
    with SQLiteStore(store_path, clock=clock, new_task_id=lambda: f"{next(numbers):032x}", durable=False) as store:
        return _Simulation(
            campaign, store=store, clock=clock, runner=runner or InProcessRunner(), on_progress=on_progress
        ).run()


class _PassDue:
    """It is time for the service to look again."""


class _Simulation:
    def __init__(
        self,
        campaign: Campaign,
        *,
        store: SQLiteStore,
        clock: ManualClock,
        runner: ProposalRunner,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        if store.network_keys():
            # Another network's Tasks would be taken for ours, and its clock would go back.
            raise RejectedInputError(field="store", value=str(store.path), expected="a file without any network in it")
        self._campaign = campaign
        self._store = store
        self._clock = clock
        self._runner = runner
        self._on_progress = on_progress
        self._events: EventQueue[object] = EventQueue(clock)
        self._compute = SimulatedCompute(
            store=store, truth=campaign.truth, settings=campaign.compute, events=self._events
        )
        self._passes = 0
        self._precision = PrecisionModel(campaign.network, campaign.truth)
        self._counts: Mapping[TransformationKey, int] = {}
        self._standard_error = math.inf
        self._course: list[Progress] = []
        self._network = store.add_network(campaign.network)
        store.set_strategy(self._network, campaign.strategy, campaign.specification)

    def run(self) -> CampaignRun:
        """Let things happen until the campaign is over."""
        self._events.schedule(_PassDue(), after=timedelta(0))
        end = None
        while end is None:
            match self._events.next():
                case TaskEnds() as ends:
                    self._compute.end_task(ends)
                    self._compute.start_tasks()
                case _:
                    outcome = self._look()
                    self._compute.start_tasks()
                    self._note_progress()
                    end = self._end(outcome)
                    self._events.schedule(_PassDue(), after=self._campaign.specification.sleep_interval)
        return CampaignRun(
            campaign=self._campaign,
            end=end,
            course=tuple(self._course),
            failures=self._compute.failures,
            health=self._health(),
            observation=self._store.observe(self._network),
            results=self._results(),
        )

    def _look(self) -> PassOutcome | None:
        """What the service does when it wakes up: claim what is due, and run a pass over it."""
        for claim in self._store.claim_due(owner=_OWNER, limit=1, lease=_LEASE):
            self._passes += 1
            return run_pass(claim, store=self._store, results=self._store, runner=self._runner, jitter=0.5)
        return None

    def _end(self, outcome: PassOutcome | None) -> CampaignEnd | None:
        status = self._health().status
        if status is StrategyStatus.ERROR:
            return CampaignEnd.ERROR
        if self._passes >= self._campaign.most_passes:
            return CampaignEnd.UNFINISHED
        if self._compute.running:
            return None
        if status is StrategyStatus.DORMANT:
            return CampaignEnd.DORMANT
        # Nothing runs and nothing was started: the next pass would see what this one saw.
        applied = outcome is not None and outcome.plan is not None
        return CampaignEnd.STALLED if applied else None

    def _health(self) -> StrategyHealth:
        record = self._store.get_strategy(self._network)
        assert record is not None  # noqa: S101 - it was set when the simulation began
        return record.health

    def _results(self) -> NetworkResults:
        return self._store.inputs(self._network, StrategyKind.NATIVE).results

    def _note_progress(self) -> None:
        counts = {key: len(repeats) for key, repeats in self._results().items()}
        if counts != self._counts:
            # Costly on a large network, so not while nothing has come.
            self._counts, self._standard_error = counts, self._precision.standard_error(counts)
        progress = Progress(
            hours=(self._clock.now() - _START) / timedelta(hours=1),
            passes=self._passes,
            tasks_completed=self._compute.completed,
            gpu_hours=self._compute.gpu_hours,
            in_flight=self._store.observe(self._network).in_flight,
            standard_error=self._standard_error,
        )
        if self._course and replace(progress, hours=0, passes=0) == replace(self._course[-1], hours=0, passes=0):
            self._course.pop()
        self._course.append(progress)
        if self._on_progress is not None:
            self._on_progress(progress)
