"""The package's root: what it offers, how little it loads, and how a plan shows itself."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import alchemiscale_strategist
from alchemiscale_strategist import (
    NetworkKey,
    Observation,
    Reason,
    Specification,
    TaskPlan,
    TransformationKey,
    TransformationPlan,
    TransformationState,
    plan_task_changes,
)
from alchemiscale_strategist.errors import MissingDependencyError

HEAVY = [
    "click",
    "rich",
    "pandas",
    "plotly",
    "matplotlib",
    "sqlite3",
    "scipy",
    "numpy",
    "pyarrow",
    "gufe",
    "stratocaster",
    "alchemiscale",
    "pluggy",
]
USE_EVERYTHING = """
for name in package.__all__:
    getattr(package, name)
from alchemiscale_strategist import *
weights = normalize_weights({"a": 1})
observation = Observation(network="n", transformations=(TransformationState(key="a"),))
plan = plan_task_changes(observation, weights, Specification())
repr(plan), str(plan), plan._repr_html_(), repr(StrategyHealth())
"""


def loaded_modules(code):
    """The top-level names of the modules in a fresh interpreter that ran ``code``."""
    # Measuring coverage in the fresh interpreter would load modules of its own.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "COVERAGE_"))}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=60,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def named_by_the_imports():
    tree = ast.parse(Path(alchemiscale_strategist.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    imports = [statement for statement in block.body if isinstance(statement, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    return {alias.asname: (statement.module, alias.name) for statement in imports for alias in statement.names}


def test_importing_the_package_loads_nothing_heavy():
    loaded = loaded_modules("import alchemiscale_strategist")
    assert "alchemiscale_strategist" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_using_all_of_the_root_loads_nothing_heavy_but_the_store_that_a_preview_keeps_in_memory():
    loaded = loaded_modules(f"import alchemiscale_strategist as package\n{USE_EVERYTHING}")
    assert loaded.intersection(HEAVY) == {"sqlite3"}


def test_the_check_for_heavy_modules_notices_one():
    assert "sqlite3" in loaded_modules("import sqlite3")


def test_everything_public_is_named_for_type_checkers_and_the_other_way_round():
    assert sorted([*named_by_the_imports(), "__version__"]) == alchemiscale_strategist.__all__


def test_each_public_name_is_the_thing_that_type_checkers_see():
    for public, (module, name) in named_by_the_imports().items():
        assert public == name
        value = getattr(alchemiscale_strategist, public)
        assert value is getattr(sys.modules[module], name)
        if hasattr(value, "__module__"):
            assert getattr(value, "__name__", public) == public


def test_each_module_lists_what_the_root_offers():
    for name, (module, _) in named_by_the_imports().items():
        getattr(alchemiscale_strategist, name)
        assert name in sys.modules[module].__all__


def test_the_version_is_known():
    assert alchemiscale_strategist.__version__[0].isdigit()


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'alchemiscale_strategist' has no attribute 'nothing'"):
        _ = alchemiscale_strategist.nothing
    with pytest.raises(ImportError):
        from alchemiscale_strategist import nothing  # noqa: F401


def test_dir_lists_the_public_names():
    assert dir(alchemiscale_strategist) == alchemiscale_strategist.__all__


# How a plan shows itself


@pytest.fixture
def plan():
    a, b = TransformationKey("a"), TransformationKey("b")
    states = (TransformationState(key=a, name="<b>&tyk2</b>"), TransformationState(key=b, name="benzene"))
    observation = Observation(network=NetworkKey("<i>net</i>"), transformations=states)
    return plan_task_changes(observation, {a: 0.75, b: None}, Specification())


def test_a_plan_prints_on_one_line(plan):
    assert repr(plan) == (
        "<TaskPlan for <i>net</i>: 2 Transformations, 0 → 2 Tasks in flight (create 2, action 0, cancel 0)>"
    )


def test_a_plan_says_that_it_is_finished_or_stalled():
    empty = {"network": NetworkKey("n"), "transformations": ()}
    assert repr(TaskPlan(**empty, finished=True)).endswith(", finished>")
    assert repr(TaskPlan(**empty, stalled=("all blocked",))).endswith(", stalled>")


def test_a_plan_as_text_is_a_table(plan):
    first, head, *rows = str(plan).splitlines()
    assert first == repr(plan)
    assert head.split() == ["transformation", "weight", "have", "want", "create", "action", "cancel", "reason"]
    assert [row.split() for row in rows] == [
        ["<b>&tyk2</b>", "0.75", "0", "2", "2", "0", "0", "weight"],
        ["benzene", "–", "0", "0", "0", "0", "0", "satisfied"],
    ]
    # The last column starts at the same place in every line.
    assert [line[head.index("reason") :] for line in rows] == ["weight", "satisfied"]


def test_a_plan_in_a_notebook_is_an_escaped_table(plan):
    html = plan._repr_html_()
    assert html.count("<tr>") == 3
    assert "<td>&lt;b&gt;&amp;tyk2&lt;/b&gt;</td>" in html
    assert "TaskPlan for &lt;i&gt;net&lt;/i&gt;" in html
    assert "<b>" not in html
    assert "<i>" not in html


def test_a_long_plan_shows_its_head_and_tail():
    rows = tuple(
        TransformationPlan(key=TransformationKey(f"t{n}"), name=f"t{n}", weight=0.0, have=0, want=0, reason=Reason.KEPT)
        for n in range(1000)
    )
    plan = TaskPlan(network=NetworkKey("n"), transformations=rows)
    lines = str(plan).splitlines()[2:]
    assert len(lines) == 61
    assert [line.split()[0] for line in (lines[0], lines[29], lines[31], lines[60])] == ["t0", "t29", "t970", "t999"]
    assert lines[30] == "… 940 more …"
    html = plan._repr_html_()
    assert html.count("<tr>") == 62
    assert html.index("<td>t29</td>") < html.index("940 more") < html.index("<td>t970</td>")
    assert "<td>t30</td>" not in html


def test_an_empty_plan_shows_itself():
    plan = TaskPlan(network=NetworkKey("n"), transformations=())
    assert "0 Transformations" in str(plan)
    assert "<table>" in plan._repr_html_()


def test_a_plan_as_a_dataframe(plan):
    pytest.importorskip("pandas")
    frame = plan.to_dataframe()
    assert list(frame.index) == ["<b>&tyk2</b>", "benzene"]
    assert frame.index.name == "transformation"
    assert frame.loc["benzene", "reason"] == "satisfied"
    assert list(frame["create"]) == [2, 0]
    assert len(TaskPlan(network=NetworkKey("n"), transformations=()).to_dataframe()) == 0


def test_without_pandas_the_error_says_what_to_install(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="needs pandas") as caught:
        plan.to_dataframe()
    assert (caught.value.package, caught.value.extra) == ("pandas", "tables")
    assert "alchemiscale-strategist[tables]" in caught.value.remedy
