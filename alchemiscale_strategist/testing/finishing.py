"""How a pass ends that applies nothing: :meth:`ReconcileStore.finish` as tests."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alchemiscale_strategist.errors import StrategyError, SupersededError
from alchemiscale_strategist.planning.health import Failure
from alchemiscale_strategist.planning.models import StrategyStatus
from alchemiscale_strategist.ports import PassEnding, Released, StrategyFailed
from alchemiscale_strategist.testing.steps import (
    ENDINGS,
    HOUR,
    INTERVAL,
    SEEN_NOTHING,
    STRATEGY_ERROR,
    Meanwhile,
    apply_plan,
    claim_network,
    edit_nothing,
    for_all_that_supersedes,
    health_of,
    make_dormant,
    make_erroneous,
    make_retrying,
    managed_network,
    networks_due,
    nothing_written,
    postpone,
    record_of,
    run_idle_pass,
)
from alchemiscale_strategist.testing.worlds import StoreContract, StoreWorld, star_network

__all__ = ["FinishingContract"]


class FinishingContract(StoreContract):
    """What :meth:`ReconcileStore.finish` promises."""

    def test_a_failed_strategy_is_in_error(self, world: StoreWorld) -> None:
        """With what it takes to mend it, in health and history; its Tasks stay."""
        network, (first, *_) = managed_network(world)
        world.add_task(first, actioned_on=[network])
        world.add_result(first)
        tasks = world.tasks(network)
        claim = claim_network(world, network)
        seen = world.store.observe(network).results_seen
        world.clock.advance(timedelta(minutes=1))
        world.store.finish(claim, StrategyFailed(error=STRATEGY_ERROR, seen=seen))

        assert health_of(world, network) == replace(
            claim.health,
            status=StrategyStatus.ERROR,
            iterations=1,
            last_iteration=world.clock.now(),
            last_iteration_result_count=1,
            newest_result_seen=seen.newest,
            error=Failure(
                type="ZeroDivisionError", message="it raised", traceback="Traceback: line 1", remedy="mend it"
            ),
        )
        (entry,) = world.store.iterations(network)
        assert (entry.iteration, entry.at, entry.fence) == (1, world.clock.now(), claim.fence)
        assert (entry.generation, entry.status, entry.results) == (claim.generation, StrategyStatus.ERROR, 1)
        assert (entry.in_flight, entry.changes, entry.error) == (1, (), "it raised")
        assert world.tasks(network) == tasks

    def test_a_postponed_pass_is_no_iteration(self, world: StoreWorld) -> None:
        """It counts the retries and tells what failed; status and history stay."""
        network, (first, *_) = managed_network(world)
        make_dormant(world, network)
        world.add_result(first)
        world.clock.advance(INTERVAL)
        before = health_of(world, network)
        for retries in (1, 2):
            postpone(world, network, HOUR)
            assert health_of(world, network) == replace(
                before,
                retries=retries,
                retry_at=world.clock.now() + HOUR,
                last_failure=Failure(type="TransientError", message="the object store is away", remedy="wait"),
            )
            world.clock.advance(HOUR)
        assert len(world.store.iterations(network)) == 1
        run_idle_pass(world, network)
        after = health_of(world, network)
        assert (after.retries, after.retry_at, after.last_failure) == (0, None, None)

    @pytest.mark.parametrize("why", ["set", "edited", "rested", "results changed", "retry"])
    def test_a_released_network_stays_as_due_as_it_was(self, world: StoreWorld, why: str) -> None:
        """Health and history know nothing of it."""
        network, (first, *_) = managed_network(world)
        if why == "edited":
            make_dormant(world, network)
            edit_nothing(world.store, network)
        elif why == "rested":
            run_idle_pass(world, network)
        elif why == "results changed":
            make_dormant(world, network)
            world.add_result(first)
        elif why == "retry":
            make_retrying(world, network)
        if why in {"rested", "results changed", "retry"}:
            world.clock.advance(timedelta(days=1))
        record, history = record_of(world, network), list(world.store.iterations(network))
        for owner in ("first", "second", "first"):
            world.store.finish(claim_network(world, network, owner=owner), Released())
            assert record_of(world, network) == record
        assert list(world.store.iterations(network)) == history
        assert networks_due(world) == {network}

    @for_all_that_supersedes
    @pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
    def test_a_superseded_pass_records_nothing(
        self, world: StoreWorld, ending: PassEnding, meanwhile: Meanwhile
    ) -> None:
        """Whatever it ended with: an error would otherwise undo a user's wake."""
        network, _ = managed_network(world)
        claim = claim_network(world, network)
        meanwhile(world, claim)
        with nothing_written(world), pytest.raises(SupersededError):
            world.store.finish(claim, ending)

    def test_finishing_touches_no_other_network(self, world: StoreWorld) -> None:
        """Each has its own."""
        network, _ = managed_network(world)
        other, _ = managed_network(world, star_network(2, name="other"))
        claim = claim_network(world, other)
        before = record_of(world, other)
        make_erroneous(world, network)
        assert record_of(world, other) == before
        apply_plan(world, claim)

    @pytest.mark.parametrize(
        "text", ["", "a\nb\tc", "nul \0 byte", "lone \udc80 surrogate", "😀 é ' \" \\ --;", "x" * 10**6]
    )
    def test_any_message_of_a_strategy_can_be_kept(self, world: StoreWorld, text: str) -> None:
        """A Strategy writes it, so nothing about it can be trusted."""
        network, _ = managed_network(world)
        error = StrategyError(text, error_type="E", details=text, remedy="mend it")
        world.store.finish(claim_network(world, network), StrategyFailed(error=error, seen=SEEN_NOTHING))
        failure = Failure.from_error(error)
        assert failure.message[:100] == text[:100]
        assert health_of(world, network).error == failure
        assert world.store.iterations(network)[0].error == failure.message
