"""One pass, and its preview, over the real SQLite store with the runner that calls Strategies in process."""

import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from alchemiscale_strategist.adapters.clock import ManualClock
from alchemiscale_strategist.adapters.in_process import InProcessRunner
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.errors import StrategyError, SupersededError, TransientError, UnknownNetworkError
from alchemiscale_strategist.planning.models import Specification, TaskStatus
from alchemiscale_strategist.ports import StrategyKind, StrategyPayload
from alchemiscale_strategist.reconciler import PassResult, preview, propose_weights, run_pass
from alchemiscale_strategist.results import NetworkResults, Repeat
from alchemiscale_strategist.strategies.native import NATIVE_STRATEGIES
from alchemiscale_strategist.testing import star_network

START = datetime(2025, 5, 30, 18, 24, 30, 540413, tzinfo=UTC)
LEASE = timedelta(minutes=7)
INTERVAL = timedelta(hours=1)
FULL = Specification(mode="full", sleep_interval=INTERVAL, task_scaling="proportional")
AWAY = TransientError("the object store is away", remedy="wait")


class World:
    """A store with one network of three Transformations, and a stub Strategy whose ``propose`` a test sets."""

    def __init__(self, path):
        self.path = path
        self.clock = ManualClock(START)
        self.store = SQLiteStore(path, clock=self.clock, durable=False)
        graph = star_network(3)
        self.network = self.store.add_network(graph)
        self.keys = tuple(edge.key for edge in graph)
        self.propose = lambda _network, _results: dict.fromkeys(self.keys, 1.0)
        world = self

        class Stub:
            name = "stub"

            @classmethod
            def from_settings(cls, _settings):
                return cls()

            def propose(self, network, results):
                return world.propose(network, results)

        self.runner = InProcessRunner({**NATIVE_STRATEGIES, "stub": Stub})

    def set(self, specification=FULL, *, strategy="stub", **settings):
        self.store.set_strategy(self.network, StrategyPayload.native(strategy, settings), specification)

    def claim(self):
        (claim,) = self.store.claim_due(owner="first", limit=10, lease=LEASE)
        return claim

    def run(self, *, results=None, runner=None):
        """One pass, due or not."""
        if not self.due():
            self.store.edit_specification(self.network, lambda old: old)
        return self.run_claimed(self.claim(), results=results, runner=runner)

    def run_claimed(self, claim, *, store=None, results=None, runner=None, jitter=1.0):
        return run_pass(
            claim,
            store=store or self.store,
            results=results or self.store,
            runner=runner or self.runner,
            jitter=jitter,
        )

    def preview(self, specification=FULL, *, strategy="stub", **settings):
        payload = StrategyPayload.native(strategy, settings)
        return preview(self.network, payload, specification, store=self.store, results=self.store, runner=self.runner)

    def due(self):
        return self.store.get_strategy(self.network).health.is_due(
            self.store.observe(self.network).results_seen, now=self.clock.now()
        )

    @property
    def health(self):
        return self.store.get_strategy(self.network).health

    @property
    def tasks(self):
        return {task.key: task for state in self.store.observe(self.network).transformations for task in state.tasks}

    @property
    def in_flight(self):
        return [len(state.in_flight) for state in self.store.observe(self.network).transformations]

    def add_result(self, key):
        number = self.store.inputs(self.network, "native").results.count(key)
        repeats = {key: [Repeat(repeat=number, estimate=1.5)]}
        assert self.store.add_results(self.network, NetworkResults(transformations=self.keys, repeats=repeats)) == 1

    def compute(self, number):
        """So many Tasks are done."""
        for _ in range(number):
            task = self.store.claim_task()
            self.store.complete_task(task.task, estimate=1.5, uncertainty=0.25)

    def everything(self):
        connection = sqlite3.connect(self.path)
        try:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608
            return {table: sorted(found, key=repr) for table, found in rows.items()}
        finally:
            connection.close()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    yield world
    world.store.close()


class Wrapped:
    """Something of which a test replaces some methods."""

    def __init__(self, wrapped, **replaced):
        self._wrapped = wrapped
        self._replaced = replaced

    def __getattr__(self, name):
        return self._replaced[name] if name in self._replaced else getattr(self._wrapped, name)


def raising(error):
    def fail(*_values, **_named):
        raise error

    return fail


# Previews


@pytest.mark.parametrize("mode", ["full", "partial", "disabled"])
@pytest.mark.parametrize("strategy", ["uniform", "connectivity"])
def test_a_preview_changes_nothing_and_says_what_the_pass_then_does(world, strategy, mode):
    world.set(FULL)
    world.propose = lambda _network, _results: {world.keys[0]: 1.0, world.keys[1]: 0.5}
    world.run()
    world.compute(2)
    running = world.store.claim_task()
    specification = Specification(mode=mode, max_tasks_per_network=4, extends_preference=0.5, sleep_interval=0)
    world.set(specification, strategy=strategy)
    before = world.everything()

    seen = world.preview(specification, strategy=strategy)

    assert world.everything() == before
    assert seen.observation == world.store.observe(world.network)
    if mode == "disabled":
        assert seen.plan.changes == ()
        return
    outcome = world.run_claimed(world.claim())
    assert (outcome.result, outcome.error) == (PassResult.APPLIED, None)
    assert outcome.plan == seen.plan
    assert outcome.plan.changes
    assert world.tasks[running.task].status is TaskStatus.RUNNING
    assert world.in_flight == [row.want for row in seen.plan]


def test_a_preview_needs_no_strategy_of_the_network(world):
    before = world.everything()
    assert world.preview(strategy="uniform", repeats=1).plan.created == 9
    assert world.everything() == before


def test_a_preview_of_an_unknown_network_names_it(world):
    world.network = "no-such-network"
    with pytest.raises(UnknownNetworkError, match="no-such-network"):
        world.preview()


def test_a_preview_raises_what_a_pass_records(world):
    before = world.everything()
    world.propose = raising(ZeroDivisionError("divided by what?"))
    with pytest.raises(StrategyError, match="ZeroDivisionError: divided by what"):
        world.preview()
    world.propose = lambda _network, _results: {"Transformation-x": 1.0}
    with pytest.raises(StrategyError, match="'Transformation-x', which is no Transformation"):
        world.preview()
    assert world.everything() == before


def test_weights_are_normalized_before_they_are_planned_with(world):
    world.propose = lambda _network, _results: dict(zip(world.keys, (3.0, 1.0, None), strict=True))
    seen = world.preview()
    assert list(seen.weights.values()) == [0.75, 0.25, None]
    assert [row.weight for row in seen.plan] == [0.75, 0.25, None]
    proposed = propose_weights(
        seen.observation, StrategyPayload.native("stub"), results=world.store, runner=world.runner
    )
    assert proposed == seen.weights


# Strategies that fail


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("not even its message")


class UnfriendlyMapping(dict):
    def __iter__(self):
        raise LookupError("no keys today")

    items = keys = __iter__


RAISE = {
    "an error": (ZeroDivisionError("divided by what?"), "ZeroDivisionError"),
    "an error of no text": (ValueError(), "ValueError"),
    "an error of strange text": (OSError("lone \udc80 surrogate, nul \0 byte, 😀"), "OSError"),
    "an error that cannot be printed": (UnprintableError(), "UnprintableError"),
    "memory": (MemoryError(), "MemoryError"),
    "one that looks transient": (AWAY, "TransientError"),
    "one that looks superseded": (SupersededError("not me"), "SupersededError"),
    "one that looks like the store's": (UnknownNetworkError(field="n", value=1, expected="x"), "UnknownNetworkError"),
    "a group": (ExceptionGroup("several", [ValueError("a"), TypeError("b")]), "ExceptionGroup"),
}


def assert_in_error(world, outcome, *, before):
    assert outcome.result is PassResult.STRATEGY_FAILED
    assert outcome.plan is None
    assert isinstance(outcome.error, StrategyError)
    health = world.health
    assert (health.status, health.iterations, health.retries) == ("error", 1, 0)
    assert health.error.type
    assert health.error.message
    assert health.error.remedy
    (entry,) = world.store.iterations(world.network)
    assert (entry.status, entry.error, entry.in_flight) == ("error", health.error.message, 3)
    after = world.everything()
    assert {table for table in after if after[table] != before[table]} == {
        "network",
        "strategy",
        "strategy_text",
        "iteration",
    }
    world.clock.advance(timedelta(days=30))
    assert not world.due()
    world.store.wake(world.network)
    assert world.due()


@pytest.fixture
def started(world):
    """Three Tasks are in flight."""
    world.set(Specification(mode="full", max_tasks_per_transformation=1))
    world.run()
    world.set()
    return world


@pytest.mark.parametrize(("error", "kind"), RAISE.values(), ids=RAISE)
def test_a_strategy_that_raises_is_in_error(started, error, kind):
    before = started.everything()
    started.propose = raising(error)
    outcome = started.run()
    failure = started.health.error
    assert failure.type == kind
    assert kind in failure.message
    assert "Traceback" in failure.traceback
    assert "in fail" in failure.traceback
    assert_in_error(started, outcome, before=before)


RETURN = {
    "NaN": lambda keys: {keys[0]: float("nan")},
    "infinity": lambda keys: {keys[0]: float("inf")},
    "numpy's NaN": lambda keys: {keys[0]: np.float64("nan")},
    "a decimal NaN": lambda keys: {keys[0]: Decimal("sNaN")},
    "a negative weight": lambda keys: {keys[0]: 1.0, keys[1]: -1e-9},
    "a text": lambda keys: {keys[0]: "1"},
    "a truth": lambda keys: {keys[0]: True},
    "a list for a weight": lambda keys: {keys[0]: [1.0]},
    "a complex number": lambda keys: {keys[0]: 1j},
    "a number too large": lambda keys: {keys[0]: 10**400},
    "an unknown key": lambda keys: {keys[0]: 1.0, "Transformation-x": 1.0},
    "a key that is no text": lambda keys: {keys[0]: 1.0, 7: 1.0},
    "no weights": lambda _keys: {},
}
RETURN_NO_MAPPING = {
    "nothing": lambda _keys: None,
    "a number": lambda _keys: 5,
    "another text": lambda keys: keys[0],
    "a list of keys": list,
    "pairs": lambda keys: [(key, 1.0) for key in keys],
    "an array": lambda keys: np.ones(len(keys)),
    "a set": set,
    "a class": lambda _keys: dict,
    "a list of lists": lambda keys: [[key] for key in keys],
    "a mapping that raises": lambda keys: UnfriendlyMapping({keys[0]: 1.0}),
}


@pytest.mark.parametrize("weights", RETURN.values(), ids=RETURN)
def test_a_strategy_that_returns_bad_weights_is_in_error(started, weights):
    before = started.everything()
    started.propose = lambda _network, _results: weights(started.keys)
    outcome = started.run()
    failure = started.health.error
    assert failure.type == "InvalidWeightsError"
    # Nothing was raised in the Strategy, so no traceback could say more.
    assert failure.traceback == ""
    assert "weight" in failure.remedy
    assert_in_error(started, outcome, before=before)


@pytest.mark.parametrize("weights", RETURN_NO_MAPPING.values(), ids=RETURN_NO_MAPPING)
def test_a_strategy_that_returns_no_mapping_is_in_error(started, weights):
    before = started.everything()
    started.propose = lambda _network, _results: weights(started.keys)
    assert_in_error(started, started.run(), before=before)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (StrategyPayload.native("fastest"), "'fastest', expected one of connectivity, stub, uniform"),
        (StrategyPayload.native("uniform", {"repeats": 0}), "repeats: got 0"),
        (StrategyPayload.native("uniform", {"repeat": 1}), "did you mean 'repeats'"),
        (StrategyPayload(kind=StrategyKind.NATIVE, name="uniform", content="[1]"), "a JSON object of settings"),
        (StrategyPayload(kind=StrategyKind.NATIVE, name="uniform", content="{" * 9), "a JSON object of settings"),
        (StrategyPayload(kind=StrategyKind.NATIVE, name="uniform", content="[" * 10**5), "a JSON object of settings"),
        (StrategyPayload(kind=StrategyKind.GUFE, name="ConnectivityStrategy", content="[]"), "native ones only"),
    ],
    ids=["unknown", "bad setting", "misspelt setting", "list", "no JSON", "too deep", "gufe"],
)
def test_a_strategy_that_cannot_be_made_is_in_error(started, payload, told):
    started.store.set_strategy(started.network, payload, FULL)
    before = started.everything()
    outcome = started.run()
    assert told in started.health.error.message
    assert_in_error(started, outcome, before=before)


def test_a_strategy_in_error_sees_what_it_failed_on(world):
    world.set()
    world.add_result(world.keys[0])
    world.propose = raising(ZeroDivisionError())
    world.run()
    assert world.health.last_iteration_result_count == 1


# Surroundings that fail


def results_away(world):
    return {"results": Wrapped(world.store, inputs=raising(AWAY))}


def runner_away(world):
    return {"runner": Wrapped(world.runner, propose=raising(AWAY))}


def observation_away(world):
    return {"store": Wrapped(world.store, observe=raising(AWAY))}


def apply_away(world):
    return {"store": Wrapped(world.store, apply=raising(AWAY))}


@pytest.mark.parametrize("away", [results_away, runner_away, observation_away, apply_away])
def test_a_failure_of_the_surroundings_is_tried_again_after_a_doubling_while(world, away):
    world.set()
    world.run()
    world.clock.advance(INTERVAL)
    before, status = world.everything(), world.health
    for retries, seconds in enumerate([5, 10, 20, 40, 80, 160, 320, 600, 600], start=1):
        outcome = world.run_claimed(world.claim(), **away(world))
        assert (outcome.result, outcome.error, outcome.plan) == (PassResult.POSTPONED, AWAY, None)
        health = world.health
        assert (health.retries, health.retry_at) == (retries, world.clock.now() + timedelta(seconds=seconds))
        assert (health.last_failure.type, health.last_failure.message) == ("TransientError", str(AWAY))
        assert health.last_failure.remedy == "wait"
        assert (health.status, health.iterations, health.error) == ("awake", 1, None)
        world.clock.advance(timedelta(seconds=seconds))
    after = world.everything()
    assert {table for table in after if after[table] != before[table]} == {"network", "strategy", "strategy_text"}

    assert world.run_claimed(world.claim()).result is PassResult.APPLIED
    health = world.health
    assert (health.retries, health.retry_at, health.last_failure) == (0, None, None)
    assert health.iterations == status.iterations + 1


def test_retries_are_spread(world):
    world.set()
    world.run_claimed(world.claim(), jitter=0.0, **results_away(world))
    assert world.health.retry_at == START + timedelta(seconds=2.5)


def test_a_dormant_network_stays_dormant_while_the_surroundings_fail(world):
    world.set()
    world.propose = lambda _network, _results: dict.fromkeys(world.keys)
    world.run()
    world.add_result(world.keys[0])
    world.clock.advance(INTERVAL)
    assert world.run_claimed(world.claim(), **results_away(world)).result is PassResult.POSTPONED
    assert world.health.status == "dormant"


@pytest.mark.parametrize("whose", ["the Strategy's", "ours"])
def test_a_store_that_is_away_at_the_end_of_a_failed_pass_raises_nothing(world, whose):
    world.set()
    claim = world.claim()
    before = world.everything()
    lost = TransientError("the database is away")
    world.propose = raising(ZeroDivisionError())
    others = results_away(world) if whose == "ours" else {}
    outcome = world.run_claimed(claim, store=Wrapped(world.store, finish=raising(lost)), **others)
    assert (outcome.result, outcome.error) == (PassResult.POSTPONED, lost)
    assert world.everything() == before
    # The lease runs out by itself.
    world.clock.advance(LEASE)
    world.propose = lambda _network, _results: dict.fromkeys(world.keys, 1.0)
    assert world.run_claimed(world.claim()).result is PassResult.APPLIED


# Passes that were overtaken


def claimed_by_another(world):
    world.clock.advance(LEASE)
    assert world.store.claim_due(owner="second", limit=1, lease=LEASE)


OVERTAKE = {
    "edit": lambda world: world.store.edit_specification(world.network, lambda _old: Specification(mode="disabled")),
    "wake": lambda world: world.store.wake(world.network),
    "replace": lambda world: world.set(strategy="uniform"),
    "drop": lambda world: world.store.drop_strategy(world.network),
    "another claim": claimed_by_another,
}


@pytest.mark.parametrize("then", ["weights", "satisfied", "raise", "surroundings fail"])
@pytest.mark.parametrize("overtake", OVERTAKE.values(), ids=OVERTAKE)
def test_a_pass_that_was_overtaken_while_it_proposed_writes_nothing(started, overtake, then):
    left = []

    def propose(_network, _results):
        overtake(started)
        left.append((started.everything(), started.store.get_strategy(started.network)))
        if then == "raise":
            raise ZeroDivisionError
        return dict.fromkeys(started.keys, None if then == "satisfied" else 1.0)

    started.propose = propose
    runner = started.runner
    if then == "surroundings fail":
        runner = Wrapped(started.runner, propose=lambda _request: (propose(None, None), raising(AWAY)()))
    outcome = started.run(runner=runner)
    assert outcome.result is PassResult.SUPERSEDED
    assert isinstance(outcome.error, SupersededError)
    assert outcome.plan is None
    ((everything, record),) = left
    assert started.everything() == everything
    assert started.store.get_strategy(started.network) == record


def test_a_task_that_a_user_actioned_while_the_strategy_thought_counts(world):
    """Two stores on one file: the plan is made from what is there when it is applied."""
    world.set(Specification(mode="full", max_tasks_per_network=4))

    def propose(_network, _results):
        # Another service of ours would be superseded; a user's own Tasks are not.
        with sqlite3.connect(world.path) as connection:
            connection.execute(
                "INSERT INTO task (key, transformation, status, created) VALUES ('Task-u', ?, 'waiting', 0)",
                (world.keys[0],),
            )
            connection.execute("INSERT INTO action (task, network) VALUES ('Task-u', ?)", (world.network,))
        connection.close()
        return dict.fromkeys(world.keys, 1.0)

    world.propose = propose
    outcome = world.run()
    assert outcome.plan.have == 1
    assert sum(world.in_flight) == outcome.plan.want
    assert len(world.tasks) == outcome.plan.want <= 4


# Dormancy


@pytest.mark.parametrize(("mode", "kept"), [("full", 0), ("partial", 9)])
def test_a_satisfied_strategy_is_dormant_and_in_full_mode_cancels_everything(world, mode, kept):
    specification = Specification(mode=mode, sleep_interval=INTERVAL, task_scaling="proportional")
    world.set(specification)
    world.run()
    running = world.store.claim_task()
    statuses = {key: task.status for key, task in world.tasks.items()}
    assert sum(world.in_flight) == 9
    world.propose = lambda _network, _results: dict.fromkeys(world.keys)
    outcome = world.run()
    assert outcome.plan.finished
    assert world.health.status == "dormant"
    assert sum(task.actioned for task in world.tasks.values()) == kept
    # "Cancel" takes a Task off the TaskHub and leaves it as it is.
    assert {key: task.status for key, task in world.tasks.items()} == statuses
    assert statuses[running.task] is TaskStatus.RUNNING


def test_a_new_result_wakes_a_dormant_network(world):
    world.set(strategy="uniform", repeats=1)
    for key in world.keys:
        world.add_result(key)
    assert world.run().plan.finished
    assert world.health.status == "dormant"
    world.clock.advance(timedelta(days=1))
    assert not world.due()
    world.add_result(world.keys[0])
    assert world.due()
    # Nothing new to ask: dormant again, on the results as they are now.
    assert world.run_claimed(world.claim()).plan.finished
    world.clock.advance(timedelta(days=1))
    assert not world.due()
    assert world.health.last_iteration_result_count == 4


def test_a_result_that_comes_while_the_strategy_thinks_is_not_overlooked(world):
    world.set()

    def propose(_network, results):
        world.add_result(world.keys[0])
        assert results.total == 0
        return dict.fromkeys(world.keys)

    world.propose = propose
    world.run()
    assert (world.health.status, world.health.last_iteration_result_count) == ("dormant", 0)
    world.clock.advance(INTERVAL)
    assert world.due()
    world.propose = lambda _network, _results: dict.fromkeys(world.keys)
    world.run_claimed(world.claim())
    world.clock.advance(INTERVAL)
    assert not world.due()


def test_a_result_that_comes_between_observation_and_results_is_not_overlooked(world):
    world.set()

    def late(network, kind):
        world.add_result(world.keys[0])
        return world.store.inputs(network, kind)

    world.propose = lambda _network, results: dict.fromkeys(world.keys) if results.total else {}
    world.run(results=Wrapped(world.store, inputs=late))
    assert world.health.status == "dormant"
    world.clock.advance(INTERVAL)
    assert world.due()


@pytest.mark.parametrize("mode", ["full", "partial"])
@pytest.mark.parametrize("scaling", ["linear", "exponential", "proportional"])
@pytest.mark.parametrize("limit", [None, 2, 5])
def test_a_second_pass_right_after_has_nothing_to_do(world, mode, scaling, limit):
    world.set(Specification(mode=mode, task_scaling=scaling, max_tasks_per_network=limit), strategy="connectivity")
    assert world.run().plan.changes
    tasks = world.tasks
    second = world.run()
    assert second.result is PassResult.APPLIED
    assert second.plan.changes == ()
    assert world.tasks == tasks
    assert world.health.iterations == 2


def test_a_campaign_runs_to_dormancy(world):
    world.set(
        Specification(mode="full", max_tasks_per_network=2, sleep_interval=INTERVAL), strategy="uniform", repeats=2
    )
    passes = 0
    while world.due():
        assert world.run_claimed(world.claim()).result is PassResult.APPLIED
        assert sum(world.in_flight) <= 2
        world.compute(sum(world.in_flight))
        world.clock.advance(INTERVAL)
        passes += 1
        assert passes < 10
    results = world.store.inputs(world.network, "native").results
    assert [results.count(key) for key in world.keys] == [2, 2, 2]
    assert world.health.status == "dormant"
    assert world.health.iterations == passes == 4
    assert sum(world.in_flight) == 0
    assert len(world.tasks) == 6
