"""The network as a graph: which Transformations there are and which states they join.

Read from a gufe ``AlchemicalNetwork`` as plain JSON, importing nothing that the file names, or from a table of edges.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from alchemiscale_strategist.bounded_json import JsonLimits, load_bounded_json
from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError
from alchemiscale_strategist.keyed_chains import ChainEntry, KeyedChain, shown
from alchemiscale_strategist.planning.models import NetworkKey, TransformationKey
from alchemiscale_strategist.planning.tables import Tabular
from alchemiscale_strategist.table_files import TABLE_SUFFIXES, Row, TableFile, read_table

__all__ = ["NetworkGraph", "NetworkTransformation", "Node"]

_HASH_DIGITS = 32
_SHORT_HASH_DIGITS = 8
# From the one that says most: a Transformation stands in the first that either of its states stands in.
_LEGS = ("complex", "solvent", "vacuum")
NETWORK_JSON_LIMITS = JsonLimits(allow_non_finite=True)
"""Of a network's file nothing but names and references is used, so a NaN in a component's properties does no harm."""
_EDGE_COLUMNS = ("transformation", "state_a", "state_b", "leg")


class Node(NamedTuple):
    """A state in a leg: an edge table may give the same ligand's name in both legs, which are two nodes."""

    state: str
    leg: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkTransformation:
    """One edge of the network.

    Args:
        key: its key.
        name: what people call it; never empty.
        state_a: name of the state that it starts from.
        state_b: name of the state that it ends at; the same for a NonTransformation.
        leg: ``complex``, ``solvent`` or ``vacuum``, or what an edge table says.
        leg_a: the leg that ``state_a`` itself stands in where that is another one, as in a Transformation from
            vacuum to solvent; empty for the same.
        leg_b: likewise for ``state_b``.

    >>> edge = NetworkTransformation(key="Transformation-1", name="a_b", state_a="a", state_b="b", leg="solvent")
    >>> edge.node_a
    Node(state='a', leg='solvent')
    """

    key: TransformationKey
    name: str
    state_a: str
    state_b: str
    leg: str
    leg_a: str = ""
    leg_b: str = ""

    @property
    def node_a(self) -> Node:
        """Where it starts."""
        return Node(self.state_a, self.leg_a or self.leg)

    @property
    def node_b(self) -> Node:
        """Where it ends."""
        return Node(self.state_b, self.leg_b or self.leg)


@dataclass(frozen=True, kw_only=True)
class NetworkGraph(Tabular):
    """A network: Transformations between nodes; several may join the same two, and one may join a node to itself.

    A state that no Transformation touches is no node.

    Args:
        name: what people call it.
        key: the AlchemicalNetwork's key, or one made from an edge table.
        transformations: its Transformations, each key once.

    Raises:
        RejectedInputError: two Transformations have the same key.

    >>> edges = [("1", "a", "b"), ("2", "b", "c"), ("3", "b", "c")]
    >>> network = NetworkGraph(
    ...     name="small",
    ...     key="EdgeTable-1",
    ...     transformations=tuple(
    ...         NetworkTransformation(key=f"Transformation-{n}", name=f"{a}_{b}", state_a=a, state_b=b, leg="solvent")
    ...         for n, a, b in edges
    ...     ),
    ... )
    >>> network
    <NetworkGraph small: 3 Transformations between 3 nodes, leg solvent>
    >>> network.degree(Node("b", "solvent"))
    3
    >>> network.resolve("a_b")
    'Transformation-1'
    """

    table_columns: ClassVar = ("transformation", "state_a", "state_b", "leg")

    name: str
    key: NetworkKey
    transformations: tuple[NetworkTransformation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "transformations", tuple(self.transformations))
        keys = Counter(edge.key for edge in self.transformations)
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise RejectedInputError(field="transformations", value=repeated, expected="every key only once")

    @classmethod
    def read(cls, path: str | Path) -> NetworkGraph:
        """Read a network from a file: ``.json`` by :meth:`from_json`, tables by :meth:`from_edge_table`.

        Raises:
            RejectedFileError: another suffix, or what the two raise.
            MissingDependencyError: Parquet without pyarrow.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            return cls.from_json(path)
        if suffix in TABLE_SUFFIXES:
            return cls.from_edge_table(path)
        known = ", ".join((".json", *TABLE_SUFFIXES))
        raise RejectedFileError(f"expected a network in a file whose name ends in {known}", path=path)

    @classmethod
    def from_json(cls, path: str | Path, *, limits: JsonLimits = NETWORK_JSON_LIMITS) -> NetworkGraph:
        """Read what gufe's ``AlchemicalNetwork.to_json`` wrote, a keyed chain, as plain JSON.

        A state is called as its ChemicalSystem is, or by its key; where two in one leg have the same name, by the name
        and the start of the key. A Transformation without a name is called ``<state_a> → <state_b> (<leg>)``. The leg
        is ``complex`` where either state has a protein, else ``solvent`` where either has a solvent, else ``vacuum``.

        Raises:
            RejectedFileError: not such a file, with the entry, numbered from 1, and what was expected.
        """
        path = Path(path)
        chain = KeyedChain.read(path, load_bounded_json(path, limits=limits), root="AlchemicalNetwork")
        edges = _gufe_edges(chain)
        labels = _state_labels(edges)
        return cls(
            name=chain.name(chain.root) or path.stem,
            key=NetworkKey(chain.root.key),
            transformations=tuple(edge.transformation(labels) for edge in edges),
        )

    @classmethod
    def from_edge_table(cls, path: str | Path, *, name: str | None = None) -> NetworkGraph:
        r"""Read a table with the columns ``transformation``, ``state_a``, ``state_b`` and ``leg``; others are ignored.

        The network is called as the file is, without its suffix, unless a name is given. Keys are made from the names,
        so the same table gives the same keys wherever it stands; the order of its rows does not matter to them.

        Raises:
            RejectedInputError: ``name`` is empty.
            RejectedFileError: not such a table, or the same edge twice; tells line and column.
            MissingDependencyError: Parquet without pyarrow.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "pair.csv")
        ...     _ = path.write_text("transformation,state_a,state_b,leg\na_b,a,b,complex\n")
        ...     NetworkGraph.from_edge_table(path)
        <NetworkGraph pair: 1 Transformation between 2 nodes, leg complex>
        """
        if name is not None and not name.strip():
            raise RejectedInputError(field="name", value=name, expected="a name, or None for the file's")
        table = read_table(path)
        network_name = table.path.stem if name is None else name
        edges = _table_edges(table, network_name)
        digest = _digest(network_name, *sorted(edge.key for edge in edges))
        return cls(name=network_name, key=NetworkKey(f"EdgeTable-{digest}"), transformations=edges)

    @cached_property
    def by_key(self) -> Mapping[TransformationKey, NetworkTransformation]:
        """The Transformations by key."""
        return {edge.key: edge for edge in self.transformations}

    @cached_property
    def degrees(self) -> Mapping[Node, int]:
        """How many ends of edges every node has: parallel edges count each, one from a node to itself counts 2."""
        ends = Counter(node for edge in self.transformations for node in (edge.node_a, edge.node_b))
        return {node: ends[node] for node in sorted(ends)}

    def degree(self, node: tuple[str, str]) -> int:
        """How many ends of edges a node has.

        Raises:
            RejectedInputError: the network has no such node.
        """
        state, leg = node
        if (found := self.degrees.get(Node(state, leg))) is not None:
            return found
        raise RejectedInputError(field="node", value=node, expected=f"a node of network {self.name!r}")

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that edges touch, sorted."""
        return tuple(self.degrees)

    @cached_property
    def legs(self) -> tuple[str, ...]:
        """The legs of its Transformations, sorted."""
        return tuple(sorted({edge.leg for edge in self.transformations}))

    def components(self) -> tuple[tuple[Node, ...], ...]:
        """The nodes in connected groups: sorted within a group, the groups by their first nodes."""
        neighbours: defaultdict[Node, set[Node]] = defaultdict(set)
        for edge in self.transformations:
            neighbours[edge.node_a].add(edge.node_b)
            neighbours[edge.node_b].add(edge.node_a)
        groups: list[tuple[Node, ...]] = []
        seen: set[Node] = set()
        for start in self.nodes:
            if start not in seen:
                group = _reachable(start, neighbours)
                seen |= group
                groups.append(tuple(sorted(group)))
        return tuple(groups)

    def resolve(self, name_or_key: str) -> TransformationKey:
        """The key of the Transformation that a key or a name means; a key goes first.

        Raises:
            RejectedInputError: none has that name or key (tells close ones), or several have the name.
        """
        key = TransformationKey(name_or_key)
        if key in self.by_key:
            return key
        named = self._keys_by_name.get(name_or_key, ())
        if len(named) == 1:
            return named[0]
        expected = _key_wanted(named) if named else self._names_wanted(name_or_key)
        raise RejectedInputError(field="transformation", value=name_or_key, expected=expected)

    def to_rows(self) -> list[dict[str, str]]:
        """The edges as plain rows, with the columns of an edge table and their keys."""
        return [
            {
                "transformation": edge.name,
                "key": edge.key,
                "state_a": edge.state_a,
                "state_b": edge.state_b,
                "leg": edge.leg,
            }
            for edge in self.transformations
        ]

    def __iter__(self) -> Iterator[NetworkTransformation]:
        return iter(self.transformations)

    def __len__(self) -> int:
        return len(self.transformations)

    def __repr__(self) -> str:
        legs = f"{'leg' if len(self.legs) == 1 else 'legs'} {', '.join(self.legs) or 'none'}"
        edges = f"{len(self)} Transformation{'' if len(self) == 1 else 's'}"
        nodes = f"{len(self.nodes)} node{'' if len(self.nodes) == 1 else 's'}"
        return f"<NetworkGraph {self.name}: {edges} between {nodes}, {legs}>"

    @cached_property
    def _keys_by_name(self) -> Mapping[str, tuple[TransformationKey, ...]]:
        keys: defaultdict[str, list[TransformationKey]] = defaultdict(list)
        for edge in self.transformations:
            keys[edge.name].append(edge.key)
        return {name: tuple(named) for name, named in keys.items()}

    def _names_wanted(self, unknown: str) -> str:
        expected = f"the name or key of a Transformation of network {self.name!r}"
        known = [*self._keys_by_name, *self.by_key]
        if close := difflib.get_close_matches(unknown, known, n=3):
            return f"{expected}; close to it: {', '.join(map(repr, close))}"
        return expected


def _key_wanted(keys: tuple[TransformationKey, ...]) -> str:
    shown = ", ".join(keys[:4]) + (", …" if len(keys) > 4 else "")
    return f"a key, as {len(keys)} Transformations have that name: {shown}"


def _reachable(start: Node, neighbours: Mapping[Node, set[Node]]) -> set[Node]:
    reached = {start}
    frontier = [start]
    while frontier:
        new = neighbours[frontier.pop()] - reached
        reached |= new
        frontier.extend(new)
    return reached


def _digest(*parts: str) -> str:
    # JSON keeps apart what joining would run together, and its ASCII form can always be encoded.
    canonical = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:_HASH_DIGITS]


def _table_edges(table: TableFile, network_name: str) -> tuple[NetworkTransformation, ...]:
    columns = [table.require(name) for name in _EDGE_COLUMNS]
    made: dict[TransformationKey, tuple[Row, NetworkTransformation]] = {}
    for row in table.rows:
        name, state_a, state_b, leg = (table.text(row, column, expected="a name") for column in columns)
        key = TransformationKey(f"Transformation-{_digest(network_name, name, state_a, state_b, leg)}")
        if key in made:
            earlier = made[key][0].number
            raise table.refusal(
                f"{name!r} is the same as in {table.unit} {earlier}, expected parallel edges to have different names",
                row=row,
                column=columns[0],
            )
        edge = NetworkTransformation(key=key, name=name, state_a=state_a, state_b=state_b, leg=leg)
        made[key] = row, edge
    if not made:
        raise RejectedFileError("has no edges, expected at least one row", path=table.path)
    return tuple(edge for _, edge in made.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """One end of an edge: the ChemicalSystem's key, the name that it has, if any, and the leg it stands in."""

    key: str
    name: str
    leg: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _GufeEdge:
    """An edge of an AlchemicalNetwork, before its states are named."""

    key: str
    name: str
    a: _State
    b: _State
    is_transformation: bool

    @property
    def leg(self) -> str:
        """The leg of the Transformation as a whole."""
        return min(self.a.leg, self.b.leg, key=_LEGS.index)

    def transformation(self, labels: Mapping[str, str]) -> NetworkTransformation:
        """The edge with its states called as ``labels`` says, by key."""
        a, b = labels[self.a.key], labels[self.b.key]
        unnamed = f"{a} → {b} ({self.leg})" if self.is_transformation else f"{a} ({self.leg})"
        return NetworkTransformation(
            key=TransformationKey(self.key),
            name=self.name or unnamed,
            state_a=a,
            state_b=b,
            leg=self.leg,
            leg_a="" if self.a.leg == self.leg else self.a.leg,
            leg_b="" if self.b.leg == self.leg else self.b.leg,
        )


def _gufe_edges(chain: KeyedChain) -> tuple[_GufeEdge, ...]:
    references = chain.root.fields.get("edges")
    if not isinstance(references, list):
        raise chain.refusal(chain.root, "has no list 'edges', expected references to its Transformations")
    if not references:
        raise chain.refusal(chain.root, "has no edges, expected at least one Transformation")
    followed = (
        chain.follow(chain.root, reference, f"edge {number}") for number, reference in enumerate(references, start=1)
    )
    # A gufe network is a set: what is listed twice is there once.
    entries = {entry.key: entry for entry in followed}
    states: dict[str, _State] = {}
    return tuple(_gufe_edge(chain, entry, states) for entry in entries.values())


def _gufe_edge(chain: KeyedChain, entry: ChainEntry, states: dict[str, _State]) -> _GufeEdge:
    is_transformation = "system" not in entry.fields
    fields = ("stateA", "stateB") if is_transformation else ("system", "system")
    a, b = (_state(chain, chain.field(entry, field), states) for field in fields)
    return _GufeEdge(key=entry.key, name=chain.name(entry), a=a, b=b, is_transformation=is_transformation)


def _leg(chain: KeyedChain, system: ChainEntry) -> str:
    """The leg that a ChemicalSystem stands in, by what it is made of."""
    components = system.fields.get("components")
    if not isinstance(components, dict):
        problem = f"({shown(system.kind)}) has no 'components', expected a ChemicalSystem with a mapping of them"
        raise chain.refusal(system, problem)
    kinds = [
        chain.follow(system, reference, f"component {shown(label)}").key.rpartition("-")[0]
        for label, reference in components.items()
    ]
    if any("Protein" in kind or kind == "SolvatedPDBComponent" for kind in kinds):
        return "complex"
    return "solvent" if any("SolventComponent" in kind for kind in kinds) else "vacuum"


def _state(chain: KeyedChain, system: ChainEntry, states: dict[str, _State]) -> _State:
    if system.key not in states:
        leg = _leg(chain, system)
        states[system.key] = _State(key=system.key, name=chain.name(system), leg=leg)
    return states[system.key]


def _state_labels(edges: tuple[_GufeEdge, ...]) -> Mapping[str, str]:
    """What to call every ChemicalSystem, so that no two in the same leg are called the same."""
    states = {state.key: state for edge in edges for state in (edge.a, edge.b)}
    # A system is met in its own leg, and in that of its Transformations where they are written as a table.
    legs: defaultdict[str, set[str]] = defaultdict(set)
    for edge in edges:
        for state in (edge.a, edge.b):
            legs[state.key] |= {state.leg, edge.leg}
    labels = {key: state.name or key for key, state in states.items()}
    for key in _shared(labels, legs):
        labels[key] = f"{labels[key]} ({key.rpartition('-')[2][:_SHORT_HASH_DIGITS]})"
    # Names made to collide with the shortened ones, too, lose their say.
    return {key: key for key in labels} if _shared(labels, legs) else labels


def _shared(labels: Mapping[str, str], legs: Mapping[str, set[str]]) -> set[str]:
    users: defaultdict[Node, set[str]] = defaultdict(set)
    for key, label in labels.items():
        for leg in legs[key]:
            users[Node(label, leg)].add(key)
    return {key for keys in users.values() if len(keys) > 1 for key in keys}
