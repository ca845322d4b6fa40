"""Networks read from gufe's JSON and from tables of edges."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemiscale_strategist.bounded_json import JsonLimits
from alchemiscale_strategist.errors import MissingDependencyError, RejectedFileError, RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation, Node

DATA = Path(__file__).parents[1] / "data"
SMALL = DATA / "small_network.json"

# Transformations and nodes, counted in the files themselves.
NETWORKS = {
    "networks/tyk2": (24, 26),
    "networks/p38": (56, 58),
    "networks/mcl1": (46, 48),
    "networks/thrombin": (20, 22),
    "networks/hif2a": (72, 74),
    "campaigns/tyk2_openfe2024": (32, 26),
    "campaigns/hif2a_openfe2024": (102, 72),
    "campaigns/mcl1_openfe2024": (50, 40),
    "campaigns/thrombin_openfe2024": (28, 22),
}


def reference(key):
    return {":gufe-key:": key}


def made_network(systems, edges, *, name="made"):
    """A keyed chain: systems are {key: (name, [component keys])}, edges {key: fields}."""
    components = sorted({component for _, parts in systems.values() for component in parts})
    chain = [[component, {"__qualname__": component.partition("-")[0]}] for component in components]
    for key, (label, parts) in systems.items():
        listed = {f"c{i}": reference(part) for i, part in enumerate(parts)}
        chain.append([key, {"__qualname__": "ChemicalSystem", "name": label, "components": listed}])
    chain += [[key, {"__qualname__": "Transformation", **fields}] for key, fields in edges.items()]
    network = {"__qualname__": "AlchemicalNetwork", "name": name, "edges": [reference(key) for key in edges]}
    return [*chain, ["AlchemicalNetwork-0", network]]


def edge(a, b, name=None, **fields):
    return {"stateA": reference(a), "stateB": reference(b), "name": name, **fields}


@pytest.fixture
def write(tmp_path):
    def written(document, name="network.json"):
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return path

    return written


def read_refused(path):
    with pytest.raises(RejectedFileError) as caught:
        NetworkGraph.read(path)
    return caught.value


# gufe's JSON


def test_the_small_network():
    network = NetworkGraph.from_json(SMALL)
    assert (network.name, len(network), network.legs) == ("small", 6, ("complex", "solvent"))
    assert network.key.startswith("AlchemicalNetwork-")
    assert network.nodes == tuple(sorted(Node(f"{n}_{leg}", leg) for n in "abc" for leg in ("complex", "solvent")))
    assert set(network.degrees.values()) == {2}
    first = network.transformations[0]
    assert (first.name, first.node_a, first.node_b) == (
        "a_b_solvent",
        ("a_solvent", "solvent"),
        ("b_solvent", "solvent"),
    )
    assert repr(network) == "<NetworkGraph small: 6 Transformations between 6 nodes, legs complex, solvent>"
    assert [edge.key for edge in network] == list(network.by_key)


@pytest.mark.parametrize(("file", "sizes"), NETWORKS.items())
def test_real_networks(shared_data, tmp_path, file, sizes):
    path = shared_data / f"{file}.json"
    network = NetworkGraph.read(path)
    transformations, nodes = sizes
    chain = json.loads(path.read_text())
    assert len(network) == transformations
    assert len(network.nodes) == nodes
    assert network.legs == ("complex", "solvent")
    assert network.key == chain[-1][0]
    # Both legs are made from the same edges and do not touch each other.
    assert Counter(node.leg for node in network.nodes) == {"complex": nodes // 2, "solvent": nodes // 2}
    assert all(edge.name.endswith(f"_{edge.leg}") for edge in network)
    assert all(len({node.leg for node in group}) == 1 for group in network.components())
    # Degrees straight from the file.
    bodies = dict(chain)
    ends = Counter(
        bodies[edge[field][":gufe-key:"]]["name"]
        for key, edge in bodies.items()
        if key.startswith("Transformation-")
        for field in ("stateA", "stateB")
    )
    assert {node.state: degree for node, degree in network.degrees.items()} == ends
    assert_same_graph(network, NetworkGraph.from_edge_table(as_csv(network, tmp_path)))


def as_csv(network, folder):
    lines = ["transformation,state_a,state_b,leg"]
    lines += [",".join(row[c] for c in lines[0].split(",")) for row in network.to_rows()]
    path = folder / f"{network.name}.csv"
    path.write_text("\n".join(lines))
    return path


def assert_same_graph(one, other):
    assert one.name == other.name
    assert one.degrees == other.degrees
    assert one.components() == other.components()
    assert [edge.name for edge in one] == [edge.name for edge in other]


def test_proposals_of_stratocaster_see_the_same_graph(shared_data):
    proposals = json.loads((shared_data / "strategies" / "stratocaster_proposals.json").read_text())
    for name, edges in proposals["networks"].items():
        path = shared_data / "networks" / f"{name}.json"
        if path.exists():
            network = NetworkGraph.read(path)
            expected = {row["transformation"]: (row["name"], row["stateA"], row["stateB"]) for row in edges}
            assert {edge.key: (edge.name, edge.state_a, edge.state_b) for edge in network} == expected


def test_nothing_that_the_file_names_is_imported(write):
    document = json.loads(SMALL.read_text())
    for _, body in document:
        body["__module__"] = "antigravity"
    path = write(document)
    program = (
        "import sys\n"
        "from alchemiscale_strategist.networks import NetworkGraph\n"
        "before = set(sys.modules)\n"
        f"assert len(NetworkGraph.read({str(path)!r})) == 6\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "heavy = {'antigravity', 'gufe', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "print(sorted(new - {'encodings'}), sorted(heavy))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] []"


WATER, PROTEIN, LIGAND = "SolventComponent-1", "ProteinComponent-1", "SmallMoleculeComponent-1"


@pytest.mark.parametrize(
    ("components", "leg"),
    [
        ([LIGAND], "vacuum"),
        ([], "vacuum"),
        ([LIGAND, WATER], "solvent"),
        ([LIGAND, WATER, PROTEIN], "complex"),
        ([PROTEIN], "complex"),
        (["SolvatedPDBComponent-1"], "complex"),
        (["ProteinMembraneComponent-1", WATER], "complex"),
    ],
)
def test_the_leg_is_told_by_the_components_of_either_state(write, components, leg):
    systems = {"ChemicalSystem-a": ("a", components), "ChemicalSystem-b": ("b", [LIGAND])}
    edges = {"Transformation-1": edge("ChemicalSystem-a", "ChemicalSystem-b", "there")}
    edges["Transformation-2"] = edge("ChemicalSystem-b", "ChemicalSystem-a", "back")
    network = NetworkGraph.read(write(made_network(systems, edges)))
    assert {edge.leg for edge in network} == {leg}
    # However its Transformations are called, a ChemicalSystem is one node.
    assert network.degrees == {Node("a", leg): 2, Node("b", "vacuum"): 2}


def test_parallel_edges_protocols_and_a_nontransformation(write):
    a, b = "ChemicalSystem-a", "ChemicalSystem-b"
    edges = {
        "Transformation-1": edge(a, b, "fast", protocol=reference("FastProtocol-1")),
        "Transformation-2": edge(a, b, "slow", protocol=reference("SlowProtocol-1")),
        "NonTransformation-3": {"__qualname__": "NonTransformation", "system": reference(a), "name": "alone"},
        "Transformation-4": edge(a, b),
        "NonTransformation-5": {"system": reference(b), "name": ""},
    }
    network = NetworkGraph.read(write(made_network({a: ("a", [WATER]), b: ("b", [WATER])}, edges)))
    assert network.degrees == {Node("a", "solvent"): 5, Node("b", "solvent"): 5}
    assert [edge.name for edge in network] == ["fast", "slow", "alone", "a → b (solvent)", "b (solvent)"]
    assert network.by_key["NonTransformation-3"].node_a == network.by_key["NonTransformation-3"].node_b


def test_what_is_listed_twice_is_there_once(write):
    document = json.loads(SMALL.read_text())
    document[-1][1]["edges"] *= 2
    assert len(NetworkGraph.read(write(document))) == 6


@pytest.mark.parametrize("name", [None, "", " "])
def test_what_has_no_name_gets_one(write, name):
    systems = {"ChemicalSystem-a": (name, [WATER]), "ChemicalSystem-b": ("b", [WATER])}
    edges = {"Transformation-1": edge("ChemicalSystem-a", "ChemicalSystem-b", name)}
    network = NetworkGraph.read(write(made_network(systems, edges, name=name), "stem.json"))
    assert network.name == "stem"
    assert network.transformations[0].state_a == "ChemicalSystem-a"
    assert network.transformations[0].name == "ChemicalSystem-a → b (solvent)"


@pytest.mark.parametrize(
    "other",
    [
        ("same", "vacuum"),
        # A name made to look like the one that tells them apart.
        ("same (aaaaaaaa)", "vacuum"),
    ],
)
def test_systems_of_one_name_are_never_one_node(write, other):
    a, b, c = "ChemicalSystem-aaaaaaaaaaaa", "ChemicalSystem-bbbbbbbbbbbb", "ChemicalSystem-cccccccccccc"
    systems = {a: ("same", [WATER]), b: ("same", [WATER]), c: (other[0], [WATER])}
    edges = {"Transformation-1": edge(a, b), "Transformation-2": edge(b, c)}
    network = NetworkGraph.read(write(made_network(systems, edges)))
    assert sorted(network.degrees.values()) == [1, 1, 2]
    assert len({row["state_a"] for row in network.to_rows()} | {row["state_b"] for row in network.to_rows()}) == 3


def test_a_shared_name_is_kept_across_legs_and_told_apart_within_one(write):
    systems = {
        "ChemicalSystem-a1": ("a", [WATER]),
        "ChemicalSystem-b1": ("b", [WATER]),
        "ChemicalSystem-a2": ("a", [WATER, PROTEIN]),
        "ChemicalSystem-b2": ("b", [WATER, PROTEIN]),
    }
    edges = {
        "Transformation-1": edge("ChemicalSystem-a1", "ChemicalSystem-b1"),
        "Transformation-2": edge("ChemicalSystem-a2", "ChemicalSystem-b2"),
    }
    network = NetworkGraph.read(write(made_network(systems, edges)))
    assert network.nodes == tuple(Node(n, leg) for n in "ab" for leg in ("complex", "solvent"))
    assert len(network.components()) == 2


def test_a_hydration_edge_between_systems_of_one_name_is_no_loop_in_a_table(write, tmp_path):
    systems = {"ChemicalSystem-aa": ("ethane", [LIGAND]), "ChemicalSystem-bb": ("ethane", [LIGAND, WATER])}
    network = NetworkGraph.read(
        write(made_network(systems, {"Transformation-1": edge("ChemicalSystem-aa", "ChemicalSystem-bb", "hydration")}))
    )
    assert network.nodes == (Node("ethane (aa)", "vacuum"), Node("ethane (bb)", "solvent"))
    assert sorted(NetworkGraph.from_edge_table(as_csv(network, tmp_path)).degrees.values()) == [1, 1]


def broken(change):
    document = json.loads(SMALL.read_text())
    change(document)
    return document


def put(position, field, value):
    return lambda document: document[position][1].__setitem__(field, value)


def drop(position, field):
    return lambda document: document[position][1].pop(field)


# Entry 13 is the first Transformation, 7 the first ChemicalSystem, 19 the network.
@pytest.mark.parametrize(
    ("change", "entry", "words"),
    [
        (drop(12, "stateA"), 13, ["Transformation-", "no field 'stateA'", "reference"]),
        (drop(12, "stateB"), 13, ["Transformation-", "no field 'stateB'", "reference"]),
        (put(12, "stateB", reference("ChemicalSystem-gone")), 13, ["'ChemicalSystem-gone'", "'stateB'", "among"]),
        (put(12, "stateB", "ChemicalSystem-gone"), 13, ["'ChemicalSystem-gone'", "expected a reference"]),
        (put(12, "stateB", reference([])), 13, ["an object", "expected a reference"]),
        (put(12, "name", 5), 13, ["'name' 5", "expected text or null"]),
        (put(12, "name", "\ud800"), 13, [r"'\ud800'", "expected text or null"]),
        (drop(6, "components"), 7, ["ChemicalSystem-", "no 'components'"]),
        (put(6, "components", {"ligand": reference("Nobody-1")}), 7, ["'Nobody-1'", "component 'ligand'"]),
        (put(6, "components", {"ligand": None}), 7, ["null", "component 'ligand'"]),
        (put(-1, "edges", []), 19, ["no edges", "at least one"]),
        (drop(-1, "edges"), 19, ["no list 'edges'"]),
        (put(-1, "edges", [reference("Transformation-gone")]), 19, ["'Transformation-gone'", "edge 1"]),
        (put(-1, "edges", [None]), 19, ["null", "edge 1"]),
        (put(-1, "__qualname__", "Strategy"), 19, ["'Strategy'", "expected the last entry to be AlchemicalNetwork"]),
        (drop(-1, "__qualname__"), 19, ["no __qualname__", "AlchemicalNetwork"]),
        (lambda document: document.append(document[0]), 20, ["entry 1, too", "only once"]),
        (lambda document: document.append(["key"]), 20, ["a list", "expected a pair"]),
        (lambda document: document.insert(0, [1, {}]), 1, ["expected a pair"]),
        (lambda document: document.insert(0, ["\ud800", {}]), 1, ["expected a pair"]),
        (lambda document: document.reverse(), 19, ["SolventComponent", "expected the last entry"]),
    ],
)
def test_a_broken_chain_tells_the_entry_and_what_was_expected(write, change, entry, words):
    error = read_refused(write(broken(change)))
    assert error.line == entry
    assert f"network.json, entry {entry}: " in str(error)
    for word in words:
        assert word in error.problem
    str(error).encode()


def test_an_edge_that_is_no_transformation(write):
    system = json.loads(SMALL.read_text())[6][0]
    error = read_refused(write(broken(put(-1, "edges", [reference(system)]))))
    assert system in error.problem
    assert "('ChemicalSystem') has no field 'stateA'" in error.problem


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"__qualname__": "AlchemicalNetwork", "edges": []}, "is one object, 'AlchemicalNetwork', as old versions"),
        ({"strategy": []}, "is an object"),
        ([], "is an empty list"),
        (None, "is null"),
        ('"text"', "is 'text'"),
    ],
)
def test_what_is_no_keyed_chain(write, document, found):
    error = read_refused(write(document))
    assert found in error.problem
    assert "expected a keyed chain" in error.problem
    assert "to_json" in error.remedy


def test_a_strategy_is_no_network(shared_data):
    error = read_refused(shared_data / "strategies" / "ConnectivityStrategy.json")
    assert "'ConnectivityStrategy', expected the last entry to be AlchemicalNetwork" in error.problem


def test_limits_reach_the_reader():
    with pytest.raises(RejectedFileError, match="limit of 10 bytes"):
        NetworkGraph.from_json(SMALL, limits=JsonLimits(max_bytes=10))
    with pytest.raises(RejectedFileError, match=r"line 2, column 2: nested more than 1"):
        NetworkGraph.from_json(SMALL, limits=JsonLimits(max_depth=1))


SMALL_BYTES = SMALL.read_bytes()
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@FUZZ
@given(at=st.integers(0, len(SMALL_BYTES)), cut=st.integers(0, 40), bits=st.binary(max_size=6))
def test_damaged_bytes_are_read_or_refused(tmp_path, at, cut, bits):
    path = tmp_path / "damaged.json"
    path.write_bytes(SMALL_BYTES[:at] + bits + SMALL_BYTES[at + cut :])
    read_or_refused(path)


def paths(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*prefix, key))


SMALL_DOCUMENT = json.loads(SMALL_BYTES)
PATHS = [path for path in paths(SMALL_DOCUMENT) if path]
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
junk = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.just(":gufe-key:") | st.text(max_size=3), scalars)


@FUZZ
@given(where=st.sampled_from(PATHS), value=junk, delete=st.booleans())
def test_damaged_values_are_read_or_refused(tmp_path, where, value, delete):
    document = copy.deepcopy(SMALL_DOCUMENT)
    *outer, last = where
    inner = document
    for key in outer:
        inner = inner[key]
    if delete:
        del inner[last]
    else:
        inner[last] = value
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(document))
    read_or_refused(path)


@FUZZ
@given(st.binary(max_size=60), st.sampled_from([".json", ".csv", ".tsv", ".parquet"]))
def test_arbitrary_files_are_read_or_refused(tmp_path, content, suffix):
    path = tmp_path / f"arbitrary{suffix}"
    path.write_bytes(content)
    read_or_refused(path)


def read_or_refused(path):
    try:
        network = NetworkGraph.read(path)
    except RejectedFileError as error:
        str(error).encode()
        return
    assert len(network) > 0
    assert all(edge.name and edge.state_a and edge.state_b and edge.leg for edge in network)
    str(network.to_rows()).encode()


# Edge tables


def test_an_edge_table_gives_the_graph_of_the_gufe_file():
    one, other = NetworkGraph.from_json(SMALL), NetworkGraph.read(DATA / "small_edges.csv")
    assert other.name == "small_edges"
    assert_same_graph(one, NetworkGraph.from_edge_table(DATA / "small_edges.csv", name="small"))


def test_keys_of_an_edge_table_are_stable(write):
    """Stored networks are found again by these keys: they must not change between releases."""
    path = write("transformation,state_a,state_b,leg\na_b,a,b,complex\n", "pair.csv")
    network = NetworkGraph.read(path)
    assert network.transformations[0].key == "Transformation-028ed735c42f24d29ae8f462fdf64982"
    assert network.key == "EdgeTable-4c5ffa6e17fc7b5dc3887e8fe5c17123"


def test_keys_depend_on_every_name_and_on_nothing_else(write):
    head = "transformation,state_a,state_b,leg\n"
    row = ["x", "a", "b", "complex"]
    keys = {NetworkGraph.read(write(head + ",".join(row), "n.csv")).transformations[0].key}
    for place in range(4):
        other = [*row[:place], row[place] + "!", *row[place + 1 :]]
        keys.add(NetworkGraph.read(write(head + ",".join(other), "n.csv")).transformations[0].key)
    named = NetworkGraph.from_edge_table(write(head + ",".join(row), "n.csv"), name="other")
    keys.add(named.transformations[0].key)
    assert len(keys) == 6
    one = NetworkGraph.read(write(head + "x,a,b,complex\ny,b,c,complex\n", "n.csv"))
    two = NetworkGraph.read(
        write("leg,note,state_b,transformation,state_a\ncomplex,!,c,y,b\ncomplex,!,b,x,a\n", "n.csv")
    )
    assert one.key == two.key
    assert set(one.by_key) == set(two.by_key)


def test_csv_tsv_and_parquet_give_the_same_network(write, tmp_path):
    rows = {"transformation": ["1_2", "3"], "state_a": [1, 2], "state_b": [2, 3], "leg": ["complex", "solvent"]}
    lines = [list(rows), *([str(cell) for cell in row] for row in zip(*rows.values(), strict=True))]
    networks = [
        NetworkGraph.read(write("\n".join(mark.join(line) for line in lines), f"same{suffix}"))
        for mark, suffix in ((",", ".csv"), ("\t", ".tsv"), (",", ".CSV"))
    ]
    for suffix in (".parquet", ".pq"):
        pq.write_table(pa.table(rows), tmp_path / f"same{suffix}")
        networks.append(NetworkGraph.read(tmp_path / f"same{suffix}"))
    assert all(network == networks[0] for network in networks)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("transformation,state_a,state_b\nx,a,b\n", 1, None, "no column 'leg'; found the columns 'transformation'"),
        ("transformation;state_a;state_b;leg\nx;a;b;c\n", 1, None, "no column 'transformation'"),
        ("transformation,state_a,state_b,leg\nx,a,b\n", 2, 4, "the row has 3 cells, expected 4 as in line 1"),
        ("transformation,state_a,state_b,leg\nx,a,b,c,d\n", 2, 5, "the row has 5 cells, expected 4"),
        ("transformation,state_a,state_b,leg\nx,a,,c\n", 2, 3, "state_b: the cell is empty, expected a name"),
        ("transformation,state_a,state_b,leg\n\nx,a,b,c\nx,a,b,c\n", 4, 1, "'x' is the same as in line 3"),
        ("transformation,state_a,state_b,leg,Leg\nx,a,b,c,d\n", 1, 5, "Leg: column 4 has the same name"),
        ('transformation,state_a,state_b,leg\n"x,a,b,c\nd', 2, None, "the row cannot be read"),
        ("transformation,state_a,state_b,leg\n", None, None, "no edges, expected at least one row"),
        ("", None, None, "is empty, expected a line with the names"),
    ],
)
def test_a_broken_edge_table_tells_line_and_column(write, text, line, column, words):
    error = read_refused(write(text, "edges.csv"))
    assert (error.line, error.column) == (line, column)
    assert words in error.problem
    assert "edges.csv" in str(error)
    assert line is None or f"line {line}" in str(error)
    assert column is None or f"column {column}" in str(error)


def test_a_wrong_separator_is_guessed(write):
    assert "';'" in read_refused(write("transformation;state_a;state_b;leg\n", "edges.csv")).remedy


def test_a_broken_parquet_table_tells_row_and_column(tmp_path):
    path = tmp_path / "edges.parquet"
    rows = {"transformation": ["x", "y"], "state_a": ["a", None], "state_b": ["b", "c"], "leg": ["c", "c"]}
    pq.write_table(pa.table(rows), path)
    assert "edges.parquet, row 2, column 2: state_a: the cell is empty" in str(read_refused(path))
    pq.write_table(pa.table({**rows, "state_a": [1.5, 2.5]}), path)
    assert "row 1, column 2: state_a: got 1.5, expected a name" in str(read_refused(path))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "cannot be read as Parquet" in read_refused(path).problem
    path.write_bytes(b"")
    assert "is empty" in read_refused(path).problem


def test_parquet_that_swells_is_refused(tmp_path):
    path = tmp_path / "edges.parquet"
    constant = pa.DictionaryArray.from_arrays(pa.nulls(15_000_000, pa.int8()).fill_null(0), ["a"])
    pq.write_table(pa.table(dict.fromkeys(["transformation", "state_a", "state_b", "leg"], constant)), path)
    assert path.stat().st_size < 1_000_000
    assert "50,000,000 cells" in read_refused(path).problem


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "edges.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingDependencyError, match="Reading Parquet needs pyarrow") as caught:
        NetworkGraph.read(tmp_path / "edges.parquet")
    assert "[tables]" in caught.value.remedy


@pytest.mark.parametrize("file", ["network.xlsx", "network", "network.json.zst"])
def test_an_unknown_suffix_is_refused(file):
    error = read_refused(file)
    assert ".json, .csv, .tsv, .parquet, .pq" in error.problem


def test_a_blank_name_is_refused():
    with pytest.raises(RejectedInputError, match="name: got ' '"):
        NetworkGraph.from_edge_table(DATA / "small_edges.csv", name=" ")


# The graph itself


def graph(*edges, leg="solvent"):
    return NetworkGraph(
        name="made",
        key="EdgeTable-1",
        transformations=[
            NetworkTransformation(key=f"Transformation-{i}", name=f"{a}_{b}", state_a=a, state_b=b, leg=leg)
            for i, (a, b) in enumerate(edges)
        ],
    )


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=14))
def test_degrees_and_components(edges):
    network = graph(*edges)
    ends = Counter(node for edge in edges for node in edge)
    assert {node.state: degree for node, degree in network.degrees.items()} == ends
    assert all(network.degree(node) == degree for node, degree in network.degrees.items())
    assert sum(network.degrees.values()) == 2 * len(edges)
    # Merge sets until nothing changes.
    groups = [{node} for node in ends]
    for a, b in edges:
        joined = [group for group in groups if a in group or b in group]
        groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    found = [{node.state for node in group} for group in network.components()]
    assert sorted(map(sorted, found)) == sorted(map(sorted, groups))
    assert list(network.components()) == sorted(tuple(sorted(group)) for group in network.components())


def test_degree_of_what_is_no_node():
    with pytest.raises(RejectedInputError, match="a node of network 'made'"):
        graph("ab").degree(("a", "complex"))


def test_resolving_names_and_keys():
    network = graph("ab", "bc", "bc")
    assert network.resolve("a_b") == network.resolve("Transformation-0") == "Transformation-0"
    with pytest.raises(RejectedInputError, match="a key, as 2 Transformations have that name: Transformation-1, T"):
        network.resolve("b_c")
    with pytest.raises(RejectedInputError, match="network 'made'; close to it: 'a_b'"):
        network.resolve("a-b")
    with pytest.raises(RejectedInputError, match=r"'made'$"):
        network.resolve("§")


def test_a_key_goes_before_a_name():
    one = NetworkTransformation(key="T-1", name="T-2", state_a="a", state_b="b", leg="x")
    two = NetworkTransformation(key="T-2", name="other", state_a="a", state_b="b", leg="x")
    assert NetworkGraph(name="n", key="k", transformations=(one, two)).resolve("T-2") == "T-2"


def test_keys_are_unique():
    edge = NetworkTransformation(key="T-1", name="x", state_a="a", state_b="b", leg="x")
    with pytest.raises(RejectedInputError, match="every key only once"):
        NetworkGraph(name="n", key="k", transformations=(edge, edge))


def test_a_graph_is_a_value():
    network = NetworkGraph.from_json(SMALL)
    assert network.degrees
    assert pickle.loads(pickle.dumps(network)) == network  # noqa: S301 - our own bytes
    assert hash(network) == hash(NetworkGraph.from_json(SMALL))
    assert repr(graph()) == "<NetworkGraph made: 0 Transformations between 0 nodes, legs none>"
    assert repr(graph("aa")) == "<NetworkGraph made: 1 Transformation between 1 node, leg solvent>"
