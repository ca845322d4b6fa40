"""``plan_task_changes``: an example for every rule of the design, and properties over generated networks."""

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemiscale_strategist import (
    InvalidWeightsError,
    Observation,
    Reason,
    RejectedInputError,
    Specification,
    StrategyMode,
    TaskCreation,
    TaskRecord,
    TaskStatus,
    TransformationState,
    normalize_weights,
    plan_task_changes,
)

START = datetime(2025, 1, 1, tzinfo=UTC)
PENDING = (TaskStatus.WAITING, TaskStatus.RUNNING)
MODES = ["full", "partial", "disabled"]
SCALINGS = ["linear", "exponential", "proportional"]


# Building observations


def at(minute):
    return START + timedelta(minutes=minute)


def make_task(
    key, status="waiting", *, on=True, minute=0, extends=None, results=None, successful=None, claim_weight=0.5
):
    """A Task as the store sees it; a complete one has one successful result unless told otherwise."""
    default = 1 if status == "complete" else 0
    return TaskRecord(
        key=key,
        status=TaskStatus(status),
        actioned=on,
        created=at(minute),
        extends=extends,
        results=default if results is None else results,
        successful_results=default if successful is None else successful,
        claim_weight=claim_weight,
    )


def make_state(key, *tasks, first_success=None):
    successes = sum(task.successful_results for task in tasks)
    return TransformationState(
        key=key,
        name=f"{key} by name",
        tasks=tasks,
        successful_results=successes,
        first_success=None if first_success is None else at(first_success),
    )


def observe(*states):
    return Observation(network="network", transformations=states)


def tasks_of(key, number, status="waiting", **fields):
    return tuple(make_task(f"{key}{n}", status, minute=n, **fields) for n in range(number))


def plan_one(*tasks, weight=1.0, first_success=None, **specification):
    """The plan of a network of one Transformation."""
    (row,) = plan_task_changes(
        observe(make_state("a", *tasks, first_success=first_success)), {"a": weight}, Specification(**specification)
    )
    return row


# What a plan leaves, and what it should have been


def applied(observation, plan, *, minute=10_000):
    """The observation that a plan leaves: an independent account of what creating, actioning and cancelling do."""
    states = []
    for state in observation.transformations:
        row = plan[state.key]
        tasks = {task.key: task for task in state.tasks}
        for key in row.cancel:
            assert tasks[key].actioned
            tasks[key] = replace(tasks[key], actioned=False)
        for key in row.action:
            assert not tasks[key].actioned
            tasks[key] = replace(tasks[key], actioned=True, claim_weight=0.5)
        for n, creation in enumerate(row.create):
            new = make_task(f"{state.key}-new-{minute}-{n}", minute=minute, extends=creation.extends)
            assert new.key not in tasks
            tasks[new.key] = new
        states.append(replace(state, tasks=tuple(tasks.values())))
    return replace(observation, transformations=tuple(states))


def in_flight(state):
    return [task for task in state.tasks if task.actioned and task.status in PENDING]


def is_blocked(state):
    return any(task.status == "error" for task in state.tasks)


def may_be_parent(task):
    return task.status == "complete" and task.results == 1 and task.successful_results == 1


def asked_counts(observation, raw, specification):
    """The count that each weight asks for without a network limit, from the weights before normalizing, exactly."""
    maximum, scaling = specification.max_tasks_per_transformation, specification.task_scaling
    total = sum(weight or 0 for weight in raw.values())
    unblocked = [raw.get(state.key) or 0 for state in observation.transformations if not is_blocked(state)]
    largest = max(unblocked, default=0)
    counts = {}
    for state in observation.transformations:
        weight = raw.get(state.key) or 0
        if weight == 0:
            count = 0
        elif weight == total:
            count = maximum
        elif scaling == "linear":
            count = int(1 + weight / total * maximum)
        elif scaling == "exponential":
            count = int((1 + maximum) ** (weight / total))
        else:
            count = math.floor(Fraction(weight * maximum, largest) + Fraction(1, 2)) if largest else maximum
        counts[state.key] = min(count, maximum)
    return counts


def expected_wants(observation, raw, specification):
    """How many Tasks each Transformation is to have, by the letter of the design, one seat at a time."""
    full = specification.mode == "full"
    have = {state.key: len(in_flight(state)) for state in observation.transformations}
    if specification.mode == "disabled" or (all(w is None for w in raw.values()) and not full):
        return have
    if all(weight is None for weight in raw.values()):
        return dict.fromkeys(have, 0)
    counts = asked_counts(observation, raw, specification)
    wants, unblocked = {}, []
    for state in observation.transformations:
        key = state.key
        if key not in raw:
            wants[key] = have[key]
        elif is_blocked(state):
            wants[key] = min(have[key], counts[key]) if full else have[key]
        else:
            unblocked.append(key)
    limit = specification.max_tasks_per_network
    left = math.inf if limit is None else limit - sum(wants.values())
    for key in unblocked:
        wants[key] = 0 if full else have[key]
        left -= wants[key]
    while left > 0:
        below = [key for key in unblocked if wants[key] < counts[key]]
        if not below:
            break
        wants[min(below, key=lambda key: (Fraction(-raw[key], 2 * wants[key] + 1), -raw[key], key))] += 1
        left -= 1
    return wants


# Generated observations


@st.composite
def task_records(draw, key, earlier):
    status = draw(
        st.sampled_from(["waiting"] * 4 + ["running"] * 3 + ["complete"] * 4 + ["invalid", "deleted", "error"])
    )
    results, successful = draw(st.sampled_from([(1, 1)] * 4 + [(0, 0), (1, 0), (2, 1), (2, 2)]))
    complete = status == "complete"
    return make_task(
        key,
        status,
        on=draw(st.booleans()),
        minute=draw(st.integers(0, 5)),
        extends=draw(st.sampled_from([None, None, *(task.key for task in earlier), "elsewhere"])),
        results=results if complete else 0,
        successful=successful if complete else 0,
        claim_weight=draw(st.sampled_from([0.5, 0.5, 1.0, 0.0])),
    )


@st.composite
def transformation_states(draw, key, most=6):
    tasks = []
    for n in range(draw(st.integers(0, most))):
        tasks.append(draw(task_records(f"{key}{n}", tasks)))
    first = draw(st.integers(0, 5)) if any(task.successful_results for task in tasks) else None
    return make_state(key, *tasks, first_success=first)


@st.composite
def observations(draw):
    return observe(*[draw(transformation_states(key)) for key in "abcde"[: draw(st.integers(1, 5))]])


@st.composite
def situations(draw, modes=MODES):
    """An observation, weights before normalizing, and a specification."""
    observation = draw(observations())
    keys = [state.key for state in observation.transformations]
    weighted = draw(st.lists(st.sampled_from(keys), min_size=1, unique=True)) if draw(st.booleans()) else keys
    raw = {key: draw(st.sampled_from([None, 0, 0, 1, 1, 2, 3, 5, 12])) for key in weighted}
    specification = Specification(
        mode=draw(st.sampled_from(modes)),
        max_tasks_per_transformation=draw(st.integers(1, 5)),
        max_tasks_per_network=draw(st.one_of(st.none(), st.integers(1, 12))),
        task_scaling=draw(st.sampled_from(SCALINGS)),
        extends_preference=draw(st.sampled_from([0, 0.3, 0.5, 0.7, 1])),
    )
    return observation, raw, specification


def plan_for(situation):
    observation, raw, specification = situation
    return plan_task_changes(observation, normalize_weights(raw), specification)


def contents(plan):
    """All that a plan says, whatever the order of its rows; where everything is cancelled, any order will do."""
    return {
        row.key: replace(
            row,
            unclaimable=tuple(sorted(row.unclaimable)),
            cancel=tuple(sorted(row.cancel)) if plan.finished else row.cancel,
        )
        for row in plan
    }


# Properties


@settings(max_examples=300)
@given(situations())
def test_every_target_is_what_the_design_says(situation):
    observation, raw, specification = situation
    plan = plan_for(situation)
    assert {row.key: row.want for row in plan} == expected_wants(observation, raw, specification)
    assert {row.key: row.have for row in plan} == {
        state.key: len(in_flight(state)) for state in observation.transformations
    }


@settings(max_examples=200)
@given(situations())
def test_applying_a_plan_gives_what_it_wants(situation):
    observation, *_ = situation
    plan = plan_for(situation)
    after = applied(observation, plan)
    assert {row.key: row.want for row in plan} == {state.key: len(in_flight(state)) for state in after.transformations}
    assert plan.want == after.in_flight
    assert plan.have == observation.in_flight


@settings(max_examples=300)
@given(situations())
def test_planning_again_is_empty(situation):
    observation, raw, specification = situation
    after = applied(observation, plan_for(situation))
    again = plan_for((after, raw, specification))
    assert again.changes == ()
    assert again.have == again.want


@settings(max_examples=200)
@given(situations(modes=["full", "partial"]))
def test_the_network_limit_holds(situation):
    observation, raw, specification = situation
    limit = specification.max_tasks_per_network
    after = applied(observation, plan_for(situation)).in_flight
    if limit is None:
        return
    if specification.mode == "full":
        reserved = sum(
            len(in_flight(state)) for state in observation.transformations if state.key not in raw or is_blocked(state)
        )
        assert after <= max(limit, reserved)
    else:
        assert after <= max(limit, observation.in_flight)


@given(situations())
def test_the_limit_of_a_transformation_holds(situation):
    _, raw, specification = situation
    for row in plan_for(situation):
        assert row.want <= max(row.have, specification.max_tasks_per_transformation)
        if specification.mode == "full" and row.key in raw:
            assert row.want <= specification.max_tasks_per_transformation


@given(situations(modes=["partial", "disabled"]))
def test_partial_and_disabled_never_cancel(situation):
    assert plan_for(situation).cancelled == 0


@given(situations(modes=["disabled"]))
def test_disabled_changes_nothing(situation):
    plan = plan_for(situation)
    assert plan.changes == ()
    assert not plan.finished
    assert {row.reason for row in plan} == {Reason.DISABLED}


@given(situations())
def test_blocked_never_grows_and_weightless_is_left_alone(situation):
    observation, raw, _ = situation
    plan = plan_for(situation)
    for state in observation.transformations:
        row = plan[state.key]
        if is_blocked(state):
            assert not row.create
            assert not row.action
            assert row.want <= row.have
        if state.key not in raw and not plan.finished:
            assert not row.changes


@given(situations())
def test_nothing_is_done_twice_or_to_the_wrong_task(situation):
    observation, *_ = situation
    plan = plan_for(situation)
    assert [row.key for row in plan] == [state.key for state in observation.transformations]
    for state in observation.transformations:
        row = plan[state.key]
        own = {task.key for task in state.tasks}
        handled = [*row.action, *row.cancel]
        assert len(handled) == len(set(handled))
        assert set(handled) <= own
        parents = [creation.extends for creation in row.create if creation.extends is not None]
        assert len(parents) == len(set(parents))
        assert not (row.cancel and (row.create or row.action))


def is_stuck(task, tasks):
    """Whether no compute service could work on a Task, though it waits."""
    parent = tasks.get(task.extends)
    return task.status == "waiting" and (task.claim_weight == 0 or (parent is not None and not may_be_parent(parent)))


@given(situations())
def test_tasks_are_taken_in_the_order_of_the_design(situation):
    observation, *_ = situation
    plan = plan_for(situation)
    for state in observation.transformations:
        row = plan[state.key]
        tasks = {task.key: task for task in state.tasks}
        idle = [
            task
            for task in state.tasks
            if task.status in PENDING
            and not task.actioned
            and (task.extends is None or (task.extends in tasks and may_be_parent(tasks[task.extends])))
        ]
        idle.sort(key=lambda task: (task.status != "running", task.created, task.key))
        assert list(row.action) == [task.key for task in idle[: len(row.action)]]
        if row.create:
            assert len(row.action) == len(idle)
        if plan.finished:
            assert set(row.cancel) in (set(), {task.key for task in state.tasks if task.actioned})
            continue
        # From the newest to the oldest, what nobody can claim first and what runs last.
        excess = sorted(in_flight(state), key=lambda task: (task.created, task.key), reverse=True)
        excess.sort(key=lambda task: (task.status == "running", not is_stuck(task, tasks)))
        assert list(row.cancel) == [task.key for task in excess[: len(row.cancel)]]


@settings(max_examples=200)
@given(situations(modes=["full", "partial"]))
def test_extensions_continue_good_parents_by_the_rule(situation):
    observation, _, specification = situation
    p = Fraction(str(specification.extends_preference))
    plan = plan_for(situation)
    for state in observation.transformations:
        taken = {task.extends for task in state.tasks}
        parents = [task for task in state.tasks if may_be_parent(task) and task.key not in taken]
        parents = [task.key for task in sorted(parents, key=lambda task: (task.created, task.key))]
        later = [task for task in state.tasks if state.first_success and task.created >= state.first_success]
        n, e = len(later), len([task for task in later if task.extends])
        for creation in plan[state.key].create:
            expected = parents.pop(0) if parents and e + 1 <= p * (n + 1) else None
            assert creation.extends == expected
            n, e = n + 1, e + (expected is not None)


@settings(max_examples=200)
@given(situations(modes=["full"]), st.data())
def test_raising_the_network_limit_takes_a_task_from_nobody(situation, data):
    observation, raw, specification = situation
    specification = replace(specification, mode=data.draw(st.sampled_from(["full", "partial"])))
    before = None
    for limit in [*range(1, 14), None]:
        plan = plan_for((observation, raw, replace(specification, max_tasks_per_network=limit)))
        wants = {row.key: row.want for row in plan}
        if before is not None:
            assert all(before[key] <= wants[key] for key in wants)
        before = wants


@settings(max_examples=200)
@given(situations(modes=["full"]))
def test_a_larger_weight_never_has_a_smaller_target(situation):
    observation, raw, _ = situation
    plan = plan_for(situation)
    unblocked = [s.key for s in observation.transformations if raw.get(s.key) is not None and not is_blocked(s)]
    for a, b in itertools.permutations(unblocked, 2):
        if raw[a] < raw[b]:
            assert plan[a].want <= plan[b].want


@settings(max_examples=300)
@given(situations())
def test_every_row_has_a_reason_that_agrees_with_it(situation):
    observation, raw, specification = situation
    plan = plan_for(situation)
    counts = asked_counts(observation, raw, specification)
    for state in observation.transformations:
        row, weight, count = plan[state.key], raw.get(state.key), counts[state.key]
        assert row.reason.sentence
        if specification.mode == "disabled":
            expected = Reason.DISABLED
        elif all(weight is None for weight in raw.values()):
            expected = Reason.FINISHED
        elif state.key not in raw:
            expected = Reason.NO_WEIGHT
        elif is_blocked(state):
            expected = Reason.BLOCKED
        elif row.want > count:
            assert specification.mode == "partial"
            assert row.want == row.have
            expected = Reason.KEPT
        elif row.want < count:
            assert specification.max_tasks_per_network is not None
            expected = Reason.NETWORK_LIMIT
        elif weight is None:
            expected = Reason.SATISFIED
        elif weight == 0:
            expected = Reason.ZERO_WEIGHT
        else:
            assert count or specification.task_scaling == "proportional"
            expected = Reason.WEIGHT if count else Reason.SMALL_WEIGHT
        assert row.reason is expected


@given(situations(modes=["full", "partial"]))
def test_a_row_says_how_many_its_weight_asks_for(situation):
    observation, raw, specification = situation
    plan = plan_for(situation)
    if not plan.finished:
        assert {row.key: row.asks for row in plan} == asked_counts(observation, raw, specification)


@given(situations(), st.randoms(use_true_random=False))
def test_the_order_of_transformations_tasks_and_weights_does_not_matter(situation, random):
    observation, raw, specification = situation

    def shuffled(items):
        items = list(items)
        random.shuffle(items)
        return tuple(items)

    states = shuffled(replace(state, tasks=shuffled(state.tasks)) for state in observation.transformations)
    other = plan_for((observe(*states), dict(shuffled(raw.items())), specification))
    plan = plan_for(situation)
    assert contents(plan) == contents(other)
    assert sorted(plan.stalled) == sorted(other.stalled)


@given(situations(modes=["full", "partial"]))
def test_what_the_plan_calls_unclaimable_holds_a_place_and_is_stuck(situation):
    observation, *_ = situation
    plan = plan_for(situation)
    for before, state in zip(observation.transformations, applied(observation, plan).transformations, strict=True):
        if plan.finished:
            continue
        tasks = {task.key: task for task in before.tasks}
        stuck = [task.key for task in in_flight(state) if is_stuck(task, tasks)]
        assert sorted(plan[state.key].unclaimable) == sorted(stuck)


# max_tasks_per_network, rule by rule


def test_reserved_first_then_the_rest_by_weight():
    observation = observe(
        make_state("blocked", *tasks_of("b", 1), make_task("b9", "error")),
        make_state("weightless", *tasks_of("w", 2)),
        make_state("x"),
        make_state("y"),
    )
    weights = normalize_weights({"blocked": 4, "x": 3, "y": 1})
    for mode in ("full", "partial"):
        limits = {"mode": mode, "max_tasks_per_network": 5, "max_tasks_per_transformation": 4}
        plan = plan_task_changes(observation, weights, Specification(**limits))
        # 5 - 1 - 2 = 2 remain; exponential scaling asks for one each.
        assert {row.key: row.want for row in plan} == {"blocked": 1, "weightless": 2, "x": 1, "y": 1}
        plan = plan_task_changes(observation, weights, Specification(task_scaling="proportional", **limits))
        # 3/1 and 3/3 against 1/1: the tie goes to the larger weight.
        assert {row.key: row.want for row in plan} == {"blocked": 1, "weightless": 2, "x": 2, "y": 0}


def test_only_what_stays_actioned_on_a_blocked_transformation_is_reserved():
    observation = observe(make_state("blocked", *tasks_of("b", 3), make_task("b9", "error")), make_state("x"))
    plan = plan_task_changes(
        observation,
        normalize_weights({"blocked": None, "x": 1}),
        Specification(mode="full", max_tasks_per_network=3),
    )
    assert {row.key: (row.have, row.want) for row in plan} == {"blocked": (3, 0), "x": (0, 3)}


def test_reserved_beyond_the_limit_leaves_nothing():
    observation = observe(make_state("weightless", *tasks_of("w", 4)), make_state("x", *tasks_of("x", 1)))
    full = plan_task_changes(observation, {"x": 1.0}, Specification(mode="full", max_tasks_per_network=2))
    assert {row.key: row.want for row in full} == {"weightless": 4, "x": 0}
    assert full["x"].reason is Reason.NETWORK_LIMIT
    partial = plan_task_changes(observation, {"x": 1.0}, Specification(mode="partial", max_tasks_per_network=2))
    assert {row.key: row.want for row in partial} == {"weightless": 4, "x": 1}


def test_in_partial_mode_what_is_actioned_is_a_floor_that_raises_its_ceiling():
    observation = observe(make_state("x", *tasks_of("x", 5)), make_state("y"))
    weights = {"x": 0.5, "y": 0.5}
    limits = {"max_tasks_per_transformation": 3, "task_scaling": "proportional"}
    wants = {}
    for limit in (4, 6, 8, 9, None):
        plan = plan_task_changes(observation, weights, Specification(max_tasks_per_network=limit, **limits))
        wants[limit] = (plan["x"].want, plan["y"].want)
        assert plan["x"].reason is Reason.KEPT
    assert wants == {4: (5, 0), 6: (5, 1), 8: (5, 3), 9: (5, 3), None: (5, 3)}


def test_the_network_limit_is_given_out_by_weight_with_counts_as_ceilings():
    observation = observe(*(make_state(key) for key in "abc"))
    weights = normalize_weights({"a": 90, "b": 6, "c": 4})
    limits = {"max_tasks_per_transformation": 3, "task_scaling": "linear", "max_tasks_per_network": 4}
    plan = plan_task_changes(observation, weights, Specification(**limits))
    assert {row.key: row.want for row in plan} == {"a": 3, "b": 1, "c": 0}
    assert plan["a"].reason is Reason.WEIGHT
    assert plan["c"].reason is Reason.NETWORK_LIMIT


def test_ties_for_the_network_limit_go_to_the_smaller_key():
    observation = observe(*(make_state(key) for key in "cab"))
    weights = {"c": 1 / 3, "a": math.nextafter(1 / 3, 0), "b": 1 / 3}
    plan = plan_task_changes(observation, weights, Specification(max_tasks_per_network=2))
    assert {row.key: row.want for row in plan} == {"a": 1, "b": 1, "c": 0}


def test_whoever_actioned_them_tasks_count():
    observation = observe(make_state("x", make_task("x0", "running"), make_task("x1")), make_state("y"))
    plan = plan_task_changes(observation, {"x": 0.5, "y": 0.5}, Specification(max_tasks_per_network=2))
    assert {row.key: row.want for row in plan} == {"x": 2, "y": 0}


def test_a_weight_that_proportional_rounds_to_nothing():
    observation = observe(make_state("x"), make_state("y"))
    plan = plan_task_changes(observation, {"x": 0.99, "y": 0.01}, Specification(task_scaling="proportional"))
    assert {row.key: row.want for row in plan} == {"x": 3, "y": 0}
    assert plan["y"].reason is Reason.SMALL_WEIGHT


def test_proportional_looks_at_the_largest_weight_that_is_not_blocked():
    observation = observe(make_state("blocked", make_task("b", "error")), make_state("x"), make_state("y"))
    weights = normalize_weights({"blocked": 90, "x": 8, "y": 4})
    plan = plan_task_changes(
        observation, weights, Specification(task_scaling="proportional", max_tasks_per_transformation=4)
    )
    assert {row.key: row.want for row in plan} == {"blocked": 0, "x": 4, "y": 2}


# What counts, and what is done first


@pytest.mark.parametrize("status", ["complete", "invalid", "deleted"])
def test_finished_tasks_left_on_the_taskhub_fill_nothing(status):
    row = plan_one(*tasks_of("a", 3, status, results=0, successful=0), mode="full", max_tasks_per_network=3)
    assert (row.have, row.want, len(row.create)) == (0, 3, 3)
    assert not row.cancel


def test_an_errored_task_left_on_the_taskhub_fills_nothing_of_the_network_limit():
    observation = observe(make_state("blocked", *tasks_of("b", 3, "error")), make_state("x"))
    plan = plan_task_changes(observation, {"blocked": 0.0, "x": 1.0}, Specification(max_tasks_per_network=3))
    assert {row.key: (row.have, row.want) for row in plan} == {"blocked": (0, 0), "x": (0, 3)}


def test_existing_tasks_are_actioned_again_running_ones_first_and_then_new_ones_made():
    tasks = (
        make_task("young-waiting", on=False, minute=3),
        make_task("old-waiting", on=False, minute=1),
        make_task("young-running", "running", on=False, minute=4),
        make_task("old-running", "running", on=False, minute=2),
    )
    assert plan_one(*tasks, max_tasks_per_transformation=1).action == ("old-running",)
    assert plan_one(*tasks, max_tasks_per_transformation=3).action == ("old-running", "young-running", "old-waiting")
    row = plan_one(*tasks, max_tasks_per_transformation=6)
    assert row.action == ("old-running", "young-running", "old-waiting", "young-waiting")
    assert row.create == (TaskCreation(), TaskCreation())


@pytest.mark.parametrize("status", ["complete", "error", "invalid", "deleted"])
def test_tasks_that_are_over_are_never_actioned_again(status):
    assert plan_one(make_task("a0", status, on=False)).action == ()


@pytest.mark.parametrize(
    ("parent", "again"),
    [
        (make_task("parent", "complete"), True),
        (make_task("parent", "complete", on=False), True),
        (make_task("parent", "complete", results=2, successful=2), False),
        (make_task("parent", "complete", results=2, successful=1), False),
        (make_task("parent", "complete", results=1, successful=0), False),
        (make_task("parent", "complete", results=0, successful=0), False),
        (make_task("parent", "running"), False),
        (make_task("parent", "waiting", on=False), False),
        (make_task("parent", "invalid", results=1, successful=1), False),
        (make_task("somebody else", "complete"), False),
    ],
)
def test_an_extension_is_actioned_again_only_if_its_parent_can_be_extended(parent, again):
    row = plan_one(parent, make_task("child", on=False, extends="parent"), max_tasks_per_transformation=5)
    assert ("child" in row.action) is again
    assert len(row.create) + len(row.action) + row.have == 5


def test_waiting_tasks_are_cancelled_first_and_the_newest_of_them_first():
    tasks = (
        make_task("old-running", "running", minute=2),
        make_task("old-waiting", minute=1),
        make_task("young-running", "running", minute=8),
        make_task("young-waiting", minute=5),
    )
    order = ("young-waiting", "old-waiting", "young-running", "old-running")
    assert plan_one(*tasks, weight=0.0, mode="full").cancel == order
    for keep in (1, 2, 3):
        assert plan_one(*tasks, mode="full", max_tasks_per_transformation=keep).cancel == order[: 4 - keep]


def test_what_nobody_can_claim_is_cancelled_before_what_waits():
    twice = make_task("twice", "complete", on=False, results=2, successful=2)
    tasks = (
        twice,
        make_task("stuck-weight", minute=1, claim_weight=0.0),
        make_task("stuck-parent", minute=2, extends="twice"),
        make_task("young", minute=9),
    )
    row = plan_one(*tasks, mode="full", max_tasks_per_transformation=1)
    assert row.cancel == ("stuck-parent", "stuck-weight")
    assert row.unclaimable == ()
    kept = plan_one(*tasks, mode="partial", max_tasks_per_transformation=1)
    assert set(kept.unclaimable) == {"stuck-parent", "stuck-weight"}


def test_of_tasks_as_old_as_each_other_the_smaller_key_is_the_older():
    tasks = [make_task(key, on=False) for key in "bca"]
    assert plan_one(*tasks, max_tasks_per_transformation=2).action == ("a", "b")
    tasks = [make_task(key) for key in "bca"]
    assert plan_one(*tasks, mode="full", max_tasks_per_transformation=1).cancel == ("c", "b")


def test_cancelling_leaves_what_is_not_actioned_alone():
    row = plan_one(make_task("a0", on=False), make_task("a1", "running", on=False), weight=0.0, mode="full")
    assert not row.changes
    assert row.reason is Reason.ZERO_WEIGHT


def test_a_weight_of_none_is_a_target_of_0_and_no_weight_is_none_at_all():
    observation = observe(
        make_state("satisfied", *tasks_of("s", 2)), make_state("weightless", *tasks_of("w", 2)), make_state("x")
    )
    weights = {"satisfied": None, "x": 1.0}
    full = plan_task_changes(observation, weights, Specification(mode="full"))
    assert full["satisfied"].cancel == ("s1", "s0")
    assert full["satisfied"].reason is Reason.SATISFIED
    assert not full["weightless"].changes
    assert full["weightless"].reason is Reason.NO_WEIGHT
    assert full["weightless"].weight is None
    assert full["weightless"].want == 2
    partial = plan_task_changes(observation, weights, Specification(mode="partial"))
    assert not partial["satisfied"].changes
    assert partial["satisfied"].reason is Reason.KEPT


@pytest.mark.parametrize("on", [True, False])
def test_an_error_blocks_whether_it_is_actioned_or_not(on):
    observation = observe(
        make_state("blocked", make_task("b0", "error", on=on), make_task("b1", on=False), make_task("b2", "running")),
        make_state("x"),
    )
    plan = plan_task_changes(observation, {"blocked": 0.5, "x": 0.5}, Specification(mode="full"))
    assert not plan["blocked"].changes
    assert plan["blocked"].reason is Reason.BLOCKED
    assert plan["blocked"].want == 1
    assert len(plan["x"].create) == 2


def test_what_its_own_weight_asks_to_cancel_is_cancelled_though_it_is_blocked():
    observation = observe(make_state("blocked", *tasks_of("b", 3), make_task("b9", "error")), make_state("x"))
    weights = {"blocked": 0.5, "x": 0.5}
    # A weight of one half asks for two of three.
    assert plan_task_changes(observation, weights, Specification(mode="full"))["blocked"].cancel == ("b2",)
    limited = Specification(mode="full", max_tasks_per_network=1)
    assert plan_task_changes(observation, weights, limited)["blocked"].cancel == ("b2",)
    assert not plan_task_changes(observation, weights, Specification(mode="partial"))["blocked"].changes


def test_a_task_that_nobody_can_claim_holds_its_place_and_is_named():
    tasks = (
        make_task("parent", "running"),
        make_task("child", extends="parent"),
        make_task("weight-0", claim_weight=0.0),
    )
    row = plan_one(*tasks, max_tasks_per_transformation=3)
    assert not row.changes
    assert set(row.unclaimable) == {"child", "weight-0"}
    cancelled = plan_one(*tasks, mode="full", weight=0.0)
    assert cancelled.unclaimable == ()


def test_a_task_that_was_claimed_before_its_weight_fell_to_0_is_not_stuck():
    assert plan_one(make_task("a0", "running", claim_weight=0.0)).unclaimable == ()
    assert plan_one(make_task("a0", on=False, claim_weight=0.0), weight=0.0).unclaimable == ()


# extends_preference


def good_parents(number):
    return tuple(make_task(f"parent{n:03}", "complete", on=False, minute=n) for n in range(number))


@pytest.mark.parametrize(
    ("preference", "extensions"),
    [(0, 0), (0.1, 10), (0.29, 29), (1 / 3, 33), (0.5, 50), (0.7, 70), (0.99, 99), (1, 100)],
)
@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_the_fraction_of_extensions_over_many_passes(preference, extensions, at_once):
    # The parents are older than the first success, so that only what is created here counts.
    observation = observe(make_state("a", *good_parents(120), first_success=1000))
    specification = Specification(max_tasks_per_transformation=at_once, extends_preference=preference)
    created = []
    for minute in itertools.count(2000):
        plan = plan_task_changes(observation, {"a": 1.0}, specification)
        created += plan["a"].create
        if len(created) >= 100:
            break
        (state,) = applied(observation, plan, minute=minute).transformations
        done = tuple(replace(task, status=TaskStatus.COMPLETE, actioned=False) for task in state.tasks)
        observation = observe(replace(state, tasks=done))
    parents = [creation.extends for creation in created[:100] if creation.extends is not None]
    assert len(parents) == pytest.approx(extensions, abs=1)
    assert parents == [task.key for task in good_parents(len(parents))]
    # Exactly the whole part of p times n at every moment, with 0.29 and 1/3 taken as what was meant.
    exact = Fraction(preference).limit_denominator(1000)
    for n in range(1, 101):
        assert sum(creation.extends is not None for creation in created[:n]) == math.floor(exact * n)


def test_the_oldest_parent_comes_first_and_then_the_key():
    parents = [make_task(key, "complete", minute=minute) for key, minute in [("z", 1), ("b", 2), ("a", 2), ("c", 0)]]
    row = plan_one(*parents, extends_preference=1, max_tasks_per_transformation=5)
    assert [creation.extends for creation in row.create] == ["c", "z", "a", "b", None]


@pytest.mark.parametrize(
    "parent",
    [
        make_task("parent", "complete", results=2, successful=2),
        make_task("parent", "complete", results=2, successful=1),
        make_task("parent", "complete", results=1, successful=0),
        make_task("parent", "complete", results=0, successful=0),
        make_task("parent", "running", results=1, successful=1),
        make_task("parent", "waiting", results=1, successful=1),
        make_task("parent", "invalid", results=1, successful=1),
        make_task("parent", "deleted", results=1, successful=1),
    ],
)
def test_what_cannot_be_extended_is_not(parent):
    row = plan_one(parent, extends_preference=1, first_success=0)
    assert {creation.extends for creation in row.create} == {None}


@pytest.mark.parametrize("status", list(TaskStatus))
def test_what_is_extended_already_is_not_extended_again(status):
    tasks = (make_task("parent", "complete"), make_task("child", status, on=False, extends="parent", results=0))
    row = plan_one(*tasks, extends_preference=1, max_tasks_per_transformation=5)
    assert "parent" not in {creation.extends for creation in row.create}


def test_only_tasks_created_since_the_first_success_are_counted():
    before = tuple(make_task(f"before{n}", "invalid", minute=n) for n in range(10))
    parents = (make_task("parent0", "complete", minute=0), make_task("parent1", "complete", minute=1))
    specification = {"extends_preference": 0.5, "max_tasks_per_transformation": 2, "first_success": 20}
    # Nothing counts yet: the first would be more than half of one; the second is half of two.
    row = plan_one(*before, *parents, **specification)
    assert [creation.extends for creation in row.create] == [None, "parent0"]
    # One created at the very instant of the success counts.
    row = plan_one(*before, *parents, make_task("since", "invalid", minute=20), **specification)
    assert [creation.extends for creation in row.create] == ["parent0", None]
    # An extension counts as both, created and extending.
    since = make_task("since", "invalid", minute=21, extends="before1")
    row = plan_one(*before, *parents, since, **specification)
    assert [creation.extends for creation in row.create] == [None, None]


def test_without_parents_new_tasks_are_made_all_the_same():
    assert plan_one(extends_preference=1).create == (TaskCreation(),) * 3


# Dormancy, stalling, and bad input


def everything():
    return observe(
        make_state("blocked", make_task("b0", "error"), make_task("b1")),
        make_state("weightless", *tasks_of("w", 2, "running")),
        make_state("x", make_task("x0", "complete"), make_task("x1", on=False)),
    )


def test_with_all_weights_none_full_mode_cancels_everything_actioned():
    plan = plan_task_changes(everything(), {"blocked": None, "x": None}, Specification(mode="full"))
    assert plan.finished
    assert plan.stalled == ()
    assert {task for row in plan for task in row.cancel} == {"b0", "b1", "w0", "w1", "x0"}
    assert plan.want == plan.created == plan.actioned == 0
    assert {row.reason for row in plan} == {Reason.FINISHED}


def test_with_all_weights_none_partial_mode_leaves_everything():
    plan = plan_task_changes(everything(), {"blocked": None, "x": None}, Specification(mode="partial"))
    assert plan.finished
    assert plan.changes == ()
    assert plan.want == plan.have == 3


def test_a_finished_plan_still_names_what_holds_a_place_and_cannot_be_claimed():
    observation = observe(make_state("a", make_task("stuck", claim_weight=0.0)))
    plan = plan_task_changes(observation, {"a": None}, Specification(mode="partial"))
    assert plan.unclaimable == ("stuck",)
    assert plan_task_changes(observation, {"a": None}, Specification(mode="full")).unclaimable == ()


def test_a_single_number_among_nones_is_not_finished():
    plan = plan_task_changes(observe(make_state("a"), make_state("b")), {"a": None, "b": 0.0}, Specification())
    assert not plan.finished
    assert plan.stalled


def test_disabled_is_not_finished_either():
    plan = plan_task_changes(everything(), {"x": None}, Specification(mode="disabled"))
    assert not plan.finished
    assert plan.changes == ()


@pytest.mark.parametrize("mode", ["full", "partial"])
def test_all_zero_is_stalled(mode):
    plan = plan_task_changes(
        observe(*(make_state(key) for key in "abc")), {"a": 0.0, "b": 0.0, "c": None}, Specification(mode=mode)
    )
    assert plan.stalled == (f"2 × {Reason.ZERO_WEIGHT.sentence}",)


def test_all_blocked_is_stalled_and_the_most_frequent_reason_comes_first():
    blocked = [make_state(key, make_task(f"{key}0", "error")) for key in "abc"]
    plan = plan_task_changes(
        observe(make_state("z"), *blocked), normalize_weights({"a": 1, "b": 1, "c": 1, "z": 0}), Specification()
    )
    assert plan.stalled == (f"3 × {Reason.BLOCKED.sentence}", f"1 × {Reason.ZERO_WEIGHT.sentence}")


def test_a_network_whose_tasks_all_cannot_be_claimed_is_stalled():
    observation = observe(make_state("a", *tasks_of("a", 3, claim_weight=0.0)))
    plan = plan_task_changes(observation, {"a": 1.0}, Specification())
    assert any("cannot be claimed" in reason for reason in plan.stalled)
    assert plan.unclaimable == ("a0", "a1", "a2")


def test_whatever_can_run_means_that_it_is_not_stalled():
    observation = observe(make_state("a", make_task("a0", "error"), make_task("a1", "running")), make_state("b"))
    assert plan_task_changes(observation, {"a": 1.0, "b": 0.0}, Specification()).stalled == ()
    assert plan_task_changes(observation, {"a": 0.5, "b": 0.5}, Specification()).stalled == ()


@pytest.mark.parametrize("mode", list(StrategyMode))
@pytest.mark.parametrize(
    ("weights", "error", "named"),
    [
        ({}, InvalidWeightsError, "no weights"),
        ({"a": 1.0, "stranger": 0.0}, InvalidWeightsError, "stranger"),
        ({"stranger": None}, InvalidWeightsError, "stranger"),
        ({"a": 2.0}, RejectedInputError, "'a'"),
        ({"a": -0.5}, RejectedInputError, "'a'"),
        ({"a": math.nan}, RejectedInputError, "'a'"),
    ],
)
def test_bad_weights_are_rejected_in_every_mode(mode, weights, error, named):
    with pytest.raises(error, match=named):
        plan_task_changes(observe(make_state("a")), weights, Specification(mode=mode))


def test_rows_carry_names_weights_and_numbers():
    observation = observe(make_state("a"), TransformationState(key="b"))
    plan = plan_task_changes(observation, {"a": 0.75, "b": 0.25}, Specification())
    assert plan.network == "network"
    assert [(row.key, row.name, row.weight) for row in plan] == [("a", "a by name", 0.75), ("b", "b", 0.25)]
    assert plan["a by name"] is plan["a"]
    assert (plan.have, plan.want, plan.created, plan.actioned, plan.cancelled) == (0, 3, 3, 0, 0)
    with pytest.raises(KeyError, match="no such Transformation"):
        plan["c"]


# Specification


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "half"),
        ("mode", None),
        ("task_scaling", "cubic"),
        *(("max_tasks_per_transformation", value) for value in (0, -1, 1.5, True, "3", None)),
        *(("max_tasks_per_network", value) for value in (0, -1, 1.5, True, "3")),
        *(("extends_preference", value) for value in (-0.1, 1.1, math.nan, True, "0.5", None)),
        *(("sleep_interval", value) for value in (-1, math.nan, math.inf, 1e30, True, "1h", None, timedelta(-1))),
    ],
)
def test_a_bad_specification_is_rejected_by_field(field, value):
    with pytest.raises(RejectedInputError, match=field) as caught:
        Specification(**{field: value})
    assert caught.value.field == field
    assert caught.value.value is value or field == "sleep_interval"


def test_a_specification_takes_text_and_seconds():
    specification = Specification(mode="full", task_scaling="linear", sleep_interval=90, extends_preference=1)
    assert specification.mode is StrategyMode.FULL
    assert specification.sleep_interval == timedelta(seconds=90)
    assert Specification() == Specification(
        mode="partial", max_tasks_per_transformation=3, task_scaling="exponential", sleep_interval=3600
    )
