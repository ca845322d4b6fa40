"""Divisor methods against their definition: the best of all allocations within the bounds."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemiscale_strategist import Apportionment, RejectedInputError, apportion

METHODS = ["webster", "adams"]
methods = st.sampled_from(METHODS)
small_weights = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 12), min_size=1)
many_weights = st.dictionaries(
    st.integers(0, 30), st.one_of(st.integers(0, 30).map(float), st.floats(0, 1e300)), min_size=1, max_size=12
)
bounds = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 4))


def cost(method, weight, count):
    """A divisor method minimizes the sum of these: the k-th seat costs its divisor over the weight."""
    if weight == 0:
        return Fraction(0)
    return Fraction(count * count, weight) if method == "webster" else Fraction(count * (count - 1), weight)


def best_allocation(weights, seats, method, floors, ceilings):
    """Try all allocations; of equally good ones take the one that gives more to the larger weight, then smaller key."""
    ranked = sorted(weights, key=lambda key: (-weights[key], key))
    ranges = []
    for key in ranked:
        floor = floors.get(key, 0)
        ceiling = max(floor, ceilings.get(key, max(seats, floor)))
        ranges.append(range(floor, (ceiling if weights[key] else floor) + 1))
    least, most = sum(r[0] for r in ranges), sum(r[-1] for r in ranges)
    house = min(max(seats, least), most)
    possible = (counts for counts in itertools.product(*ranges) if sum(counts) == house)

    def badness(counts):
        return sum(cost(method, weights[key], count) for key, count in zip(ranked, counts, strict=True))

    best = min(possible, key=lambda counts: (badness(counts), [-count for count in counts]))
    return dict(zip(ranked, best, strict=True))


@given(small_weights, st.integers(0, 9), methods, bounds, bounds)
def test_the_result_is_the_best_of_all_allocations(weights, seats, method, floors, ceilings):
    result = apportion(weights, seats, method=method, floors=floors, ceilings=ceilings)
    assert result == best_allocation(weights, seats, method, floors, ceilings)
    assert list(result) == list(weights)


@given(small_weights, st.integers(0, 9), methods)
def test_the_result_without_bounds_is_the_best_of_all_allocations(weights, seats, method):
    assert apportion(weights, seats, method=method) == best_allocation(weights, seats, method, {}, {})


@given(many_weights, st.integers(0, 60), methods, st.integers(0, 3), st.integers(0, 8))
def test_nobody_has_a_better_claim_to_a_seat_than_its_holder(weights, seats, method, floor, ceiling):
    result = apportion(
        weights,
        seats,
        method=method,
        floors=dict.fromkeys(weights, floor),
        ceilings=dict.fromkeys(weights, ceiling),
    )

    def claim(weight, held):
        divisor = 2 * held + 1 if method == "webster" else held
        return Fraction(weight) / divisor if divisor else math.inf

    last_taken = [claim(weights[key], n - 1) for key, n in result.items() if n > floor]
    next_wanted = [claim(weights[key], n) for key, n in result.items() if n < ceiling and weights[key] > 0]
    if last_taken and next_wanted and (most := max(next_wanted)) != math.inf:
        assert min(last_taken) >= most * (1 - Fraction(3, 10**9))
    open_seats = sum(max(ceiling - floor, 0) for weight in weights.values() if weight > 0)
    assert sum(result.values()) == floor * len(weights) + min(max(seats - floor * len(weights), 0), open_seats)


@given(many_weights, methods, st.integers(0, 2), st.integers(1, 6))
def test_with_one_seat_more_nobody_loses_one(weights, method, floor, ceiling):
    floors, ceilings = dict.fromkeys(weights, floor), dict.fromkeys(weights, ceiling)
    before = apportion(weights, 0, method=method, floors=floors, ceilings=ceilings)
    for seats in range(1, 40):
        after = apportion(weights, seats, method=method, floors=floors, ceilings=ceilings)
        assert all(before[key] <= after[key] for key in weights)
        before = after


@given(many_weights, st.integers(0, 60), methods)
def test_a_larger_weight_never_has_fewer(weights, seats, method):
    result = apportion(weights, seats, method=method)
    for (a, small), (b, large) in itertools.combinations(sorted(weights.items(), key=lambda item: item[1]), 2):
        if small < large:
            assert result[a] <= result[b]


@given(small_weights, st.integers(0, 12), methods, st.tuples(bounds, bounds), st.data())
def test_a_weight_that_grows_never_costs_a_seat(weights, seats, method, limits, data):
    grown, by = data.draw(st.sampled_from("abcd")), data.draw(st.integers(1, 9))
    floors, ceilings = limits
    weights.setdefault(grown, 1)
    limits = {"method": method, "floors": floors, "ceilings": ceilings}
    before = apportion(weights, seats, **limits)
    after = apportion({**weights, grown: weights[grown] + by}, seats, **limits)
    assert before[grown] <= after[grown]


@given(small_weights, st.integers(0, 9), methods, bounds, st.randoms(use_true_random=False))
def test_the_order_of_the_parties_does_not_matter(weights, seats, method, ceilings, random):
    items = list(weights.items())
    random.shuffle(items)
    limits = {"method": method, "ceilings": ceilings}
    assert apportion(dict(items), seats, **limits) == apportion(weights, seats, **limits)


@given(small_weights, st.integers(0, 9), methods, st.integers(-300, 300))
def test_the_unit_of_the_weights_does_not_matter(weights, seats, method, exponent):
    scaled = {key: weight * 2.0**exponent for key, weight in weights.items()}
    assert apportion(scaled, seats, method=method) == apportion(weights, seats, method=method)


def test_webster_rounds_to_the_nearest_where_the_house_fits():
    # Quotas 5.3, 2.4 and 2.3 round to 5, 2 and 2; the tenth seat goes to 53/11 rather than 24/5 or 23/5.
    assert apportion({"a": 53, "b": 24, "c": 23}, 10) == {"a": 6, "b": 2, "c": 2}


def test_adams_gives_everybody_one_first():
    assert apportion({"a": 98, "b": 1, "c": 1}, 3, method="adams") == {"a": 1, "b": 1, "c": 1}
    assert apportion({"a": 98, "b": 1, "c": 1}, 3) == {"a": 3, "b": 0, "c": 0}
    assert apportion({"a": 1, "b": 98, "c": 2}, 2, method="adams") == {"a": 0, "b": 1, "c": 1}


@pytest.mark.parametrize("method", METHODS)
def test_ties_go_to_the_smaller_key(method):
    assert apportion({"c": 1, "b": 1, "a": 1}, 1, method=method) == {"a": 1, "b": 0, "c": 0}
    assert apportion({"c": 1, "b": 1, "a": 1}, 5, method=method) == {"a": 2, "b": 2, "c": 1}
    assert apportion({10: 1, 9: 1}, 1, method=method) == {9: 1, 10: 0}


def test_ties_between_different_weights_go_to_the_larger():
    # 3/3 and 1/1 are the same claim to the second seat, whatever the keys.
    assert apportion({"a": 1, "z": 3}, 2) == {"a": 0, "z": 2}
    assert apportion({"a": 0.1, "z": 0.3}, 2) == {"a": 0, "z": 2}
    assert apportion({"a": 0.1, "z": 0.1 + 0.2}, 2) == {"a": 0, "z": 2}


@pytest.mark.parametrize("exponent", range(-12, 3))
@pytest.mark.parametrize("digits", range(1, 10))
def test_a_tie_is_one_whatever_the_last_bits_say(digits, exponent):
    # Decimal weights w and 3w: the first has its first seat exactly when the second has its second one.
    small = float(f"{digits}e{exponent}")
    large = float(f"{3 * digits}e{exponent}")
    assert apportion({"a": small, "z": large}, 2) == {"a": 0, "z": 2}


def test_a_tie_in_the_middle_between_two_rounded_claims_is_one():
    # The claims differ in the last bit alone, and lie where rounding to fewer bits cuts.
    claim = (2**29 + 1.5) / 2**30
    larger_weight = math.nextafter(3 * claim, 0)
    assert larger_weight / 3 != claim
    assert apportion({"a": claim, "z": larger_weight}, 2) == {"a": 0, "z": 2}


def test_claims_that_differ_by_more_than_rounding_are_no_tie():
    assert apportion({"a": 1.0, "z": 3 - 1e-7}, 2) == {"a": 1, "z": 1}
    assert apportion({"a": 1.0, "z": 3 - 1e-8}, 2) == {"a": 1, "z": 1}


def test_weights_that_differ_by_rounding_are_equal():
    assert apportion({"b": 1.0, "a": 1 - 1e-12}, 1) == {"b": 0, "a": 1}


def test_keys_that_cannot_be_compared_are_told_apart_by_their_text():
    assert apportion({("x",): 1, 2: 1, "b": 1}, 1) == {("x",): 1, 2: 0, "b": 0}


def test_a_floor_above_its_ceiling_raises_it():
    assert apportion({"a": 1, "b": 1}, 6, floors={"a": 4}, ceilings={"a": 2}) == {"a": 4, "b": 2}
    assert apportion({"a": 1, "b": 1}, 9, floors={"a": 4}, ceilings={"a": 2, "b": 1}) == {"a": 4, "b": 1}


def test_floors_that_need_more_than_there_is_are_all_that_is_given():
    assert apportion({"a": 5, "b": 1}, 3, floors={"a": 2, "b": 2}) == {"a": 2, "b": 2}
    assert apportion({"a": 5, "b": 1}, 0, floors={"b": 1}) == {"a": 0, "b": 1}


def test_floors_count_among_the_seats():
    assert apportion({"a": 3, "b": 1}, 4, floors={"b": 2}) == {"a": 2, "b": 2}


def test_weight_0_gets_just_its_floor():
    assert apportion({"a": 0, "b": 0.0}, 5, floors={"b": 1}) == {"a": 0, "b": 1}
    assert apportion({"a": 0}, 5, method="adams") == {"a": 0}


def test_ceilings_leave_seats_over():
    assert apportion({"a": 3, "b": 1}, 100, ceilings={"a": 2, "b": 0}) == {"a": 2, "b": 0}


def test_the_edges():
    assert apportion({}, 3) == {}
    assert apportion({"a": 1}, 0) == {"a": 0}
    assert apportion({"a": 1e308, "b": 1e308, "c": 5e-324}, 4) == {"a": 2, "b": 2, "c": 0}
    assert apportion({"a": 5e-324, "b": 1e-323}, 3, method="adams") == {"a": 1, "b": 2}
    assert apportion({"a": 1}, 3, floors={"unknown": 9}, ceilings={"unknown": 1}) == {"a": 3}


def test_weights_of_numpy():
    assert apportion({"a": np.float64(53), "b": np.float32(24), "c": np.int64(23)}, 10) == {"a": 6, "b": 2, "c": 2}


def test_webster_is_the_default_and_methods_have_names():
    weights = {"a": 98, "b": 1, "c": 1}
    assert apportion(weights, 3) == apportion(weights, 3, method=Apportionment.WEBSTER)
    assert apportion(weights, 3, method=Apportionment.ADAMS) == apportion(weights, 3, method="adams")


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("seats", {"seats": -1}),
        ("seats", {"seats": 1.0}),
        ("seats", {"seats": True}),
        ("seats", {"seats": None}),
        ("method", {"method": "hill"}),
        ("method", {"method": None}),
        ("floors['a']", {"floors": {"a": -1}}),
        ("floors['a']", {"floors": {"a": 0.5}}),
        ("ceilings['a']", {"ceilings": {"a": -1}}),
        ("ceilings['a']", {"ceilings": {"a": None}}),
        ("weights['a']", {"weights": {"a": -1}}),
        ("weights['a']", {"weights": {"a": math.nan}}),
        ("weights['a']", {"weights": {"a": math.inf}}),
        ("weights['a']", {"weights": {"a": "1"}}),
        ("weights['a']", {"weights": {"a": None}}),
    ],
    ids=str,
)
def test_bad_input_is_rejected_by_name(field, arguments):
    with pytest.raises(RejectedInputError) as caught:
        apportion(**{"weights": {"a": 1}, "seats": 3, **arguments})
    assert caught.value.field == field
