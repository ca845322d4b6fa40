"""Steps that tests of several suites take: a network with a Strategy, a pass that ends this way or that, an edit."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from alchemiscale_strategist.errors import StrategyError, TransientError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.health import StrategyHealth
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Observation,
    ResultsSeen,
    Specification,
    StrategyMode,
    TaskKey,
    TaskPlan,
    TaskRecord,
    TaskScaling,
    TransformationKey,
    TransformationState,
)
from alchemiscale_strategist.ports import (
    Claim,
    PassEnding,
    Postponed,
    Released,
    StrategyFailed,
    StrategyPayload,
    StrategyRecord,
)
from alchemiscale_strategist.testing.worlds import StoreWorld, StrategyStore, plan_of, star_network

__all__ = [
    "EDITS",
    "ENDED_PASSES",
    "ENDED_PASSES_AND_ERROR",
    "ENDINGS",
    "FULL_MODE",
    "HOUR",
    "INSTANT",
    "INTERVAL",
    "LEASE",
    "OTHER_STRATEGY",
    "SEEN_NOTHING",
    "STRATEGY",
    "STRATEGY_ERROR",
    "SUPERSEDED_BY",
    "TRANSIENT_ERROR",
    "UNKNOWN_NETWORK",
    "Edit",
    "EndPass",
    "Meanwhile",
    "apply_plan",
    "claim_network",
    "drop_and_set_again",
    "edit_nothing",
    "edit_of",
    "for_all_that_supersedes",
    "for_every_edit",
    "for_every_ended_pass",
    "for_every_ended_pass_and_error",
    "health_of",
    "make_dormant",
    "make_erroneous",
    "make_retrying",
    "managed_network",
    "networks_due",
    "nothing_written",
    "pause_and_resume",
    "plan_finished",
    "postpone",
    "record_of",
    "replace_strategy",
    "run_idle_pass",
    "set_strategy_again",
    "small_network",
    "task_seen",
]

INSTANT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
LEASE = timedelta(minutes=7)
INTERVAL = timedelta(hours=3)
FULL_MODE = Specification(mode=StrategyMode.FULL, sleep_interval=INTERVAL)
STRATEGY = StrategyPayload.native("uniform", {"repeats": 2})
OTHER_STRATEGY = StrategyPayload.native("connectivity", {"max_runs": 5})
STRATEGY_ERROR = StrategyError(
    "it raised", error_type="ZeroDivisionError", details="Traceback: line 1", remedy="mend it"
)
TRANSIENT_ERROR = TransientError("the object store is away", remedy="wait")
UNKNOWN_NETWORK = NetworkKey("AlchemicalNetwork-0123456789abcdef0123456789abcdef-no-such-network")
SEEN_NOTHING = ResultsSeen()

Edit = Callable[[StrategyStore, NetworkKey], object]
"""What a user does to a network's Strategy."""
EndPass = Callable[[StoreWorld, NetworkKey], None]
"""Claims a network and ends the pass."""
Meanwhile = Callable[[StoreWorld, Claim], object]
"""What happens while somebody holds a claim."""


@contextmanager
def nothing_written(world: StoreWorld) -> Iterator[None]:
    """Check that what is kept is the same before and after."""
    before = world.everything()
    yield
    assert world.everything() == before


def managed_network(
    world: StoreWorld, graph: NetworkGraph | None = None, specification: Specification = FULL_MODE
) -> tuple[NetworkKey, tuple[TransformationKey, ...]]:
    """Add a network with a Strategy; return its key and those of its Transformations."""
    graph = graph or star_network(2)
    network = world.add_network(graph)
    world.store.set_strategy(network, STRATEGY, specification)
    return network, tuple(edge.key for edge in graph)


def small_network(world: StoreWorld, name: str, *, interval: timedelta = INTERVAL) -> NetworkKey:
    """Add a network of one Transformation, with a Strategy."""
    specification = replace(FULL_MODE, sleep_interval=interval)
    return managed_network(world, star_network(1, name=name), specification)[0]


def networks_due(world: StoreWorld, *, minimum_interval: timedelta = timedelta(0)) -> set[NetworkKey]:
    """Find out what is due now: it is claimed and given back."""
    claims = world.store.claim_due(owner="asking", limit=10_000, lease=LEASE, minimum_interval=minimum_interval)
    for claim in claims:
        world.store.finish(claim, Released())
    return {claim.network for claim in claims}


def claim_network(world: StoreWorld, network: NetworkKey, *, owner: str = "first", lease: timedelta = LEASE) -> Claim:
    """Claim this network, which has to be due."""
    (claim,) = world.store.claim_due(owner=owner, limit=10, lease=lease, networks=[network])
    return claim


def record_of(world: StoreWorld, network: NetworkKey) -> StrategyRecord:
    """Read the Strategy, which has to be there."""
    record = world.store.get_strategy(network)
    assert record is not None
    return record


def health_of(world: StoreWorld, network: NetworkKey) -> StrategyHealth:
    """Read how the Strategy is doing."""
    return record_of(world, network).health


def task_seen(world: StoreWorld, network: NetworkKey, task: TaskKey) -> TaskRecord:
    """Observe one Task."""
    states: tuple[TransformationState, ...] = world.store.observe(network).transformations
    (found,) = (seen for state in states for seen in state.tasks if seen.key == task)
    return found


def apply_plan(world: StoreWorld, claim: Claim, decide: Callable[[Observation], TaskPlan] = plan_of) -> TaskPlan:
    """Apply on what a proposal made now would have seen."""
    return world.store.apply(claim, decide, seen=world.store.observe(claim.network).results_seen).plan


def run_idle_pass(world: StoreWorld, network: NetworkKey) -> None:
    """Apply a plan in which nothing is to be done."""
    apply_plan(world, claim_network(world, network))


def plan_finished(observation: Observation) -> TaskPlan:
    """Plan that the Strategy has no more to ask."""
    return plan_of(observation, finished=True)


def make_dormant(world: StoreWorld, network: NetworkKey) -> None:
    """Let the Strategy be satisfied."""
    apply_plan(world, claim_network(world, network), plan_finished)


def postpone(world: StoreWorld, network: NetworkKey, retry_after: timedelta) -> None:
    """Let a pass fail in a way that is not the Strategy's fault."""
    world.store.finish(claim_network(world, network), Postponed(error=TRANSIENT_ERROR, retry_after=retry_after))


def make_retrying(world: StoreWorld, network: NetworkKey) -> None:
    """Postpone a pass by a day."""
    postpone(world, network, timedelta(days=1))


def make_erroneous(world: StoreWorld, network: NetworkKey) -> None:
    """Let the Strategy fail."""
    world.store.finish(claim_network(world, network), StrategyFailed(error=STRATEGY_ERROR, seen=SEEN_NOTHING))


def edit_of(**changes: object) -> Edit:
    """Return an edit that changes these fields of the specification."""

    def change(specification: Specification) -> Specification:
        return replace(specification, **changes)  # type: ignore[arg-type] # the callers name fields of it

    return lambda store, network: store.edit_specification(network, change)


def edit_nothing(store: StrategyStore, network: NetworkKey) -> None:
    """Edit, and leave every field as it is."""
    store.edit_specification(network, lambda specification: specification)


def replace_strategy(store: StrategyStore, network: NetworkKey) -> None:
    """Set another Strategy with another specification."""
    store.set_strategy(network, OTHER_STRATEGY, Specification())


def set_strategy_again(store: StrategyStore, network: NetworkKey) -> None:
    """Set the very same Strategy and specification: whoever compares values only overlooks it."""
    store.set_strategy(network, STRATEGY, FULL_MODE)


def drop_and_set_again(store: StrategyStore, network: NetworkKey) -> None:
    """Set the very same once it is gone."""
    store.drop_strategy(network)
    store.set_strategy(network, STRATEGY, FULL_MODE)


def pause_and_resume(store: StrategyStore, network: NetworkKey) -> None:
    """Disable the Strategy and enable it."""
    edit_of(mode=StrategyMode.DISABLED)(store, network)
    edit_of(mode=StrategyMode.FULL)(store, network)


EDITS: Mapping[str, Edit] = {
    "mode": edit_of(mode=StrategyMode.PARTIAL),
    "limit of a Transformation": edit_of(max_tasks_per_transformation=7),
    "limit of the network": edit_of(max_tasks_per_network=9),
    "scaling": edit_of(task_scaling=TaskScaling.PROPORTIONAL),
    "extends_preference": edit_of(extends_preference=0.5),
    "interval": edit_of(sleep_interval=timedelta(days=9)),
    "nothing": edit_nothing,
    "wake": lambda store, network: store.wake(network),
    "replace": replace_strategy,
    "set again": set_strategy_again,
    "drop and set again": drop_and_set_again,
    "pause and resume": pause_and_resume,
}
ENDED_PASSES: Mapping[str, EndPass] = {
    "awake": run_idle_pass,
    "dormant": make_dormant,
    "retrying": make_retrying,
}
ENDED_PASSES_AND_ERROR: Mapping[str, EndPass] = {**ENDED_PASSES, "error": make_erroneous}
ENDINGS: Mapping[str, PassEnding] = {
    "failed": StrategyFailed(error=STRATEGY_ERROR, seen=SEEN_NOTHING),
    "postponed": Postponed(error=TRANSIENT_ERROR, retry_after=HOUR),
    "released": Released(),
}


def _claimed_by_another(world: StoreWorld, claim: Claim) -> None:
    world.clock.advance(LEASE)
    assert world.another_store().claim_due(owner="second", limit=10, lease=LEASE, networks=[claim.network])


def _claimed_again_by_the_same(world: StoreWorld, claim: Claim) -> None:
    world.clock.advance(LEASE)
    assert world.another_store().claim_due(owner=claim.owner, limit=10, lease=LEASE)


def _taken_over_and_finished(world: StoreWorld, claim: Claim) -> None:
    _claimed_by_another(world, claim)
    world.clock.advance(LEASE)
    (newer,) = world.store.claim_due(owner="third", limit=10, lease=LEASE)
    world.store.finish(newer, Released())


def _superseding(edit: Edit) -> Meanwhile:
    return lambda world, claim: edit(world.another_store(), claim.network)


def _finishing(ending: PassEnding) -> Meanwhile:
    return lambda world, claim: world.store.finish(claim, ending)


SUPERSEDED_BY: Mapping[str, Meanwhile] = {
    "claimed by another": _claimed_by_another,
    "claimed again under the same name": _claimed_again_by_the_same,
    "claimed by another, who has finished": _taken_over_and_finished,
    "applied": apply_plan,
    "released": _finishing(ENDINGS["released"]),
    "failed": _finishing(ENDINGS["failed"]),
    "postponed": _finishing(ENDINGS["postponed"]),
    "dropped": lambda world, claim: world.another_store().drop_strategy(claim.network),
    **{f"edited: {name}": _superseding(edit) for name, edit in EDITS.items()},
}

for_every_edit = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
for_every_ended_pass = pytest.mark.parametrize("ended", ENDED_PASSES.values(), ids=ENDED_PASSES)
for_every_ended_pass_and_error = pytest.mark.parametrize(
    "ended", ENDED_PASSES_AND_ERROR.values(), ids=ENDED_PASSES_AND_ERROR
)
for_all_that_supersedes = pytest.mark.parametrize("meanwhile", SUPERSEDED_BY.values(), ids=SUPERSEDED_BY)
