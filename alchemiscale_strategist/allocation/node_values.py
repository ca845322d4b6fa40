"""Free energies of nodes from free energy differences along edges, by maximum likelihood.

With measured differences y (kcal/mol), their variances v and the incidence matrix A (+1 at an edge's end, -1 at its
start), the node values are L⁺ Aᵀ W y with W = diag(1/v) and L = Aᵀ W A; their covariance is L⁺. Values are relative to
the mean of their connected component. Source: H. Xu, J. Chem. Inf. Model. 2019, 59, 4720 (as in DiffNet and cinnabar).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation, Node
from alchemiscale_strategist.planning.models import TransformationKey

__all__ = ["EdgeEstimate", "NodeValues", "node_values"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeEstimate:
    """What is known of one Transformation: the difference B − A in kcal/mol, and its variance in (kcal/mol)², > 0."""

    estimate: float
    variance: float


@dataclass(frozen=True, kw_only=True)
class NodeValues:
    """Values of nodes in kcal/mol and their variances in (kcal/mol)², relative to the mean of their component.

    Where the measured edges do not connect a component of the network yet, its nodes are at NaN with infinite variance.
    A node that no edge joins to another has no value relative to anything, and is not among them.
    """

    values: Mapping[Node, float]
    variances: Mapping[Node, float]

    @property
    def rms_standard_error(self) -> float:
        """Root of the mean variance of the nodes, kcal/mol; infinite while some are not connected or there are none."""
        return math.sqrt(sum(self.variances.values()) / len(self.variances)) if self.variances else math.inf


def node_values(network: NetworkGraph, edges: Mapping[TransformationKey, EdgeEstimate]) -> NodeValues:
    """Estimate every node of a network from those of its Transformations that have been measured.

    Args:
        network: the graph; an edge from a node to itself tells nothing and is passed over.
        edges: what is known, by Transformation; parallel edges are pooled by their variances.

    Raises:
        RejectedInputError: a variance is not a finite number above 0, or an estimate not finite.

    >>> from alchemiscale_strategist.networks import NetworkTransformation
    >>> edge = NetworkTransformation(key="k", name="a_b", state_a="a", state_b="b", leg="solvent")
    >>> network = NetworkGraph(name="pair", key="pair", transformations=(edge,))
    >>> found = node_values(network, {"k": EdgeEstimate(estimate=1.0, variance=0.04)})
    >>> [round(value, 3) for value in found.values.values()], round(found.rms_standard_error, 3)
    ([-0.5, 0.5], 0.1)
    """
    for key, given in edges.items():
        if not (math.isfinite(given.variance) and given.variance > 0 and math.isfinite(given.estimate)):
            raise RejectedInputError(
                field=f"edges[{key!r}]", value=given, expected="finite numbers, the variance above 0"
            )
    values: dict[Node, float] = {}
    variances: dict[Node, float] = {}
    components = network.components()
    component_of = {node: number for number, nodes in enumerate(components) for node in nodes}
    edges_of: dict[int, list[NetworkTransformation]] = {}
    for edge in network.transformations:
        if edge.key in edges and edge.node_a != edge.node_b:
            edges_of.setdefault(component_of[edge.node_a], []).append(edge)
    for number, nodes in enumerate(components):
        if len(nodes) > 1:
            found, variance = _solve(nodes, edges_of.get(number, []), edges)
            values.update(zip(nodes, found, strict=True))
            variances.update(zip(nodes, variance, strict=True))
    return NodeValues(values=values, variances=variances)


def _solve(
    nodes: tuple[Node, ...], measured: list[NetworkTransformation], edges: Mapping[TransformationKey, EdgeEstimate]
) -> tuple[list[float], list[float]]:
    """Values and variances of the nodes of one component."""
    size = len(nodes)
    if not _connects(nodes, measured):
        return [math.nan] * size, [math.inf] * size
    index = {node: position for position, node in enumerate(nodes)}
    laplacian = np.zeros((size, size))
    drive = np.zeros(size)
    for edge in measured:
        a, b = index[edge.node_a], index[edge.node_b]
        weight = 1 / edges[edge.key].variance
        laplacian[[a, b], [a, b]] += weight
        laplacian[[a, b], [b, a]] -= weight
        drive[b] += weight * edges[edge.key].estimate
        drive[a] -= weight * edges[edge.key].estimate
    # Adding the mean's projector makes the matrix regular; taking it away again leaves the pseudo-inverse.
    projector = np.full((size, size), 1 / size)
    scale = float(np.trace(laplacian)) / size or 1.0
    covariance = np.linalg.inv(laplacian + scale * projector) - projector / scale
    return [float(value) for value in covariance @ drive], [float(value) for value in np.diag(covariance)]


def _connects(nodes: tuple[Node, ...], measured: list[NetworkTransformation]) -> bool:
    """Whether the measured edges join all the nodes."""
    leader = {node: node for node in nodes}

    def find(node: Node) -> Node:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for edge in measured:
        leader[find(edge.node_a)] = find(edge.node_b)
    return len({find(node) for node in nodes}) == 1
