"""From weights to counts, against the design's formula written out once more."""

import itertools
import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alchemiscale_strategist import (
    InvalidWeightsError,
    RejectedInputError,
    Specification,
    StrategyMode,
    normalize_weights,
    weights_to_counts,
)

JUST_BELOW_1 = math.nextafter(1, 0)
WEIGHTS = [0, 1e-9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, JUST_BELOW_1, 1]
MAXIMA = [1, 2, 3, 8, 10]
SCALINGS = ["linear", "exponential", "proportional"]

raw_weights = st.one_of(
    st.none(),
    st.just(0.0),
    st.integers(0, 20).map(float),
    st.floats(0, allow_nan=False, allow_infinity=False),
    st.sampled_from([5e-324, 1e-310, 1e308, 1.7976931348623157e308]),
)
proposals = st.dictionaries(st.sampled_from("abcdefgh"), raw_weights, min_size=1)


def by_the_design(weight, maximum, scaling):
    if weight == 0:
        return 0
    if weight == 1:
        return maximum
    count = int(1 + weight * maximum) if scaling == "linear" else int((1 + maximum) ** weight)
    return min(count, maximum)


def count_of(weight, maximum, scaling):
    return weights_to_counts({"a": weight}, max_tasks_per_transformation=maximum, task_scaling=scaling)["a"]


# normalize_weights


def test_weights_are_divided_by_the_sum_of_those_that_are_not_none():
    assert normalize_weights({"a": 3, "b": None, "c": 1}) == {"a": 0.75, "b": None, "c": 0.25}


@pytest.mark.parametrize("weights", [{"a": 0}, {"a": 0, "b": None}, {"a": 0.0, "b": -0.0, "c": None}])
def test_where_the_sum_is_0_every_number_becomes_0(weights):
    assert normalize_weights(weights) == {key: None if weight is None else 0 for key, weight in weights.items()}


def test_all_none_stays_none():
    assert normalize_weights({"a": None, "b": None}) == {"a": None, "b": None}


def test_the_order_and_the_input_are_left_as_they_are():
    given_weights = {"b": 1, "a": None, "c": 3}
    assert list(normalize_weights(given_weights)) == ["b", "a", "c"]
    assert given_weights == {"b": 1, "a": None, "c": 3}


@pytest.mark.parametrize(
    "weight",
    [
        math.nan,
        math.inf,
        -math.inf,
        -1,
        -5e-324,
        True,
        False,
        "1",
        b"1",
        "",
        1j,
        [1.0],
        ...,
        10**400,
        np.float64("nan"),
        np.bool_(True),
        bytearray(b"1"),
    ],
    ids=repr,
)
def test_a_weight_that_breaks_the_contract_is_named_with_its_key(weight):
    with pytest.raises(InvalidWeightsError, match="the-bad-one"):
        normalize_weights({"good": 1.0, "the-bad-one": weight, "satisfied": None})


def test_a_key_that_is_no_transformation_is_named():
    for known in (["a", "b"], ("a", "b"), {"a", "b"}, frozenset("ab"), {"a": 1, "b": 2}.keys()):
        assert normalize_weights({"a": 1}, transformations=known) == {"a": 1}
        with pytest.raises(InvalidWeightsError, match="stranger"):
            normalize_weights({"a": 1, "stranger": None}, transformations=known)


@pytest.mark.parametrize("known", [None, ["a"]])
def test_no_weights_at_all_are_rejected(known):
    with pytest.raises(InvalidWeightsError, match="no weights at all"):
        normalize_weights({}, transformations=known)


def test_bad_weights_are_the_fault_of_the_strategy_and_say_what_to_do():
    with pytest.raises(InvalidWeightsError) as caught:
        normalize_weights({"a": -1})
    assert caught.value.remedy
    assert caught.value.error_type == "InvalidWeightsError"


def test_huge_weights_do_not_overflow():
    normalized = normalize_weights({"a": 1e308, "b": 1e308, "c": 1e308, "d": 0, "e": None})
    assert normalized == {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3, "d": 0, "e": None}
    many = normalize_weights(dict.fromkeys(range(1000), 1.7976931348623157e308))
    assert set(many.values()) == {1e-3}


def test_denormal_weights_keep_their_proportions():
    assert normalize_weights({"a": 5e-324, "b": 1.5e-323}) == {"a": 0.25, "b": 0.75}
    assert normalize_weights({"a": 5e-324, "b": 1e308}) == {"a": 0, "b": 1}


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint8, np.float16])
def test_the_scalars_of_numpy_are_welcome(kind):
    normalized = normalize_weights({"a": kind(3), "b": kind(1), "c": None})
    assert normalized == {"a": 0.75, "b": 0.25, "c": None}
    assert {type(weight) for weight in normalized.values()} == {float, type(None)}


@given(proposals)
def test_normalized_weights_are_fractions_of_1(weights):
    normalized = normalize_weights(weights)
    assert [weight is None for weight in normalized.values()] == [weight is None for weight in weights.values()]
    numbers = [weight for weight in normalized.values() if weight is not None]
    assert all(0 <= weight <= 1 for weight in numbers)
    exact = {key: Fraction(weight) for key, weight in weights.items() if weight is not None}
    if total := sum(exact.values()):
        assert math.fsum(numbers) == pytest.approx(1)
        for key, weight in exact.items():
            assert normalized[key] == pytest.approx(float(weight / total), rel=1e-12, abs=1e-300)
    else:
        assert not any(numbers)


@given(proposals, st.randoms(use_true_random=False))
def test_the_order_of_the_proposal_does_not_matter(weights, random):
    items = list(weights.items())
    random.shuffle(items)
    assert normalize_weights(dict(items)) == normalize_weights(weights)
    normalized = normalize_weights(weights)
    items = [(key, normalized[key]) for key, _ in items]
    for scaling in SCALINGS:
        for limit in (None, 3):
            limits = {"max_tasks_per_transformation": 4, "max_tasks_per_network": limit, "task_scaling": scaling}
            assert weights_to_counts(dict(items), **limits) == weights_to_counts(normalized, **limits)


def test_recorded_proposals_are_normalized_as_stratocaster_resolves_them(shared_data):
    recorded = json.loads((shared_data / "strategies" / "stratocaster_proposals.json").read_text())["cases"]
    assert len(recorded) == 150
    differing = [n for n, case in enumerate(recorded) if normalize_weights(case["weights"]) != case["resolved"]]
    assert differing == []


# weights_to_counts


@pytest.mark.parametrize("scaling", ["linear", "exponential"])
@pytest.mark.parametrize("maximum", MAXIMA)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_formula_of_the_design(weight, maximum, scaling):
    assert count_of(weight, maximum, scaling) == by_the_design(weight, maximum, scaling)


@pytest.mark.parametrize(
    ("scaling", "maximum", "counts"),
    [
        ("linear", 1, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", 3, [0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]),
        ("linear", 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]),
        ("exponential", 1, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("exponential", 3, [0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3]),
        ("exponential", 8, [0, 1, 1, 1, 1, 2, 3, 3, 4, 5, 7, 8, 8]),
    ],
)
def test_some_counts_worked_out_by_hand(scaling, maximum, counts):
    assert [count_of(weight, maximum, scaling) for weight in WEIGHTS] == counts


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("maximum", MAXIMA)
def test_the_ends_of_the_scale(maximum, scaling):
    weights = {"one": 1.0, "zero": 0.0, "satisfied": None}
    counts = weights_to_counts(weights, max_tasks_per_transformation=maximum, task_scaling=scaling)
    assert counts == {"one": maximum, "zero": 0, "satisfied": 0}


def test_proportional_gives_the_largest_the_maximum_and_the_others_their_share():
    weights = {"largest": 0.4, "half": 0.2, "quarter": 0.1, "small": 0.04, "zero": 0.0, "satisfied": None}
    counts = weights_to_counts(weights, max_tasks_per_transformation=10, task_scaling="proportional")
    assert counts == {"largest": 10, "half": 5, "quarter": 3, "small": 1, "zero": 0, "satisfied": 0}


@pytest.mark.parametrize(("share", "count"), [(0.049, 0), (0.05, 1), (0.149, 1), (0.15, 2), (0.949, 9), (0.95, 10)])
def test_proportional_rounds_to_the_nearest_and_halves_up(share, count):
    counts = weights_to_counts(
        {"a": 0.5, "b": 0.5 * share}, max_tasks_per_transformation=10, task_scaling="proportional"
    )
    assert counts == {"a": 10, "b": count}


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 12))
def test_proportional_is_the_rounded_fraction_of_the_largest(raw, maximum):
    counts = weights_to_counts(
        normalize_weights(dict(enumerate(raw))), max_tasks_per_transformation=maximum, task_scaling="proportional"
    )
    largest = max(raw)
    expected = [math.floor(Fraction(w * maximum, largest) + Fraction(1, 2)) if largest else 0 for w in raw]
    assert list(counts.values()) == expected


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("weights", [{"a": 0.0, "b": None}, {"a": None}, {}])
def test_nothing_is_asked_for_without_a_positive_weight(weights, scaling):
    assert weights_to_counts(weights, max_tasks_per_transformation=3, task_scaling=scaling) == dict.fromkeys(weights, 0)


@given(
    st.one_of(st.floats(1e-300, 1), st.sampled_from([0.1, 0.25, 0.3, 0.5, 1 / 3, 0.7, 1.0])),
    st.floats(0, 0.9e-9),
    st.integers(1, 12),
    st.sampled_from(SCALINGS),
)
@example(0.5, 2.3e-16, 8, "exponential")
@example(1.0, 5e-10, 3, "exponential")
def test_weights_that_differ_by_rounding_get_the_same_count(weight, difference, maximum, scaling):
    weights = {"a": weight * (1 - difference), "b": weight}
    counts = weights_to_counts(weights, max_tasks_per_transformation=maximum, task_scaling=scaling)
    assert counts["a"] == counts["b"]


def test_weights_that_differ_by_more_are_different():
    weights = {"a": 0.5 * (1 - 2e-9), "b": 0.5}
    assert weights_to_counts(weights, max_tasks_per_transformation=3) == {"a": 1, "b": 2}


def test_more_than_two_weights_can_be_equal():
    weights = {"a": 0.5, "b": 0.5 * (1 - 4e-10), "c": 0.5 * (1 - 8e-10)}
    assert weights_to_counts(weights, max_tasks_per_transformation=3) == {"a": 2, "b": 2, "c": 2}


def test_many_small_differences_do_not_add_up_to_equality():
    chain = {n: 0.5 * (1 - 0.6e-9) ** n for n in range(10)}
    counts = weights_to_counts(chain, max_tasks_per_transformation=3)
    assert counts[0] == counts[1] == 2
    assert counts[9] == 1


def test_a_half_that_rounding_made_smaller_still_goes_up():
    weights = {"a": 0.3, "b": 0.15 * (1 - 1e-12)}
    counts = weights_to_counts(weights, max_tasks_per_transformation=1, task_scaling="proportional")
    assert counts == {"a": 1, "b": 1}


@given(proposals, st.integers(1, 10), st.sampled_from(SCALINGS), st.one_of(st.none(), st.integers(1, 30)))
def test_counts_are_whole_and_within_both_limits(weights, maximum, scaling, limit):
    counts = weights_to_counts(
        normalize_weights(weights),
        max_tasks_per_transformation=maximum,
        max_tasks_per_network=limit,
        task_scaling=scaling,
    )
    assert list(counts) == list(weights)
    assert all(type(count) is int and 0 <= count <= maximum for count in counts.values())
    if limit is not None:
        assert sum(counts.values()) <= limit


@given(proposals, st.integers(1, 10), st.sampled_from(SCALINGS), st.one_of(st.none(), st.integers(1, 30)))
def test_a_larger_weight_never_has_fewer(weights, maximum, scaling, limit):
    normalized = normalize_weights(weights)
    counts = weights_to_counts(
        normalized, max_tasks_per_transformation=maximum, max_tasks_per_network=limit, task_scaling=scaling
    )
    numbers = sorted((weight, key) for key, weight in normalized.items() if weight is not None)
    for (small, a), (large, b) in itertools.pairwise(numbers):
        if small < large * (1 - 2e-9):
            assert counts[a] <= counts[b]


@given(proposals, st.integers(1, 10), st.sampled_from(SCALINGS))
def test_raising_the_network_limit_takes_a_task_from_nobody(weights, maximum, scaling):
    normalized = normalize_weights(weights)
    before = dict.fromkeys(weights, 0)
    for limit in [*range(1, 25), None]:
        counts = weights_to_counts(
            normalized, max_tasks_per_transformation=maximum, max_tasks_per_network=limit, task_scaling=scaling
        )
        assert all(before[key] <= counts[key] for key in weights)
        before = counts


def test_the_network_limit_is_given_out_by_weight_and_not_by_count():
    # By count, 3 : 1 : 1 : 1 would leave the first just one or two of the four.
    weights = {"a": 0.9, "b": 0.05, "c": 0.03, "d": 0.02}
    counts = weights_to_counts(weights, max_tasks_per_transformation=8, max_tasks_per_network=6, task_scaling="linear")
    assert counts == {"a": 6, "b": 0, "c": 0, "d": 0}


def test_the_counts_are_ceilings_of_the_network_limit():
    weights = {"a": 0.9, "b": 0.05, "c": 0.03, "d": 0.02}
    counts = weights_to_counts(weights, max_tasks_per_transformation=3, max_tasks_per_network=5, task_scaling="linear")
    assert counts == {"a": 3, "b": 1, "c": 1, "d": 0}


def test_ties_go_to_the_smaller_key_even_where_weights_differ_by_rounding():
    weights = {"b": 0.3, "a": 0.3 * (1 - 1e-12), "c": 0.3}
    for limit, expected in [(1, "a"), (2, "ab"), (3, "abc")]:
        counts = weights_to_counts(weights, max_tasks_per_transformation=1, max_tasks_per_network=limit)
        assert {key for key, count in counts.items() if count} == set(expected)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_counts_of_numpy_weights(kind, scaling):
    weights = {"a": 0.5, "b": 0.25, "c": 0.0, "d": None}
    of_numpy = {key: None if weight is None else kind(weight) for key, weight in weights.items()}
    for limit in (None, 3):
        limits = {"max_tasks_per_transformation": 5, "max_tasks_per_network": limit, "task_scaling": scaling}
        counts = weights_to_counts(of_numpy, **limits)
        assert counts == weights_to_counts(weights, **limits)
        assert {type(count) for count in counts.values()} == {int}


@pytest.mark.parametrize("weight", [-0.1, 1.1, 2, math.nan, math.inf, "0.5", [0.5]], ids=repr)
def test_weights_that_are_not_normalized_are_rejected_by_name(weight):
    with pytest.raises(RejectedInputError, match="the-bad-one"):
        weights_to_counts({"a": 0.5, "the-bad-one": weight}, max_tasks_per_transformation=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_tasks_per_transformation", value) for value in (0, -1, 1.5, 3.0, True, None, "3", math.nan)),
        *(("max_tasks_per_network", value) for value in (0, -1, 1.5, 3.0, True, "3", math.inf)),
        *(("task_scaling", value) for value in ("quadratic", "", None, 1, "Linear")),
    ],
)
def test_other_bad_arguments_are_rejected_by_name(field, value):
    arguments = {"max_tasks_per_transformation": 3, field: value}
    with pytest.raises(RejectedInputError, match=field) as caught:
        weights_to_counts({"a": 1.0}, **arguments)
    assert caught.value.field == field
    assert caught.value.value is value


def test_numpys_whole_numbers_are_limits():
    assert weights_to_counts({"a": 1.0}, max_tasks_per_transformation=np.int64(3)) == {"a": 3}
    specification = Specification(max_tasks_per_transformation=np.int64(3), max_tasks_per_network=np.int32(7))
    assert type(specification.max_tasks_per_transformation) is type(specification.max_tasks_per_network) is int
    with pytest.raises(RejectedInputError, match="at most 10000"):
        Specification(max_tasks_per_transformation=10_001)


def test_pausing_remembers_the_mode():
    full = Specification(mode="full")
    assert full.paused().mode is StrategyMode.DISABLED
    assert full.paused().paused().resumed() == full
    assert full.resumed() == full
    disabled = Specification(mode="disabled")
    assert disabled.paused().resumed() == disabled
    # Whoever sets a mode has resumed it.
    assert replace(full.paused(), mode="partial").mode_before_pause is None
