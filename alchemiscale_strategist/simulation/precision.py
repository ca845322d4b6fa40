"""How precise a campaign is, given how many repeats each Transformation has and how far repeats really spread.

What users want is the binding free energy of every ligand relative to the others. It follows from the differences
complex − solvent of the edges: the legs by themselves do not close cycles (see ``truth_from_results``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alchemiscale_strategist.allocation.node_values import EdgeEstimate, node_values
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation
from alchemiscale_strategist.planning.models import NetworkKey, TransformationKey
from alchemiscale_strategist.simulation.truth import TransformationTruth

__all__ = ["EqualRepeats", "PrecisionModel", "equal_repeats"]

_BOUND, _FREE = "complex", "solvent"


@dataclass(frozen=True, kw_only=True, slots=True)
class _BindingEdge:
    """Two ligands, and the Transformations between them in either leg; parallel ones are pooled."""

    edge: NetworkTransformation
    bound: tuple[TransformationKey, ...]
    free: tuple[TransformationKey, ...]


class PrecisionModel:
    """The standard error to expect of a network, for true spreads.

    Where every Transformation in the complex has a partner in the solvent and the other way round (by the names of
    their states, without the leg's name at the end), the nodes are ligands, and an edge is the difference of its legs.
    Otherwise they are the states as they stand; ``nodes`` says which.

    Args:
        network: the graph.
        truth: spread of a repeat of every Transformation.

    Raises:
        RejectedInputError: a Transformation without its truth.
    """

    def __init__(self, network: NetworkGraph, truth: Mapping[TransformationKey, TransformationTruth]) -> None:
        self._truth = truth
        self._edges = _binding_edges(network)
        self.nodes = "ligands" if self._edges else "states"
        self._graph = (
            NetworkGraph(
                key=NetworkKey(f"{network.key}-ligands"),
                name=network.name,
                transformations=tuple(edge.edge for edge in self._edges),
            )
            if self._edges
            else network
        )

    def standard_error(self, counts: Mapping[TransformationKey, int]) -> float:
        """Root mean square over the nodes of the standard error, kcal/mol, for that many repeats of each.

        A node counts relative to the mean of those that it is connected with. Infinite while some are not connected.
        """
        variances = {key: self._truth[key].spread ** 2 / count for key, count in counts.items() if count}
        return node_values(self._graph, self._combined(dict.fromkeys(variances, 0.0), variances)).rms_standard_error

    def sampling_errors(
        self, errors: Mapping[TransformationKey, float], counts: Mapping[TransformationKey, int]
    ) -> list[float]:
        """What the errors of the Transformations' means (kcal/mol) come to at the nodes; NaN where not connected."""
        variances = {key: self._truth[key].spread ** 2 / counts[key] for key in errors}
        # Node values are linear in what is measured, so those of the errors are the errors of the nodes.
        return list(node_values(self._graph, self._combined(errors, variances)).values.values())

    def _combined(
        self, estimates: Mapping[TransformationKey, float], variances: Mapping[TransformationKey, float]
    ) -> Mapping[TransformationKey, EdgeEstimate]:
        if not self._edges:
            return {key: EdgeEstimate(estimate=estimates[key], variance=variances[key]) for key in estimates}
        combined = {}
        for edge in self._edges:
            bound = _pooled(edge.bound, estimates, variances)
            free = _pooled(edge.free, estimates, variances)
            if bound and free:
                combined[edge.edge.key] = EdgeEstimate(
                    estimate=bound.estimate - free.estimate, variance=bound.variance + free.variance
                )
        return combined


def _pooled(
    keys: tuple[TransformationKey, ...],
    estimates: Mapping[TransformationKey, float],
    variances: Mapping[TransformationKey, float],
) -> EdgeEstimate | None:
    """The mean of parallel Transformations, weighted by their variances; nothing while none has a result."""
    known = [key for key in keys if key in estimates]
    weight = sum(1 / variances[key] for key in known)
    if not known:
        return None
    return EdgeEstimate(estimate=sum(estimates[key] / variances[key] for key in known) / weight, variance=1 / weight)


def _binding_edges(network: NetworkGraph) -> tuple[_BindingEdge, ...]:
    """The edges between ligands; none unless every Transformation has its part in one."""
    pairs: dict[tuple[str, str], dict[str, list[NetworkTransformation]]] = {}
    for edge in network.transformations:
        ligands = (_ligand(edge.state_a, edge.leg), _ligand(edge.state_b, edge.leg))
        pairs.setdefault(ligands, {}).setdefault(edge.leg, []).append(edge)
    if any(set(legs) != {_BOUND, _FREE} for legs in pairs.values()):
        return ()
    return tuple(
        _BindingEdge(
            edge=NetworkTransformation(key=legs[_BOUND][0].key, name=f"{a} → {b}", state_a=a, state_b=b, leg="binding"),
            bound=tuple(edge.key for edge in legs[_BOUND]),
            free=tuple(edge.key for edge in legs[_FREE]),
        )
        for (a, b), legs in pairs.items()
    )


def _ligand(state: str, leg: str) -> str:
    for joint in ("_", "-", " "):
        state = state.removesuffix(f"{joint}{leg}")
    return state


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualRepeats:
    """What the same number of repeats of every Transformation costs on average, failed attempts included, and gives."""

    repeats: int
    tasks: int
    gpu_hours: float
    standard_error: float


def equal_repeats(
    network: NetworkGraph,
    truth: Mapping[TransformationKey, TransformationTruth],
    *,
    most: int,
    failure_rate: float,
) -> tuple[EqualRepeats, ...]:
    """Cost and precision of 1, 2, … ``most`` repeats of every Transformation.

    A failed attempt costs half a repeat on average, and a success takes ``failure_rate / (1 - failure_rate)`` of them.
    """
    overhead = 1 + 0.5 * failure_rate / (1 - failure_rate)
    hours = sum(truth[edge.key].hours for edge in network.transformations) * overhead
    once = PrecisionModel(network, truth).standard_error({edge.key: 1 for edge in network.transformations})
    return tuple(
        EqualRepeats(
            repeats=repeats,
            tasks=repeats * len(network),
            gpu_hours=repeats * hours,
            standard_error=once / repeats**0.5,
        )
        for repeats in range(1, most + 1)
    )
