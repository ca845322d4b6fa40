"""The Strategies that ship: stratocaster's recorded proposals, the rules by hand, and every setting that is wrong."""

import dataclasses
import json
import math

import pytest

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation
from alchemiscale_strategist.results import NetworkResults, Repeat
from alchemiscale_strategist.strategies.native import (
    NATIVE_STRATEGIES,
    ConnectivityStrategy,
    UniformStrategy,
    make_native_strategy,
)

# Five networks, six settings, three rounds of results.
RECORDED = 90


def make_network(*ends, leg="solvent"):
    """A network of edges 0, 1, …, each between two states, or three where the leg is its own."""
    edges = tuple(
        NetworkTransformation(
            key=f"Transformation-{n}", name=str(n), state_a=end[0], state_b=end[1], leg=end[2] if len(end) > 2 else leg
        )
        for n, end in enumerate(ends)
    )
    return NetworkGraph(name="n", key="AlchemicalNetwork-n", transformations=edges)


def make_results(network, counts):
    """So many results of every Transformation; ``counts`` by key."""
    repeats = {key: [Repeat(repeat=n, estimate=0.5 * n) for n in range(count)] for key, count in counts.items()}
    return NetworkResults(transformations=tuple(edge.key for edge in network), repeats=repeats)


def propose(strategy, network, *counts):
    """The weights in the network's order, with so many results of each Transformation; none where it is not said."""
    counts = counts or (0,) * len(network)
    results = make_results(network, {edge.key: count for edge, count in zip(network, counts, strict=True)})
    weights = strategy.propose(network, results)
    assert list(weights) == [edge.key for edge in network]
    return list(weights.values())


# Connectivity


@pytest.fixture(scope="module")
def recorded(shared_data):
    return json.loads((shared_data / "strategies" / "stratocaster_proposals.json").read_text())


def recorded_network(rows):
    """The recorded edges; their states name the leg already."""
    return NetworkGraph(
        name="recorded",
        key="AlchemicalNetwork-recorded",
        transformations=tuple(
            NetworkTransformation(
                key=row["transformation"], name=row["name"], state_a=row["stateA"], state_b=row["stateB"], leg=""
            )
            for row in rows
        ),
    )


def test_connectivity_gives_the_recorded_weights_of_stratocaster(recorded):
    networks = {name: recorded_network(rows) for name, rows in recorded["networks"].items()}
    cases = [case for case in recorded["cases"] if case["strategy"] == "ConnectivityStrategy"]
    assert len(cases) == RECORDED
    numbers = 0
    for case in cases:
        network = networks[case["network"]]
        strategy = make_native_strategy("connectivity", case["settings"])
        weights = strategy.propose(network, make_results(network, case["result_counts"]))
        # To the last bit: the order of the factors matters.
        assert weights == case["weights"], (case["network"], case["settings"])
        numbers += sum(weight is not None for weight in weights.values())
    assert numbers > 1000  # the stop conditions have not eaten them all


def test_connectivity_gives_the_recorded_weights_on_the_networks_themselves(recorded, shared_data):
    """Read from the gufe files, whose states are named otherwise, the networks are connected in the same way."""
    for name in recorded["networks"]:
        network = NetworkGraph.read(shared_data / "networks" / f"{name}.json")
        cases = [
            case for case in recorded["cases"] if (case["network"], case["strategy"]) == (name, "ConnectivityStrategy")
        ]
        assert cases
        for case in cases:
            strategy = make_native_strategy("connectivity", case["settings"])
            assert strategy.propose(network, make_results(network, case["result_counts"])) == case["weights"]


def test_connectivity_is_the_mean_degree_of_the_ends():
    star = make_network(("c", "a"), ("c", "b"), ("c", "d"), ("d", "e"))
    # The centre has 3, a and b have 1, d has 2, e has 1.
    assert propose(ConnectivityStrategy(), star) == [2.0, 2.0, 2.5, 1.5]


def test_connectivity_decays_with_every_result():
    pair = make_network(("a", "b"))
    strategy = ConnectivityStrategy(decay_rate=0.25, max_runs=9)
    assert [propose(strategy, pair, count) for count in range(4)] == [[1.0], [0.25], [0.0625], [0.015625]]


def test_parallel_edges_count_each_and_get_a_weight_each():
    network = make_network(("a", "b"), ("a", "b"), ("b", "a"), ("b", "c"))
    # a has 3, b has 4, c has 1.
    assert propose(ConnectivityStrategy(), network, 0, 1, 0, 0) == [3.5, 1.75, 3.5, 2.5]


def test_an_edge_from_a_state_to_itself_ends_there_twice():
    assert propose(ConnectivityStrategy(), make_network(("a", "a"))) == [2.0]
    # a has 3, b has 1.
    assert propose(ConnectivityStrategy(), make_network(("a", "a"), ("a", "b"))) == [3.0, 2.0]


def test_a_state_in_another_leg_is_another_node():
    network = make_network(("a", "b", "complex"), ("a", "b", "solvent"), ("a", "c", "solvent"))
    assert propose(ConnectivityStrategy(), network) == [1.0, 1.5, 1.5]


def test_an_edge_between_legs_ends_at_nodes_of_both():
    bridge = NetworkTransformation(
        key="Transformation-b", name="b", state_a="a", state_b="a", leg="solvent", leg_a="vacuum", leg_b="solvent"
    )
    network = make_network(("a", "b", "solvent"), ("a", "b", "vacuum"), ("a", "c", "vacuum"))
    network = NetworkGraph(name="n", key="n", transformations=(*network.transformations, bridge))
    # a has 3 in vacuum and 2 in solvent.
    assert propose(ConnectivityStrategy(), network) == [1.5, 2.0, 2.0, 2.5]


@pytest.mark.parametrize(("count", "weight"), [(0, 1.0), (1, 0.5), (2, None), (3, None), (50, None)])
def test_connectivity_stops_at_max_runs(count, weight):
    assert propose(ConnectivityStrategy(max_runs=2), make_network(("a", "b")), count) == [weight]


@pytest.mark.parametrize(("count", "weight"), [(0, 1.0), (1, 0.5), (2, 0.25), (3, None), (4, None)])
def test_connectivity_stops_below_the_cutoff_and_not_at_it(count, weight):
    strategy = ConnectivityStrategy(cutoff=0.25, max_runs=None)
    assert propose(strategy, make_network(("a", "b")), count) == [weight]


@pytest.mark.parametrize(("cutoff", "max_runs"), [(0.25, 1), (0.75, 9)])
def test_either_stop_condition_is_enough(cutoff, max_runs):
    assert propose(ConnectivityStrategy(cutoff=cutoff, max_runs=max_runs), make_network(("a", "b")), 1) == [None]


def test_many_results_are_no_trouble():
    strategy = ConnectivityStrategy(decay_rate=0.5, max_runs=10**6)
    assert propose(strategy, make_network(("a", "b")), 2000) == [0.0]


# Uniform


@pytest.mark.parametrize("repeats", [1, 2, 3, 7])
def test_uniform_asks_for_the_same_everywhere_until_there_are_enough(repeats):
    network = make_network(("a", "b"), ("b", "c"), ("a", "b"), ("c", "c"))
    counts = (0, repeats - 1, repeats, repeats + 1)
    assert propose(UniformStrategy(repeats=repeats), network, *counts) == [1.0, 1.0, None, None]


def test_uniform_wants_three_unless_told_otherwise():
    assert propose(UniformStrategy(), make_network(("a", "b"), ("a", "c")), 2, 3) == [1.0, None]


@pytest.mark.parametrize("name", NATIVE_STRATEGIES)
def test_a_network_without_transformations_gets_no_weights(name):
    assert propose(make_native_strategy(name), make_network()) == []


@pytest.mark.parametrize("name", NATIVE_STRATEGIES)
def test_proposing_again_gives_the_same_weights_in_a_mapping_of_its_own(name):
    strategy = make_native_strategy(name)
    network = make_network(("a", "b"), ("b", "c"))
    results = make_results(network, {"Transformation-0": 1})
    first = strategy.propose(network, results)
    first_weights = dict(first)
    first.clear()
    assert strategy.propose(network, results) == first_weights


# Settings


@pytest.mark.parametrize("name", NATIVE_STRATEGIES)
def test_every_strategy_has_its_name_and_needs_no_settings(name):
    strategy = make_native_strategy(name)
    assert strategy.name == name
    assert make_native_strategy(name, {}) == make_native_strategy(name, None) == strategy
    with pytest.raises(dataclasses.FrozenInstanceError):
        strategy.name = "other"


@pytest.mark.parametrize("name", NATIVE_STRATEGIES)
def test_all_its_settings_can_be_set_to_what_they_are(name):
    strategy = make_native_strategy(name)
    assert make_native_strategy(name, dataclasses.asdict(strategy)) == strategy


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("uniform", {"repeats": 1}),
        ("uniform", {"repeats": 10**9}),
        ("connectivity", {"decay_rate": 1e-9}),
        ("connectivity", {"decay_rate": math.nextafter(1, 0)}),
        ("connectivity", {"cutoff": 5e-324, "max_runs": None}),
        ("connectivity", {"cutoff": 3}),
        ("connectivity", {"max_runs": 1}),
    ],
)
def test_settings_at_the_edge_of_what_is_good_are_taken(name, settings):
    strategy = make_native_strategy(name, settings)
    assert {key: getattr(strategy, key) for key in settings} == settings


COUNTS_THAT_ARE_NONE = [0, -1, 1.0, 2.5, True, False, "3", math.nan, math.inf, [3]]
NUMBERS_THAT_ARE_NONE = ["0.5", True, [0.5], math.nan, 1j]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        *[("uniform", "repeats", value) for value in [*COUNTS_THAT_ARE_NONE, None]],
        *[("connectivity", "max_runs", value) for value in COUNTS_THAT_ARE_NONE],
        *[("connectivity", "decay_rate", value) for value in [*NUMBERS_THAT_ARE_NONE, 0, 1, -0.5, 1.5, math.inf, None]],
        *[("connectivity", "cutoff", value) for value in [*NUMBERS_THAT_ARE_NONE, 0, -1, 0.0, math.inf]],
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_would_be_good(name, field, value):
    with pytest.raises(RejectedInputError) as caught:
        make_native_strategy(name, {field: value})
    assert caught.value.field == field
    assert caught.value.value is value
    assert str(caught.value).startswith(f"{field}: got {value!r}, expected a ")


def test_one_stop_condition_is_needed():
    with pytest.raises(RejectedInputError, match="unless max_runs is given") as caught:
        make_native_strategy("connectivity", {"max_runs": None})
    assert caught.value.field == "cutoff"


@pytest.mark.parametrize(
    ("name", "setting", "close"),
    [
        ("uniform", "repeat", "repeats"),
        ("uniform", "Repeats", "repeats"),
        ("connectivity", "decayrate", "decay_rate"),
        ("connectivity", "cut_off", "cutoff"),
        ("connectivity", "max_run", "max_runs"),
    ],
)
def test_a_misspelt_setting_is_told_with_the_close_one(name, setting, close):
    with pytest.raises(RejectedInputError, match=f"did you mean '{close}'") as caught:
        make_native_strategy(name, {setting: 1})
    assert name in str(caught.value)
    assert repr(setting) in str(caught.value)


@pytest.mark.parametrize("setting", ["zzz", "name", "", "__class__", "propose"])
def test_an_unknown_setting_is_told_with_those_there_are(setting):
    with pytest.raises(RejectedInputError, match="one of decay_rate, cutoff, max_runs") as caught:
        make_native_strategy("connectivity", {setting: 1, "max_runs": 2})
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["fastest", "", "Uniform", "ConnectivityStrategy"])
def test_an_unknown_strategy_is_told_with_those_there_are(name):
    with pytest.raises(RejectedInputError, match="one of connectivity, uniform") as caught:
        make_native_strategy(name)
    assert (caught.value.field, caught.value.value) == ("strategy", name)


def test_others_than_those_that_ship_can_be_made():
    class Mine(UniformStrategy):
        name = "mine"

    made = make_native_strategy("mine", {"repeats": 5}, strategies={"mine": Mine})
    assert (type(made), made.repeats) == (Mine, 5)
    with pytest.raises(RejectedInputError, match="one of mine"):
        make_native_strategy("uniform", strategies={"mine": Mine})
