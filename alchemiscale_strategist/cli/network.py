"""``network show``: what a network's file holds."""

from __future__ import annotations

from pathlib import Path

import click

from alchemiscale_strategist.cli.options import ExistingFile, json_option
from alchemiscale_strategist.cli.output import by_name, print_json, standard_output, table
from alchemiscale_strategist.networks import NetworkGraph

__all__ = ["network"]

_COLUMNS = ("transformation", "state_a", "state_b", "leg", "degrees")


@click.group()
def network() -> None:
    """Look at a network's file."""


@network.command()
@click.argument("file", type=ExistingFile)
@json_option
def show(*, file: Path, as_json: bool) -> None:
    """Show the Transformations of FILE: a gufe AlchemicalNetwork (JSON), or an edge table (CSV, TSV, Parquet)."""
    graph = NetworkGraph.read(file)
    components = graph.components()
    if as_json:
        figures = {
            "name": graph.name,
            "key": graph.key,
            "legs": list(graph.legs),
            "nodes": len(graph.nodes),
            "components": [len(nodes) for nodes in components],
            "degrees": [
                {"state": node.state, "leg": node.leg, "degree": count} for node, count in graph.degrees.items()
            ],
            "transformations": graph.to_rows(),
        }
        print_json(figures)
        return
    rows = [
        {**row, "degrees": f"{graph.degree(edge.node_a)}, {graph.degree(edge.node_b)}"}
        for row, edge in zip(graph.to_rows(), graph.transformations, strict=True)
    ]
    console = standard_output()
    console.print(table(f"{graph.name} ({graph.key})", _COLUMNS, by_name(rows)))
    sizes = ", ".join(str(len(nodes)) for nodes in components)
    console.print(
        f"{len(graph)} Transformations between {len(graph.nodes)} states in {len(components)} connected "
        f"component{'s' if len(components) != 1 else ''} (of {sizes} states); legs: {', '.join(graph.legs)}",
        soft_wrap=True,
    )
