"""The health of a Strategy: its transitions, when a pass is due, and how it prints."""

import itertools
import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from alchemiscale_strategist import (
    InvalidWeightsError,
    NetworkKey,
    Observation,
    ResultsSeen,
    Specification,
    StrategyError,
    StrategyHealth,
    StrategyMode,
    StrategyStatus,
    TaskPlan,
    TransformationKey,
    TransformationState,
    plan_task_changes,
)
from alchemiscale_strategist.errors import TransientError
from alchemiscale_strategist.planning.health import Failure, retry_delay

NOW = datetime(2025, 5, 30, 18, 24, 30, 540413, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
INSTANT = timedelta(microseconds=1)
SEEN = ResultsSeen(count=1213, newest=NOW - HOUR)
FIRST_SIX = ["mode", "status", "iterations", "sleep_interval", "last_iteration", "last_iteration_result_count"]

WORKING = TaskPlan(network=NetworkKey("n"), transformations=())
FINISHED = TaskPlan(network=NetworkKey("n"), transformations=(), finished=True)
STALLED = TaskPlan(network=NetworkKey("n"), transformations=(), stalled=("2 × its weight is 0",))


class RaisingStrategyError(StrategyError):
    remedy = "mend it"


class LostDatabaseError(TransientError):
    remedy = "wait"


BROKEN = RaisingStrategyError("it raised", error_type="ZeroDivisionError", details="Traceback …")
LOST = LostDatabaseError("connection lost")


def troubled(**changes):
    """A health in which every field has a value of its own."""
    values = {
        "mode": StrategyMode.FULL,
        "status": StrategyStatus.ERROR,
        "iterations": 4,
        "sleep_interval": timedelta(seconds=77),
        "last_iteration": NOW - 3 * HOUR,
        "last_iteration_result_count": 7,
        "newest_result_seen": NOW - 4 * HOUR,
        "error": Failure.from_error(BROKEN),
        "retries": 2,
        "retry_at": NOW + HOUR,
        "last_failure": Failure.from_error(LOST),
        "stalled": ("1 × its weight is 0",),
        "unclaimable": ("stuck",),
    }
    return StrategyHealth(**{**values, **changes})


SERVICE_TRANSITIONS = {
    "iteration": lambda health: health.after_iteration(WORKING, seen=SEEN, now=NOW),
    "finished": lambda health: health.after_iteration(FINISHED, seen=SEEN, now=NOW),
    "stalled": lambda health: health.after_iteration(STALLED, seen=SEEN, now=NOW),
    "strategy error": lambda health: health.after_strategy_error(BROKEN, seen=SEEN, now=NOW),
    "transient failure": lambda health: health.after_transient_failure(LOST, retry_at=NOW + HOUR),
}


# Transitions


def test_it_begins_awake_with_the_defaults_of_alchemiscale():
    health = StrategyHealth()
    assert (health.mode, health.status, health.iterations) == ("partial", "awake", 0)
    assert health.sleep_interval == HOUR
    assert health.results_seen is None


@pytest.mark.parametrize("name", SERVICE_TRANSITIONS)
@pytest.mark.parametrize("mode", list(StrategyMode))
@pytest.mark.parametrize("status", list(StrategyStatus))
def test_no_transition_of_the_service_changes_what_the_user_owns(name, mode, status):
    before = troubled(mode=mode, status=status)
    after = SERVICE_TRANSITIONS[name](before)
    assert (after.mode, after.sleep_interval) == (mode, timedelta(seconds=77))
    # The value itself never changes.
    assert before == troubled(mode=mode, status=status)


@pytest.mark.parametrize("name", ["iteration", "finished", "stalled", "strategy error"])
def test_a_pass_that_came_to_a_proposal_is_counted_and_ends_the_retries(name):
    after = SERVICE_TRANSITIONS[name](troubled())
    assert after.iterations == 5
    assert after.last_iteration == NOW
    assert after.results_seen == SEEN
    assert (after.last_iteration_result_count, after.newest_result_seen) == (1213, NOW - HOUR)
    assert (after.retries, after.retry_at, after.last_failure) == (0, None, None)


@pytest.mark.parametrize(
    ("plan", "status"),
    [(WORKING, StrategyStatus.AWAKE), (STALLED, StrategyStatus.AWAKE), (FINISHED, StrategyStatus.DORMANT)],
)
def test_only_a_finished_plan_makes_it_dormant(plan, status):
    for before in StrategyStatus:
        after = troubled(status=before).after_iteration(plan, seen=SEEN, now=NOW)
        assert after.status is status
        assert after.error is None
        assert after.stalled == plan.stalled
        assert after.unclaimable == plan.unclaimable == ()


def test_what_the_plan_calls_stalled_is_shown_until_the_next_one():
    a = TransformationKey("a")
    observation = Observation(network=NetworkKey("n"), transformations=(TransformationState(key=a),))
    plan = plan_task_changes(observation, {a: 0.0}, Specification())
    stalled = StrategyHealth().after_iteration(plan, seen=SEEN, now=NOW)
    assert stalled.status is StrategyStatus.AWAKE
    assert stalled.stalled == plan.stalled != ()
    assert stalled.after_iteration(WORKING, seen=SEEN, now=NOW).stalled == ()


def test_an_error_of_the_strategy_says_what_went_wrong_and_what_to_do():
    after = StrategyHealth().after_strategy_error(BROKEN, seen=SEEN, now=NOW)
    assert after.status is StrategyStatus.ERROR
    assert after.error == Failure(
        type="ZeroDivisionError", message="it raised", traceback="Traceback …", remedy="mend it"
    )
    weights = StrategyHealth().after_strategy_error(InvalidWeightsError("bad"), seen=SEEN, now=NOW)
    assert weights.error.type == "InvalidWeightsError"
    assert weights.error.remedy


@pytest.mark.parametrize("status", list(StrategyStatus))
def test_a_failure_of_ours_never_sets_the_status(status):
    before = troubled(status=status)
    after = before.after_transient_failure(LostDatabaseError("again"), retry_at=NOW + 2 * HOUR)
    assert after.status is status
    assert (after.retries, after.retry_at) == (3, NOW + 2 * HOUR)
    assert after.last_failure == Failure(type="LostDatabaseError", message="again", remedy="wait")
    same = ["iterations", "last_iteration", "results_seen", "error", "stalled", "unclaimable"]
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]


@pytest.mark.parametrize("status", list(StrategyStatus))
def test_waking_clears_errors_and_keeps_the_history(status):
    after = troubled(status=status).after_wake()
    assert after.status is StrategyStatus.AWAKE
    assert (after.error, after.retries, after.retry_at, after.last_failure) == (None, 0, None, None)
    assert (after.iterations, after.last_iteration, after.last_iteration_result_count) == (4, NOW - 3 * HOUR, 7)
    assert (after.mode, after.sleep_interval) == (StrategyMode.FULL, timedelta(seconds=77))


def test_waking_and_failing_forget_what_the_last_plan_found():
    stuck = replace(troubled(), stalled=("1 × its weight is 0",), unclaimable=("t",))
    woken = stuck.after_wake()
    failed = stuck.after_strategy_error(StrategyError("it raised"), seen=ResultsSeen(), now=NOW)
    for health in (woken, failed):
        assert (health.stalled, health.unclaimable) == ((), ())


def test_a_failure_of_any_length_is_told_in_a_bounded_one():
    error = StrategyError("m" * 10**6, error_type="T" * 10**4, details="d" * 10**6 + "the end")
    failure = StrategyHealth().after_strategy_error(error, seen=ResultsSeen(), now=NOW).error
    assert failure.message.startswith("mmm")
    assert failure.traceback.endswith("the end")
    assert len(failure.type) + len(failure.message) + len(failure.traceback) < 25_000


def test_the_specification_shows_through_and_nothing_else_changes():
    before = troubled()
    after = before.under(Specification(mode="disabled", sleep_interval=5))
    assert (after.mode, after.sleep_interval) == (StrategyMode.DISABLED, 5 * SECOND)
    others = {field.name for field in fields(StrategyHealth)} - {"mode", "sleep_interval"}
    assert all(getattr(after, name) == getattr(before, name) for name in others)
    assert after.under(Specification(mode="full", sleep_interval=77)) == before


def test_pausing_and_resuming_clears_no_error():
    paused = troubled().under(Specification(mode="disabled"))
    resumed = paused.under(Specification(mode="full"))
    assert resumed.status is StrategyStatus.ERROR
    assert resumed.error is not None


def test_a_health_is_frozen():
    with pytest.raises(AttributeError):
        StrategyHealth().iterations = 1


# When a pass is due


def ran(status=StrategyStatus.AWAKE, **changes):
    values = {"status": status, "iterations": 1, "last_iteration": NOW, "last_iteration_result_count": 3}
    return StrategyHealth(**{**values, "newest_result_seen": NOW - HOUR, **changes})


SAME = ResultsSeen(count=3, newest=NOW - HOUR)
OTHERS = [
    ResultsSeen(count=4, newest=NOW),
    ResultsSeen(count=4, newest=NOW - HOUR),
    ResultsSeen(count=3, newest=NOW),
    ResultsSeen(count=2, newest=NOW - HOUR),
    ResultsSeen(),
]


@pytest.mark.parametrize("status", [StrategyStatus.AWAKE, StrategyStatus.DORMANT])
def test_one_that_never_ran_is_due_at_once(status):
    assert StrategyHealth(status=status).is_due(ResultsSeen(), now=NOW, minimum_interval=24 * HOUR)


@pytest.mark.parametrize(("sleep", "minimum"), [(HOUR, 0 * HOUR), (HOUR, HOUR), (0 * HOUR, HOUR), (SECOND, HOUR)])
def test_an_awake_one_is_due_when_the_longer_interval_is_over(sleep, minimum):
    health = ran(sleep_interval=sleep)
    assert not health.is_due(SAME, now=NOW + HOUR - INSTANT, minimum_interval=minimum)
    assert health.is_due(SAME, now=NOW + HOUR, minimum_interval=minimum)
    assert health.is_due(OTHERS[0], now=NOW + HOUR, minimum_interval=minimum)


def test_there_is_no_minimum_unless_it_is_given():
    assert ran(sleep_interval=0 * HOUR).is_due(SAME, now=NOW)


@pytest.mark.parametrize("results", OTHERS)
def test_a_dormant_one_wakes_when_results_differ_and_it_has_rested(results):
    health = ran(StrategyStatus.DORMANT)
    assert health.is_due(results, now=NOW + HOUR)
    assert not health.is_due(results, now=NOW + HOUR - INSTANT)
    assert not health.is_due(results, now=NOW + HOUR, minimum_interval=2 * HOUR)


def test_a_dormant_one_sleeps_while_results_stay_the_same():
    assert not ran(StrategyStatus.DORMANT).is_due(SAME, now=NOW + 1000 * HOUR)


@pytest.mark.parametrize("results", [SAME, *OTHERS])
def test_one_in_error_waits_for_a_user(results):
    health = ran(StrategyStatus.ERROR)
    assert not health.is_due(results, now=NOW + 1000 * HOUR)
    assert health.after_wake().is_due(results, now=NOW + 1000 * HOUR)


def test_a_disabled_one_is_never_due():
    for status, results in itertools.product(StrategyStatus, [SAME, *OTHERS]):
        assert not ran(status, mode=StrategyMode.DISABLED).is_due(results, now=NOW + 1000 * HOUR)
    assert not StrategyHealth(mode=StrategyMode.DISABLED).is_due(SAME, now=NOW)


@pytest.mark.parametrize("mode", [StrategyMode.FULL, StrategyMode.PARTIAL])
def test_after_a_failure_it_is_due_when_the_retry_is(mode):
    health = ran(mode=mode).after_transient_failure(LOST, retry_at=NOW + 5 * HOUR)
    assert not health.is_due(SAME, now=NOW + 5 * HOUR - INSTANT)
    assert health.is_due(SAME, now=NOW + 5 * HOUR)
    error = ran(StrategyStatus.ERROR, mode=mode).after_transient_failure(LOST, retry_at=NOW)
    assert not error.is_due(OTHERS[0], now=NOW + 6 * HOUR)


@pytest.mark.parametrize("status", [StrategyStatus.AWAKE, StrategyStatus.DORMANT])
def test_a_pass_that_failed_is_tried_again_whatever_the_interval(status):
    # An edit or new results had made it due, and that holds until a pass succeeds.
    health = ran(status).after_transient_failure(LOST, retry_at=NOW + SECOND)
    assert not health.is_due(SAME, now=NOW + SECOND - INSTANT, minimum_interval=HOUR)
    assert health.is_due(SAME, now=NOW + SECOND, minimum_interval=HOUR)
    disabled = health.under(Specification(mode="disabled"))
    assert not disabled.is_due(SAME, now=NOW + SECOND)


def test_the_delay_before_a_retry_doubles_up_to_a_cap():
    delays = [retry_delay(n, jitter=1.0).total_seconds() for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10**6)]
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
    for n in range(10):
        assert retry_delay(n, jitter=0.0) == retry_delay(n, jitter=1.0) / 2


def test_a_pass_that_succeeds_after_failures_is_followed_by_the_usual_rest():
    health = troubled(status=StrategyStatus.AWAKE).after_iteration(WORKING, seen=SEEN, now=NOW)
    assert not health.is_due(SEEN, now=NOW + timedelta(seconds=76))
    assert health.is_due(SEEN, now=NOW + timedelta(seconds=77))


# Printing


def test_the_six_fields_of_the_design_document_come_first_and_in_order():
    assert [field.name for field in fields(StrategyHealth)][:6] == FIRST_SIX
    assert list(StrategyHealth().to_dict())[:6] == FIRST_SIX
    assert list(troubled().to_dict())[:6] == FIRST_SIX


def test_it_prints_as_in_the_design_document():
    health = StrategyHealth(iterations=4, last_iteration=NOW, last_iteration_result_count=1213)
    assert repr(health) == (
        "StrategyHealth(mode: 'partial', status: 'awake', iterations: 4, sleep_interval: 3600,\n"
        "               last_iteration: '2025-05-30T18:24:30.540413+00:00', last_iteration_result_count: 1213)"
    )


def test_it_prints_trouble_after_the_six_fields():
    text = repr(troubled())
    order = [text.index(f"{name}:") for name in [*FIRST_SIX, "error", "retries", "retry_at", "last_failure", "stalled"]]
    assert order == sorted(order)
    assert "unclaimable: ['stuck']" in text
    assert "retries" not in repr(StrategyHealth())


def test_plain_values_are_ready_for_json():
    values = json.loads(json.dumps(troubled().to_dict()))
    assert values["mode"] == "full"
    assert values["sleep_interval"] == 77
    assert values["last_iteration"] == "2025-05-30T15:24:30.540413+00:00"
    assert values["error"] == {
        "type": "ZeroDivisionError",
        "message": "it raised",
        "traceback": "Traceback …",
        "remedy": "mend it",
    }
    assert values["last_failure"]["message"] == "connection lost"
    assert values["stalled"] == ["1 × its weight is 0"]
    assert StrategyHealth(sleep_interval=timedelta(seconds=1.5)).to_dict()["sleep_interval"] == 1.5
    assert StrategyHealth().to_dict()["error"] is None
