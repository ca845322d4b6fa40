"""One pass over one network: observe, propose, plan, apply.

The first three steps are :func:`preview`, which changes nothing. :func:`run_pass` goes on to apply; it never raises
what a Strategy or the surroundings did, but ends the claim accordingly and says so in its outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from alchemiscale_strategist.errors import (
    StoppedError,
    StrategistError,
    StrategyError,
    SupersededError,
    TransientError,
)
from alchemiscale_strategist.planning.health import retry_delay
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Observation,
    ResultsSeen,
    Specification,
    TaskPlan,
    Weights,
)
from alchemiscale_strategist.planning.scaling import normalize_weights
from alchemiscale_strategist.planning.tasks import plan_task_changes
from alchemiscale_strategist.ports import (
    Applied,
    Claim,
    ObservationSource,
    PassEnding,
    Postponed,
    ProposalRequest,
    ProposalRunner,
    ReconcileStore,
    Released,
    ResultSource,
    StrategyFailed,
    StrategyPayload,
)

__all__ = ["PassOutcome", "PassResult", "Preview", "preview", "propose_weights", "run_pass"]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a pass would do now: what it saw, the normalized weights, and the plan; nothing was changed."""

    observation: Observation
    weights: Weights = field(repr=False)
    plan: TaskPlan


class PassResult(StrEnum):
    """How a pass ended."""

    APPLIED = "applied"
    SUPERSEDED = "superseded"
    STRATEGY_FAILED = "strategy_failed"
    POSTPONED = "postponed"
    RELEASED = "released"


@dataclass(frozen=True, kw_only=True)
class PassOutcome:
    """How a pass ended: with what it applied, or with the error that kept it from applying anything."""

    result: PassResult
    applied: Applied | None = None
    error: StrategistError | None = None

    @property
    def plan(self) -> TaskPlan | None:
        """The plan that was applied, if any."""
        return self.applied.plan if self.applied else None


def preview(
    network: NetworkKey,
    strategy: StrategyPayload,
    specification: Specification,
    *,
    store: ObservationSource,
    results: ResultSource,
    runner: ProposalRunner,
) -> Preview:
    """Observe, propose and plan, and change nothing.

    Raises:
        UnknownNetworkError: the store has no such network.
        StrategyError: the Strategy failed, or its weights break the contract.
        TransientError: the surroundings failed.
    """
    observation = store.observe(network)
    weights = propose_weights(observation, strategy, results=results, runner=runner)
    return Preview(
        observation=observation, weights=weights, plan=plan_task_changes(observation, weights, specification)
    )


def propose_weights(
    observation: Observation, strategy: StrategyPayload, *, results: ResultSource, runner: ProposalRunner
) -> Weights:
    """Ask the Strategy for weights; they are checked against the observed Transformations and normalized."""
    # Read after the observation: a result that comes in between is seen early, and never overlooked.
    inputs = results.inputs(observation.network, strategy.kind)
    request = ProposalRequest(strategy=strategy, inputs=inputs)
    return normalize_weights(runner.propose(request), transformations=observation.keys)


def run_pass(
    claim: Claim, *, store: ReconcileStore, results: ResultSource, runner: ProposalRunner, jitter: float
) -> PassOutcome:
    """Run the pass that ``claim`` gives the right to, and end the claim.

    Args:
        claim: from :meth:`ReconcileStore.claim_due`.
        store: where the claim came from.
        results: the network and its successful results.
        runner: runs the Strategy.
        jitter: a random number from 0 to 1, which spreads the retries of services that failed together.

    Raises:
        UnknownNetworkError: the network is gone.
    """
    seen = ResultsSeen()
    try:
        try:
            observation = store.observe(claim.network)
            seen = observation.results_seen
            weights = propose_weights(observation, claim.strategy, results=results, runner=runner)
            applied = store.apply(
                claim, lambda fresh: plan_task_changes(fresh, weights, claim.specification), seen=seen
            )
            return PassOutcome(result=PassResult.APPLIED, applied=applied)
        except StrategyError as error:
            return _end(claim, StrategyFailed(error=error, seen=seen), store=store, error=error)
        except StoppedError as error:
            return _end(claim, Released(), store=store, error=error)
        except TransientError as error:
            delay = retry_delay(claim.health.retries, jitter=jitter)
            return _end(claim, Postponed(error=error, retry_after=delay), store=store, error=error)
    except SupersededError as error:
        return PassOutcome(result=PassResult.SUPERSEDED, error=error)


def _end(claim: Claim, ending: PassEnding, *, store: ReconcileStore, error: StrategistError) -> PassOutcome:
    try:
        store.finish(claim, ending)
    except TransientError as away:
        # The store is away, too: the lease runs out by itself, and the pass is tried again.
        return PassOutcome(result=PassResult.POSTPONED, error=away)
    match ending:
        case StrategyFailed():
            result = PassResult.STRATEGY_FAILED
        case Postponed():
            result = PassResult.POSTPONED
        case Released():
            result = PassResult.RELEASED
        case _:
            assert_never(ending)
    return PassOutcome(result=result, error=error)
