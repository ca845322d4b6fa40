"""The example campaign that ships with the package."""

from __future__ import annotations

from importlib.resources import as_file, files

from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.results import NetworkResults, read_results

__all__ = ["tyk2"]


def tyk2() -> tuple[NetworkGraph, NetworkResults]:
    """Return 32 Transformations of TYK2 and three real repeats of each; where from, ``data/README.md`` says.

    >>> network, results = tyk2()
    >>> len(network), results.total
    (32, 96)
    """
    folder = files("alchemiscale_strategist.simulation") / "data"
    with as_file(folder / "tyk2_edges.csv") as edges, as_file(folder / "tyk2_results.csv") as repeats:
        network = NetworkGraph.from_edge_table(edges, name="tyk2")
        return network, read_results(repeats, network)
