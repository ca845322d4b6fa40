"""Which networks are due, and who gets them: :meth:`ReconcileStore.claim_due` as tests."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from alchemiscale_strategist.planning.models import NetworkKey, Specification, StrategyMode, StrategyStatus, TaskStatus
from alchemiscale_strategist.ports import Claim, Released
from alchemiscale_strategist.testing.steps import (
    EDITS,
    ENDED_PASSES_AND_ERROR,
    ENDINGS,
    FULL_MODE,
    HOUR,
    INSTANT,
    INTERVAL,
    LEASE,
    STRATEGY,
    UNKNOWN_NETWORK,
    Edit,
    EndPass,
    apply_plan,
    claim_network,
    drop_and_set_again,
    edit_of,
    for_every_edit,
    for_every_ended_pass,
    health_of,
    make_dormant,
    make_erroneous,
    make_retrying,
    managed_network,
    networks_due,
    nothing_written,
    pause_and_resume,
    plan_finished,
    postpone,
    record_of,
    replace_strategy,
    run_idle_pass,
    small_network,
)
from alchemiscale_strategist.testing.worlds import StoreContract, StoreWorld, star_network

__all__ = ["ClaimingContract"]


class ClaimingContract(StoreContract):
    """What :meth:`ReconcileStore.claim_due` promises."""

    # What is due

    def test_a_network_without_a_strategy_is_never_due(self, world: StoreWorld) -> None:
        """Nobody asked for it."""
        world.add_network(star_network(2))
        assert networks_due(world) == set()
        world.clock.advance(timedelta(days=1000))
        assert networks_due(world) == set()

    def test_a_strategy_that_was_just_set_is_due(self, world: StoreWorld) -> None:
        """Whatever its interval and the service's."""
        network, _ = managed_network(world)
        assert networks_due(world, minimum_interval=timedelta(days=1000)) == {network}

    def test_a_dropped_strategy_is_not_due(self, world: StoreWorld) -> None:
        """Nobody asks any more."""
        network, _ = managed_network(world)
        world.store.drop_strategy(network)
        assert networks_due(world) == set()

    def test_a_claim_tells_all_that_the_pass_needs(self, world: StoreWorld) -> None:
        """What the user set, how it is doing, and until when the claim holds."""
        network, _ = managed_network(world)
        make_retrying(world, network)
        world.clock.advance(timedelta(days=1))
        record = record_of(world, network)
        claim = claim_network(world, network, owner="service 1 on host α")
        assert claim == Claim(
            network=network,
            owner="service 1 on host α",
            fence=claim.fence,
            expires=world.clock.now() + LEASE,
            generation=record.generation,
            strategy=STRATEGY,
            specification=FULL_MODE,
            health=record.health,
        )
        assert claim.health.retries == 1

    def test_a_pass_that_applied_is_due_again_exactly_after_its_interval(self, world: StoreWorld) -> None:
        """And not an instant earlier."""
        network, _ = managed_network(world)
        run_idle_pass(world, network)
        assert networks_due(world) == set()
        world.clock.advance(INTERVAL - INSTANT)
        assert networks_due(world) == set()
        world.clock.advance(INSTANT)
        assert networks_due(world) == {network}

    def test_the_longer_of_the_two_intervals_counts(self, world: StoreWorld) -> None:
        """The strategy's, and the service's minimum."""
        network, _ = managed_network(world)
        run_idle_pass(world, network)
        world.clock.advance(INTERVAL)
        assert networks_due(world, minimum_interval=INTERVAL + INSTANT) == set()
        assert networks_due(world, minimum_interval=INTERVAL) == {network}
        assert networks_due(world, minimum_interval=INSTANT) == {network}
        world.clock.advance(INSTANT)
        assert networks_due(world, minimum_interval=INTERVAL + INSTANT) == {network}

    @for_every_edit
    @for_every_ended_pass
    def test_every_edit_makes_a_network_due_at_once(self, world: StoreWorld, ended: EndPass, edit: Edit) -> None:
        """Also where it is dormant, or waits for a retry; and only once."""
        network, _ = managed_network(world)
        ended(world, network)
        assert networks_due(world) == set()
        edit(world.store, network)
        assert networks_due(world, minimum_interval=timedelta(days=30)) == {network}
        run_idle_pass(world, network)
        assert networks_due(world) == set()

    @pytest.mark.parametrize("ending", ["failed", "postponed"])
    def test_a_pass_that_failed_takes_the_edit_as_seen(self, world: StoreWorld, ending: str) -> None:
        """Otherwise it would be due again and again without a rest."""
        network, _ = managed_network(world)
        world.store.finish(claim_network(world, network), ENDINGS[ending])
        assert networks_due(world) == set()

    def test_a_disabled_network_is_never_due(self, world: StoreWorld) -> None:
        """Not after an edit, nor awakened, nor with new results; until a user enables it."""
        network, (first, *_) = managed_network(world)
        edit_of(mode=StrategyMode.DISABLED)(world.store, network)
        assert networks_due(world) == set()
        edit_of(max_tasks_per_network=5)(world.store, network)
        world.store.wake(network)
        world.add_result(first)
        world.clock.advance(timedelta(days=1000))
        assert networks_due(world) == set()
        edit_of(mode=StrategyMode.PARTIAL)(world.store, network)
        assert networks_due(world) == {network}

    def test_a_strategy_set_as_disabled_is_not_due(self, world: StoreWorld) -> None:
        """The first specification counts as any other."""
        managed_network(world, specification=Specification(mode=StrategyMode.DISABLED))
        assert networks_due(world) == set()

    @pytest.mark.parametrize("edit", [edit_of(max_tasks_per_network=3), pause_and_resume], ids=["edit", "pause"])
    def test_an_erroneous_network_is_not_due(self, world: StoreWorld, edit: Edit) -> None:
        """Not after an edit, nor with new results, nor after any time."""
        network, (first, *_) = managed_network(world)
        make_erroneous(world, network)
        edit(world.store, network)
        world.add_result(first)
        world.clock.advance(timedelta(days=1000))
        assert networks_due(world) == set()
        assert health_of(world, network).status is StrategyStatus.ERROR

    @pytest.mark.parametrize("edit", ["wake", "replace", "set again", "drop and set again"])
    def test_waking_or_replacing_ends_an_error(self, world: StoreWorld, edit: str) -> None:
        """These two, and nothing else."""
        network, _ = managed_network(world)
        make_erroneous(world, network)
        EDITS[edit](world.store, network)
        assert networks_due(world) == {network}
        assert health_of(world, network).status is StrategyStatus.AWAKE

    # Dormant networks

    def test_a_dormant_network_does_not_come_back_while_its_results_are_the_same(self, world: StoreWorld) -> None:
        """Whatever the time, the failures, the Tasks and what other networks have."""
        network, (first, *_) = managed_network(world)
        _, (elsewhere, *_) = managed_network(
            world, star_network(2, name="other"), Specification(mode=StrategyMode.DISABLED)
        )
        world.add_result(first)
        make_dormant(world, network)
        world.clock.advance(timedelta(days=1000))
        assert networks_due(world) == set()
        world.add_result(first, ok=False)
        world.add_result(elsewhere)
        world.add_task(first, status=TaskStatus.COMPLETE)
        assert networks_due(world) == set()

    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_one_more_result_wakes_a_dormant_network(self, world: StoreWorld, before: int) -> None:
        """Even in the same instant as the newest."""
        network, (first, second) = managed_network(world)
        for _ in range(before):
            world.add_result(first)
        make_dormant(world, network)
        world.add_result(second)
        world.clock.advance(INTERVAL)
        assert networks_due(world) == {network}

    @pytest.mark.parametrize("before", [1, 2, 3])
    def test_one_result_less_wakes_a_dormant_network(self, world: StoreWorld, before: int) -> None:
        """Even where the newest is still as old, or none is left."""
        network, (first, *_) = managed_network(world)
        results = [world.add_result(first) for _ in range(before)]
        make_dormant(world, network)
        world.remove_result(results[0])
        world.clock.advance(INTERVAL)
        assert networks_due(world) == {network}

    def test_one_result_gone_and_one_come_wake_a_dormant_network(self, world: StoreWorld) -> None:
        """The number alone would overlook it."""
        network, (first, second) = managed_network(world)
        result = world.add_result(first)
        make_dormant(world, network)
        world.clock.advance(INTERVAL)
        world.remove_result(result)
        world.add_result(second)
        assert networks_due(world) == {network}

    def test_results_that_changed_and_changed_back_wake_nobody(self, world: StoreWorld) -> None:
        """Levels count, not events."""
        network, (first, *_) = managed_network(world)
        make_dormant(world, network)
        world.remove_result(world.add_result(first))
        world.clock.advance(INTERVAL)
        assert networks_due(world) == set()

    def test_a_dormant_network_rests_before_it_is_looked_at(self, world: StoreWorld) -> None:
        """Its own interval, or the service's where that is longer."""
        network, (first, *_) = managed_network(world)
        make_dormant(world, network)
        world.add_result(first)
        world.clock.advance(INTERVAL - INSTANT)
        assert networks_due(world) == set()
        world.clock.advance(INSTANT)
        assert networks_due(world, minimum_interval=INTERVAL + INSTANT) == set()
        assert networks_due(world) == {network}

    def test_a_result_that_came_after_the_proposal_wakes_a_dormant_network(self, world: StoreWorld) -> None:
        """What the proposal saw counts, not what was there when its plan was applied."""
        network, (first, *_) = managed_network(world)
        claim = claim_network(world, network)
        seen = world.store.observe(network).results_seen
        world.add_result(first)
        world.store.apply(claim, plan_finished, seen=seen)
        world.clock.advance(INTERVAL)
        assert networks_due(world) == {network}

    # Retries

    @pytest.mark.parametrize("before", [run_idle_pass, make_dormant], ids=["awake", "dormant"])
    def test_a_postponed_pass_is_due_exactly_at_its_retry(self, world: StoreWorld, before: EndPass) -> None:
        """Whatever the intervals, and for a dormant network whatever its results are by then."""
        network, (first, *_) = managed_network(world)
        before(world, network)
        result = world.add_result(first)
        world.clock.advance(INTERVAL)
        postpone(world, network, HOUR)
        world.remove_result(result)
        world.clock.advance(HOUR - INSTANT)
        assert networks_due(world) == set()
        world.clock.advance(INSTANT)
        assert networks_due(world, minimum_interval=timedelta(days=1000)) == {network}

    def test_a_retry_may_be_later_than_the_interval(self, world: StoreWorld) -> None:
        """The back-off is not cut short."""
        network, _ = managed_network(world)
        run_idle_pass(world, network)
        world.clock.advance(INTERVAL)
        postpone(world, network, timedelta(days=9))
        world.clock.advance(timedelta(days=9) - INSTANT)
        assert networks_due(world) == set()

    def test_due_is_what_the_health_says(self, world: StoreWorld) -> None:
        """For every way in which a pass can end, every change of the results, every mode and many times."""
        networks: list[NetworkKey] = []
        for end in ENDED_PASSES_AND_ERROR.values():
            for change in ("none", "more", "other"):
                for mode in (StrategyMode.FULL, StrategyMode.DISABLED):
                    graph = star_network(2, name=f"{end.__name__} {change} {mode}")
                    network, (first, second) = managed_network(
                        world, graph, replace(FULL_MODE, mode=StrategyMode.PARTIAL)
                    )
                    result = world.add_result(first)
                    end(world, network)
                    if mode is StrategyMode.DISABLED:
                        edit_of(mode=mode)(world.store, network)
                    world.clock.advance(INSTANT)
                    if change == "other":
                        world.remove_result(result)
                    if change != "none":
                        world.add_result(second)
                    networks.append(network)
        seen_due = set()
        for step in (timedelta(0), INTERVAL - HOUR, HOUR, HOUR, timedelta(days=2)):
            world.clock.advance(step)
            for minimum in (timedelta(0), INTERVAL + HOUR):
                now = world.clock.now()
                expected = {
                    network
                    for network in networks
                    if health_of(world, network).is_due(
                        world.store.observe(network).results_seen, now=now, minimum_interval=minimum
                    )
                }
                assert networks_due(world, minimum_interval=minimum) == expected
                seen_due.add(len(expected))
        assert len(seen_due) >= 3  # or the cases would tell little

    # Who gets what

    def test_only_one_of_two_owners_gets_a_network(self, world: StoreWorld) -> None:
        """The other one gets nothing, and no error."""
        network, _ = managed_network(world)
        claim = claim_network(world, network, owner="first")
        assert list(world.another_store().claim_due(owner="second", limit=10, lease=LEASE)) == []
        # Nor does the first get it twice.
        assert list(world.store.claim_due(owner="first", limit=10, lease=LEASE)) == []
        apply_plan(world, claim)

    def test_a_lease_holds_until_the_instant_at_which_it_expires(self, world: StoreWorld) -> None:
        """From then on others may claim the network."""
        network, _ = managed_network(world)
        claim = claim_network(world, network)
        world.clock.advance(LEASE - INSTANT)
        assert list(world.another_store().claim_due(owner="second", limit=10, lease=LEASE)) == []
        world.clock.advance(INSTANT)
        (newer,) = world.another_store().claim_due(owner="second", limit=10, lease=HOUR)
        assert (newer.owner, newer.expires) == ("second", world.clock.now() + HOUR)
        assert newer.fence > claim.fence

    @for_every_edit
    def test_an_edit_does_not_wait_for_the_lease(self, world: StoreWorld, edit: Edit) -> None:
        """The pass that runs is superseded anyway."""
        network, _ = managed_network(world)
        claim = claim_network(world, network)
        edit(world.store, network)
        assert claim_network(world, network, owner="second").fence > claim.fence

    def test_the_fence_grows_with_every_claim(self, world: StoreWorld) -> None:
        """However the last one ended; it survives the Strategy, too."""
        network, _ = managed_network(world)
        fences = [claim_network(world, network).fence]
        world.clock.advance(LEASE)
        claim = claim_network(world, network)
        fences.append(claim.fence)
        world.store.finish(claim, Released())
        claim = claim_network(world, network)
        fences.append(claim.fence)
        apply_plan(world, claim)
        replace_strategy(world.store, network)
        fences.append(claim_network(world, network).fence)
        drop_and_set_again(world.store, network)
        fences.append(claim_network(world, network).fence)
        assert fences == sorted(set(fences))

    def test_no_more_than_the_limit_are_claimed(self, world: StoreWorld) -> None:
        """And none twice."""
        networks = {small_network(world, f"n{n}") for n in range(5)}
        batches = [world.store.claim_due(owner="first", limit=2, lease=LEASE) for _ in range(4)]
        assert [len(batch) for batch in batches] == [2, 2, 1, 0]
        assert {claim.network for batch in batches for claim in batch} == networks
        assert list(world.store.claim_due(owner="first", limit=0, lease=LEASE)) == []

    def test_a_claim_writes_nothing_where_nothing_is_due(self, world: StoreWorld) -> None:
        """Services ask every second."""
        network, _ = managed_network(world)
        make_dormant(world, network)
        world.clock.advance(HOUR)
        with nothing_written(world):
            assert networks_due(world) == set()

    def test_only_the_networks_named_are_claimed(self, world: StoreWorld) -> None:
        """``None`` names all, an empty collection none, and unknown keys do no harm."""
        a, b, c = (small_network(world, name) for name in "abc")

        def claimed(networks: Collection[NetworkKey] | None) -> set[NetworkKey]:
            claims = world.store.claim_due(owner="first", limit=10, lease=LEASE, networks=networks)
            return {claim.network for claim in claims}

        assert claimed([]) == set()
        assert claimed([UNKNOWN_NETWORK]) == set()
        assert claimed((b, UNKNOWN_NETWORK)) == {b}
        assert claimed(frozenset({a, b})) == {a}
        assert claimed(None) == {c}

    @pytest.mark.parametrize("limit", [1, 10])
    def test_the_longest_overdue_comes_first(self, world: StoreWorld, limit: int) -> None:
        """Among the claims of one call, and from call to call."""
        order = "dbeca"
        networks = {name: small_network(world, name) for name in sorted(order)}
        for name in order:
            run_idle_pass(world, networks[name])
            world.clock.advance(HOUR)
        world.clock.advance(timedelta(days=1))
        assert _claimed_in_order(world, limit=limit) == [networks[name] for name in order]

    @pytest.mark.parametrize("limit", [1, 10])
    @pytest.mark.parametrize("names", ["abc", "cba", "bca"])
    def test_a_retry_takes_its_place_by_when_it_was_due(self, world: StoreWorld, names: str, limit: int) -> None:
        """Not in front of all others, nor behind them."""
        late, retry, early = (small_network(world, name) for name in names)
        run_idle_pass(world, early)
        world.clock.advance(timedelta(hours=2))
        run_idle_pass(world, late)
        # early is due at 3 h, the retry at 4 h, late at 5 h.
        postpone(world, retry, timedelta(hours=2))
        world.clock.advance(timedelta(days=1))
        assert _claimed_in_order(world, limit=limit) == [early, retry, late]

    def test_own_intervals_count_for_who_is_longest_overdue(self, world: StoreWorld) -> None:
        """A short interval makes due earlier."""
        patient = small_network(world, "a", interval=timedelta(hours=9))
        eager = small_network(world, "b", interval=timedelta(hours=1))
        run_idle_pass(world, patient)
        world.clock.advance(HOUR)
        run_idle_pass(world, eager)
        world.clock.advance(timedelta(days=1))
        assert _claimed_in_order(world, limit=1) == [eager, patient]

    def test_the_minimum_interval_counts_for_who_is_longest_overdue(self, world: StoreWorld) -> None:
        """Where it is the longer one, the network whose last iteration is older has waited longer."""
        older = small_network(world, "b", interval=timedelta(hours=9))
        newer = small_network(world, "a", interval=timedelta(hours=1))
        run_idle_pass(world, older)
        world.clock.advance(HOUR)
        run_idle_pass(world, newer)
        world.clock.advance(timedelta(days=2))
        assert _claimed_in_order(world, limit=1, minimum_interval=timedelta(days=1)) == [older, newer]

    def test_several_services_claim_every_network_exactly_once(self, world: StoreWorld) -> None:
        """However they run into each other."""
        networks = {small_network(world, f"n{n}") for n in range(50)}
        stores = [world.another_store() for _ in range(4)]

        def claim_all(number: int) -> list[Claim]:
            claims: list[Claim] = []
            while batch := stores[number].claim_due(owner=f"service {number}", limit=3, lease=LEASE):
                claims += batch
            return claims

        with ThreadPoolExecutor(len(stores)) as pool:
            claims = [claim for batch in pool.map(claim_all, range(len(stores))) for claim in batch]
        assert Counter(claim.network for claim in claims) == Counter(networks)
        for claim in claims:
            apply_plan(world, claim)


def _claimed_in_order(world: StoreWorld, *, limit: int, minimum_interval: timedelta = timedelta(0)) -> list[NetworkKey]:
    claimed: list[NetworkKey] = []
    while batch := world.store.claim_due(owner="first", limit=limit, lease=LEASE, minimum_interval=minimum_interval):
        claimed += [claim.network for claim in batch]
    return claimed
