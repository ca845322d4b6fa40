"""The service on a real SQLite file: side by side, slow, failing, stopped, superseded; and what it says of all that."""

import sys
import threading
import traceback
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alchemiscale_strategist.adapters.clock import ManualClock, SystemClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.errors import RejectedInputError, StoppedError, StrategyError, TransientError
from alchemiscale_strategist.planning.models import Specification, StrategyStatus
from alchemiscale_strategist.ports import StrategyPayload
from alchemiscale_strategist.service import Service, ServiceSettings
from alchemiscale_strategist.testing import star_network

START = datetime(2025, 5, 30, 18, 24, 30, 540413, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
# So long that no test waits for its end.
LEASE = timedelta(hours=20)
POLL = timedelta(milliseconds=5)
STRATEGY = StrategyPayload.native("stub")
FULL = Specification(mode="full", sleep_interval=HOUR)
AT_ONCE = replace(FULL, sleep_interval=timedelta(0))
# Long enough on any machine; reached only where a test fails.
PATIENCE = 60


class Log:
    """What a service told, and a way to wait for it."""

    def __init__(self):
        self.events = []
        self._told = threading.Condition()

    def info(self, event, **values):
        self._tell("info", event, values)

    def warning(self, event, **values):
        self._tell("warning", event, values)

    def exception(self, event, **values):
        self._tell("exception", event, {**values, "traceback": traceback.format_exc(), "raised": sys.exc_info()[1]})

    def _tell(self, level, event, values):
        with self._told:
            self.events.append({"level": level, "event": event, **values})
            self._told.notify_all()

    def all(self, event, **values):
        with self._told:
            events = list(self.events)
        return [told for told in events if told["event"] == event and values.items() <= told.items()]

    def wait_for(self, event, number=1, **values):
        """The first so many events of that name with these values."""
        with self._told:
            enough = self._told.wait_for(lambda: len(self.all(event, **values)) >= number, timeout=PATIENCE)
            assert enough, f"no {number} × {event} {values} in {self.events}"
        return self.all(event, **values)[:number]


class Runner:
    """A runner of which a test says what it does for each network; uniform weights otherwise."""

    def __init__(self, propose=None):
        self.propose_for = propose or (lambda _network: None)
        self.asked = []

    def propose(self, request):
        network = request.inputs.network
        self.asked.append(network.key)
        self.propose_for(network.key)
        return dict.fromkeys((edge.key for edge in network), 1.0)


class Wrapped:
    """A store of which a test replaces some methods."""

    def __init__(self, store, **replaced):
        self._store = store
        self._replaced = replaced

    def __getattr__(self, name):
        return self._replaced[name] if name in self._replaced else getattr(self._store, name)


class World:
    """A file with networks; every service has a store of its own on it."""

    def __init__(self, path, clock):
        self.path = path
        self.clock = clock
        self.opened = []
        self.store = self.open()
        self.log = Log()

    def open(self):
        self.opened.append(SQLiteStore(self.path, clock=self.clock, durable=False))
        return self.opened[-1]

    def add(self, number, specification=FULL):
        """So many networks with a Strategy, which are due."""
        networks = [self.store.add_network(star_network(2, name=f"network {n}")) for n in range(number)]
        for network in networks:
            self.store.set_strategy(network, STRATEGY, specification)
        return networks

    def service(self, runner=None, *, store=None, owner="first", log=None, jitter=lambda: 0.5, cancel=None, **settings):
        store = store or self.open()
        options = {} if cancel is None else {"cancel_proposals": cancel}
        return Service(
            store=store,
            results=store,
            runner=runner or Runner(),
            owner=owner,
            log=log or self.log,
            jitter=jitter,
            settings=ServiceSettings(**{"lease": LEASE, "poll_interval": POLL, **settings}),
            **options,
        )

    @contextmanager
    def running(self, *services):
        """They run until the block is over."""
        raised = []

        def run(service):
            try:
                service.run()
            except BaseException as error:  # noqa: BLE001 - raised again below
                raised.append(error)

        threads = [threading.Thread(target=run, args=(service,), daemon=True) for service in services]
        for thread in threads:
            thread.start()
        try:
            yield threads
        finally:
            for service in services:
                service.stop()
            for thread in threads:
                thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
        if raised:
            raise raised[0]

    def health(self, network):
        return self.store.get_strategy(network).health

    def fences(self, network):
        return [record.fence for record in reversed(self.store.iterations(network))]

    def claimable(self):
        """What another service gets at once."""
        claims = self.open().claim_due(owner="another", limit=100, lease=LEASE)
        return {claim.network for claim in claims}


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(clock=None):
        worlds.append(World(tmp_path / f"store_{len(worlds)}.db", clock or SystemClock()))
        return worlds[-1]

    yield make
    for world in worlds:
        for store in world.opened:
            store.close()


@pytest.fixture
def world(make_world):
    """With the machine's clock."""
    return make_world()


def joined(thread):
    thread.join(PATIENCE)
    return not thread.is_alive()


# Side by side


def test_many_networks_run_side_by_side_in_a_bounded_number(world):
    networks = world.add(12)
    together = threading.Barrier(3)
    inside, most, counting = [0], [0], threading.Lock()

    def propose(_network):
        with counting:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        # Broken where fewer than three ever come.
        together.wait(PATIENCE)
        with counting:
            inside[0] -= 1

    with world.running(world.service(Runner(propose), passes=3)):
        world.log.wait_for("pass_ended", 12, result="applied")
    assert most == [3]
    assert [world.health(network).iterations for network in networks] == [1] * 12


def test_no_more_is_claimed_than_can_run(world):
    world.add(5)
    held, go = threading.Semaphore(0), threading.Event()

    def propose(_network):
        held.release()
        assert go.wait(PATIENCE)

    with world.running(world.service(Runner(propose), passes=2)):
        assert held.acquire(timeout=PATIENCE)
        assert held.acquire(timeout=PATIENCE)
        assert len(world.claimable()) == 3
        go.set()


def test_a_slow_proposal_delays_nobody_else(world):
    slow, *others = world.add(6, AT_ONCE)
    go = threading.Event()

    def propose(network):
        if network == slow:
            assert go.wait(PATIENCE)

    with world.running(world.service(Runner(propose), passes=2)):
        for other in others:
            world.log.wait_for("pass_ended", 3, network=other, result="applied")
        assert world.log.all("pass_started", network=slow)
        assert not world.log.all("pass_ended", network=slow)
        go.set()
        world.log.wait_for("pass_ended", network=slow, result="applied")


def test_a_place_that_is_free_again_is_taken_at_once(world):
    # Nobody polls here: it is the end of a pass that lets the next one start.
    world.add(6)
    with world.running(world.service(passes=1, poll_interval=timedelta(hours=20))):
        world.log.wait_for("pass_ended", 6, result="applied")


def test_two_services_share_the_work(world):
    networks = world.add(8)
    both = threading.Barrier(2)
    first_time = {"first": True, "second": True}

    def runner(owner):
        def propose(_network):
            if first_time.pop(owner, False):
                both.wait(PATIENCE)

        return Runner(propose)

    services = [world.service(runner(owner), owner=owner, passes=2) for owner in ("first", "second")]
    with world.running(*services):
        world.log.wait_for("pass_ended", 8, result="applied")
    assert [world.health(network).iterations for network in networks] == [1] * 8


# In time


class Quiet:
    """Sees to it that services have looked again and again without finding anything due."""

    def __init__(self):
        self._in_vain = 0
        self._looked = threading.Condition()

    def watched(self, store):
        def claim_due(**options):
            claims = store.claim_due(**options)
            with self._looked:
                self._in_vain += not claims
                self._looked.notify_all()
            return claims

        return Wrapped(store, claim_due=claim_due)

    def wait(self):
        with self._looked:
            enough = self._in_vain + 12
            assert self._looked.wait_for(lambda: self._in_vain >= enough, timeout=PATIENCE)


def test_a_network_runs_exactly_once_an_interval(make_world):
    world, quiet = make_world(ManualClock(START)), Quiet()
    networks = world.add(5)

    def iterations():
        quiet.wait()
        return [world.health(network).iterations for network in networks]

    services = [world.service(store=quiet.watched(world.open()), owner=owner) for owner in ("first", "second")]
    with world.running(*services):
        for number in range(1, 4):
            world.log.wait_for("pass_ended", 5 * number, result="applied")
            assert iterations() == [number] * 5
            world.clock.advance(HOUR - INSTANT)
            assert iterations() == [number] * 5
            world.clock.advance(INSTANT)
    assert {event["result"] for event in world.log.all("pass_ended")} == {"applied"}


def test_the_services_own_interval_holds_too(make_world):
    world, quiet = make_world(ManualClock(START)), Quiet()
    (network,) = world.add(1, AT_ONCE)
    with world.running(world.service(store=quiet.watched(world.open()), minimum_interval=HOUR)):
        for number in range(1, 4):
            world.log.wait_for("pass_ended", number, result="applied")
            world.clock.advance(HOUR - INSTANT)
            quiet.wait()
            assert world.health(network).iterations == number
            world.clock.advance(INSTANT)


# Failures


def test_an_unexpected_exception_ends_its_own_pass_only(world):
    broken, *others = world.add(4, AT_ONCE)

    def propose(network):
        if network == broken:
            raise ZeroDivisionError("nobody thought of this")

    with world.running(world.service(Runner(propose), passes=2)):
        (told,) = world.log.wait_for("pass_broke")
        seen = {other: len(world.log.all("pass_ended", network=other)) for other in others}
        for other in others:
            world.log.wait_for("pass_ended", seen[other] + 3, network=other, result="applied")
    assert told["level"] == "exception"
    assert told["network"] == broken
    assert "in propose" in told["traceback"]
    assert "ZeroDivisionError: nobody thought of this" in told["traceback"]
    health = world.health(broken)
    assert (health.status, health.iterations, health.error) == (StrategyStatus.AWAKE, 0, None)
    assert health.retries >= 1
    assert health.retry_at is not None
    assert health.last_failure.message == "unexpected ZeroDivisionError: nobody thought of this"


def test_a_pass_that_broke_is_tried_again_when_its_time_has_come(make_world):
    world = make_world(ManualClock(START))
    (network,) = world.add(1)
    failures = [KeyError("first"), KeyError("second")]

    def propose(_network):
        if failures:
            raise failures.pop(0)

    with world.running(world.service(Runner(propose), jitter=lambda: 1.0)):
        world.log.wait_for("pass_broke", 1)
        for seconds, wanted in ((5, 2), (10, 2)):
            assert joined_by(lambda: world.health(network).retry_at is not None)
            assert world.health(network).retry_at == world.clock.now() + timedelta(seconds=seconds)
            world.clock.advance(timedelta(seconds=seconds))
            if failures:
                world.log.wait_for("pass_broke", wanted)
                assert joined_by(lambda: world.health(network).retries == 2)
        world.log.wait_for("pass_ended", result="applied")
    assert (world.health(network).retries, world.health(network).retry_at) == (0, None)


def joined_by(holds):
    """Whether it holds in time."""
    waiting = threading.Event()
    for _ in range(PATIENCE * 200):
        if holds():
            return True
        waiting.wait(0.005)
    return False


def test_a_strategy_that_fails_is_told_and_keeps_nobody_waiting(world):
    failing, other = world.add(2, AT_ONCE)

    def propose(network):
        if network == failing:
            raise StrategyError("it raised")

    with world.running(world.service(Runner(propose), passes=1)):
        (told,) = world.log.wait_for("pass_ended", network=failing)
        world.log.wait_for("pass_ended", 3, network=other, result="applied")
    assert (told["level"], told["result"], told["error"]) == ("warning", "strategy_failed", "it raised")
    assert world.health(failing).status is StrategyStatus.ERROR


def test_a_claim_that_fails_is_tried_again_after_a_growing_while(world):
    world.add(1)
    store = world.open()
    failures = [TransientError(f"away {number}") for number in range(6)]

    def claim_due(**options):
        if failures:
            raise failures.pop(0)
        return store.claim_due(**options)

    # Far outside its range, it makes every wait a thousand times shorter.
    service = world.service(store=Wrapped(store, claim_due=claim_due), jitter=lambda: -0.998)
    with world.running(service):
        world.log.wait_for("pass_ended", result="applied")
        told = world.log.all("claim_failed")
        # The first failure after things were well again waits no longer than the very first one.
        failures.append(TransientError("away again"))
        (again,) = world.log.wait_for("claim_failed", 7)[6:]
    assert [event["level"] for event in told] == ["warning"] * 6
    assert [event["error"] for event in told] == [f"away {number}" for number in range(6)]
    delays = [event["retry_after"] for event in told]
    assert delays == pytest.approx([0.005 * 2**number for number in range(6)])
    assert again["retry_after"] == pytest.approx(0.005)


def test_the_wait_after_a_failed_claim_is_spread_and_ends_when_the_service_stops(world):
    def claim_due(**_options):
        raise TransientError("away")

    for number in (0.0, 0.5, 1.0):
        log = Log()
        store = Wrapped(world.open(), claim_due=claim_due)
        service = world.service(store=store, log=log, jitter=lambda number=number: 240 * (0.5 + number / 2))
        with world.running(service) as (thread,):
            (told,) = log.wait_for("claim_failed")
            # At least five minutes.
            assert told["retry_after"] == pytest.approx(5 * (0.5 + 120 * (0.5 + number / 2)))
            service.stop()
            assert joined(thread)


def test_a_claim_that_fails_for_good_ends_the_service(world):
    def claim_due(**_options):
        raise RejectedInputError(field="lease", value=LEASE, expected="something else")

    service = world.service(store=Wrapped(world.open(), claim_due=claim_due))
    with pytest.raises(RejectedInputError, match="something else"), world.running(service) as (thread,):
        assert joined(thread)


def test_a_claim_that_cannot_be_given_back_is_told(world):
    (network,) = world.add(1)
    store = world.open()

    def finish(_claim, _ending):
        raise TransientError("away")

    def propose(_network):
        raise ZeroDivisionError

    service = world.service(Runner(propose), store=Wrapped(store, finish=finish))
    with world.running(service):
        (told,) = world.log.wait_for("claim_not_given_back")
    assert (told["network"], told["error"]) == (network, "away")


# Stopping


def test_a_service_that_was_told_to_stop_before_it_runs_claims_nothing(world):
    networks = world.add(2)
    service = world.service()
    service.stop()
    with world.running(service) as (thread,):
        assert joined(thread)
    assert world.claimable() == set(networks)


def test_stopping_during_a_proposal_gives_the_claim_back(world):
    networks = world.add(2)
    proposing, cancelled = threading.Semaphore(0), threading.Event()

    def propose(_network):
        proposing.release()
        assert cancelled.wait(PATIENCE)
        raise StoppedError("the service is to stop")

    service = world.service(Runner(propose), cancel=cancelled.set, passes=2)
    with world.running(service) as (thread,):
        assert proposing.acquire(timeout=PATIENCE)
        assert proposing.acquire(timeout=PATIENCE)
        assert not world.claimable()
        service.stop()
        assert joined(thread)
    assert [event["result"] for event in world.log.all("pass_ended")] == ["released"] * 2
    assert world.log.events[-1]["event"] == "service_stopped"
    for network in networks:
        health = world.health(network)
        assert (health.iterations, health.retries, health.retry_at) == (0, 0, None)
    assert world.claimable() == set(networks)


def test_a_claim_that_comes_when_the_service_is_to_stop_is_given_back_at_once(world):
    networks = world.add(3)
    store, runner = world.open(), Runner()

    def claim_due(**options):
        claims = store.claim_due(**options)
        service.stop()
        return claims

    service = world.service(runner, store=Wrapped(store, claim_due=claim_due))
    with world.running(service) as (thread,):
        assert joined(thread)
    assert runner.asked == []
    assert world.claimable() == set(networks)


def test_stopping_while_a_pass_applies_lets_it_finish(world):
    applying_one, proposing_one = world.add(2)
    store = world.open()
    applying, proposing, cancelled, go = (threading.Event() for _ in range(4))

    def propose(network):
        if network == proposing_one:
            proposing.set()
            assert cancelled.wait(PATIENCE)
            raise StoppedError("the service is to stop")

    def apply(claim, decide, *, seen):
        def decide_late(fresh):
            # The transaction is open.
            applying.set()
            assert go.wait(PATIENCE)
            return decide(fresh)

        return store.apply(claim, decide_late, seen=seen)

    runner = Runner(propose)
    service = world.service(runner, store=Wrapped(store, apply=apply), cancel=cancelled.set, passes=2)
    with world.running(service) as (thread,):
        assert applying.wait(PATIENCE)
        service.stop()
        # Whoever stops it has ended the proposals by now, or never claimed the other.
        assert cancelled.wait(PATIENCE)
        assert thread.is_alive()
        go.set()
        assert joined(thread)
    assert world.health(applying_one).iterations == 1
    assert world.store.observe(applying_one).in_flight > 0
    assert len(world.log.all("pass_ended", network=applying_one, result="applied")) == 1
    assert world.claimable() == {proposing_one}


def test_stopping_twice_is_as_good_as_once(world):
    world.add(1)
    service = world.service()
    with world.running(service) as (thread,):
        world.log.wait_for("pass_ended")
        service.stop()
        service.stop()
        assert joined(thread)
    assert len(world.log.all("service_stopped")) == 1


# Superseded


@pytest.mark.parametrize("passes", [1, 2])
def test_a_superseded_pass_is_told_and_the_new_specification_runs_soon(world, passes):
    (network,) = world.add(1)
    proposing, go = threading.Event(), threading.Event()

    def propose(_network):
        if not proposing.is_set():
            proposing.set()
            assert go.wait(PATIENCE)

    with world.running(world.service(Runner(propose), passes=passes)):
        assert proposing.wait(PATIENCE)
        world.store.edit_specification(network, lambda old: replace(old, max_tasks_per_network=1))
        if passes > 1:
            # Nobody waits for the old one.
            world.log.wait_for("pass_ended", result="applied")
            assert not world.log.all("pass_ended", result="superseded")
        go.set()
        (superseded,) = world.log.wait_for("pass_ended", result="superseded")
        (applied,) = world.log.wait_for("pass_ended", result="applied")
    assert superseded["level"] == "info"
    assert superseded["fence"] < applied["fence"]
    assert applied["in_flight"] == 1
    (record,) = world.store.iterations(network)
    assert (record.fence, record.in_flight) == (applied["fence"], 1)
    assert record.generation == world.store.get_strategy(network).generation


# What is told


def test_every_event_of_a_pass_says_which_pass_network_and_fence(world):
    fine, failing, broken = world.add(3, AT_ONCE)

    def propose(network):
        if network == failing:
            raise StrategyError("it raised")
        if network == broken:
            raise ZeroDivisionError

    with world.running(world.service(Runner(propose))):
        world.log.wait_for("pass_ended", 5, network=fine, result="applied")
        world.log.wait_for("pass_ended", network=failing)
        world.log.wait_for("pass_broke", network=broken)
    of_passes = [event for event in world.log.events if event["event"].startswith("pass_")]
    assert all({"pass_id", "network", "fence"} <= event.keys() for event in of_passes)
    passes = {}
    for event in of_passes:
        passes.setdefault(event["pass_id"], []).append(event)
    for events in passes.values():
        assert [event["event"] for event in events] in (["pass_started", "pass_ended"], ["pass_started", "pass_broke"])
        assert len({(event["network"], event["fence"]) for event in events}) == 1
    assert len({(events[0]["network"], events[0]["fence"]) for events in passes.values()}) == len(passes)
    applied = world.log.all("pass_ended", network=fine, result="applied")
    assert [event["fence"] for event in applied] == world.fences(fine)
    assert [event["iteration"] for event in applied] == list(range(1, len(applied) + 1))
    first = applied[0]
    assert first["status"] == "awake"
    assert first["in_flight"] == first["created"] > 0
    assert (first["actioned"], first["cancelled"]) == (0, 0)


def test_a_service_says_when_it_starts_and_when_it_has_stopped(world):
    service = world.service(passes=3, owner="this one", minimum_interval=HOUR)
    with world.running(service):
        (started,) = world.log.wait_for("service_started")
    assert started == {
        "level": "info",
        "event": "service_started",
        "owner": "this one",
        "passes": 3,
        "lease": LEASE.total_seconds(),
        "minimum_interval": 3600.0,
        "poll_interval": POLL.total_seconds(),
    }
    assert world.log.events[-1] == {"level": "info", "event": "service_stopped", "owner": "this one"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("passes", 0),
        ("lease", timedelta(0)),
        ("lease", timedelta(days=1, microseconds=1)),
        ("poll_interval", timedelta(0)),
        ("minimum_interval", timedelta(microseconds=-1)),
        ("minimum_interval", timedelta(days=3651)),
    ],
)
def test_settings_that_make_no_sense_are_refused(field, value):
    with pytest.raises(RejectedInputError) as raised:
        ServiceSettings(**{field: value})
    assert raised.value.field == field
