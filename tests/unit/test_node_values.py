"""Node values: by hand on trees, against least squares on cycles, and what cannot be known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemiscale_strategist.allocation.node_values import EdgeEstimate, node_values
from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation, Node


def graph_of(*pairs):
    edges = tuple(
        NetworkTransformation(key=f"T{number}", name=f"T{number}", state_a=a, state_b=b, leg="solvent")
        for number, (a, b) in enumerate(pairs)
    )
    return NetworkGraph(name="made", key="made", transformations=edges)


def test_a_chain_of_two_edges_by_hand():
    found = node_values(
        graph_of(("a", "b"), ("b", "c")),
        {"T0": EdgeEstimate(estimate=1.0, variance=0.1), "T1": EdgeEstimate(estimate=2.0, variance=0.2)},
    )
    assert list(found.values.values()) == pytest.approx([-4 / 3, -1 / 3, 5 / 3])
    # a = -(2·x + y)/3 with x, y independent: (4·0.1 + 0.2)/9, and so on.
    assert list(found.variances.values()) == pytest.approx([0.6 / 9, 0.3 / 9, 0.9 / 9])
    assert found.rms_standard_error == pytest.approx(math.sqrt((0.6 + 0.3 + 0.9) / 27))


def test_parallel_edges_are_pooled_by_their_variances():
    found = node_values(
        graph_of(("a", "b"), ("a", "b"), ("a", "a")),
        {
            "T0": EdgeEstimate(estimate=1.0, variance=0.1),
            "T1": EdgeEstimate(estimate=2.0, variance=0.3),
            "T2": EdgeEstimate(estimate=9.0, variance=0.1),
        },
    )
    difference = found.values[Node("b", "solvent")] - found.values[Node("a", "solvent")]
    assert difference == pytest.approx((1.0 / 0.1 + 2.0 / 0.3) / (1 / 0.1 + 1 / 0.3))


@given(st.data())
def test_it_is_weighted_least_squares_and_its_covariance(data):
    size = data.draw(st.integers(2, 6))
    tree = [(str(data.draw(st.integers(0, node - 1))), str(node)) for node in range(1, size)]
    node = st.integers(0, size - 1)
    extra = data.draw(st.lists(st.tuples(node, node), max_size=5))
    pairs = tree + [(str(a), str(b)) for a, b in extra if a != b]
    network = graph_of(*pairs)
    number = st.floats(-50, 50)
    edges = {
        edge.key: EdgeEstimate(estimate=data.draw(number), variance=data.draw(st.floats(1e-3, 1e3)))
        for edge in network.transformations
    }
    found = node_values(network, edges)

    index = {name: position for position, name in enumerate(network.nodes)}
    incidence = np.zeros((len(pairs), size))
    for row, edge in enumerate(network.transformations):
        incidence[row, index[edge.node_b]] += 1
        incidence[row, index[edge.node_a]] -= 1
    weights = np.diag([1 / edges[edge.key].variance for edge in network.transformations])
    inverse = np.linalg.pinv(incidence.T @ weights @ incidence)
    y = np.array([edges[edge.key].estimate for edge in network.transformations])
    expected = inverse @ incidence.T @ weights @ y
    assert list(found.values.values()) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert list(found.variances.values()) == pytest.approx(np.diag(inverse), rel=1e-6, abs=1e-9)


def test_what_is_not_connected_is_not_known():
    network = graph_of(("a", "b"), ("b", "c"), ("x", "y"))
    found = node_values(
        network, {"T0": EdgeEstimate(estimate=1.0, variance=0.1), "T2": EdgeEstimate(estimate=1.0, variance=0.1)}
    )
    assert math.isnan(found.values[Node("a", "solvent")])
    assert found.variances[Node("a", "solvent")] == math.inf
    assert found.values[Node("y", "solvent")] == pytest.approx(0.5)
    assert found.rms_standard_error == math.inf


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf])
def test_a_variance_that_is_none_is_refused_by_name(variance):
    with pytest.raises(RejectedInputError, match="T0"):
        node_values(graph_of(("a", "b")), {"T0": EdgeEstimate(estimate=1.0, variance=variance)})


def test_a_node_that_nothing_joins_to_another_is_left_out():
    found = node_values(graph_of(("a", "b"), ("x", "x")), {"T0": EdgeEstimate(estimate=1.0, variance=0.04)})
    assert [node.state for node in found.values] == ["a", "b"]
    assert found.rms_standard_error == pytest.approx(0.1)
    assert node_values(graph_of(("x", "x")), {}).rms_standard_error == math.inf
