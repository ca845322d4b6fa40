"""What reads as a table: text, HTML and DataFrames, short however many rows there are."""

from datetime import UTC, datetime

import pytest

from alchemiscale_strategist import (
    NetworkGraph,
    Observation,
    Specification,
    TaskRecord,
    TransformationState,
    plan_task_changes,
    read_results,
)
from alchemiscale_strategist.planning.tables import html_table, text_table

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def observation_of(number):
    running = TaskRecord(key="t", status="running", actioned=True, created=NOON)
    broken = TaskRecord(key="e", status="error", actioned=False, created=NOON)
    states = [TransformationState(key="k0", name="first <one>", tasks=(running, broken), successful_results=2)]
    states += [TransformationState(key=f"k{index}") for index in range(1, number)]
    return Observation(network="n", transformations=tuple(states))


def test_an_observation_in_one_line():
    assert repr(observation_of(3)) == (
        "<Observation of n: 3 Transformations (1 blocked), 1 Tasks in flight, 0 successful results>"
    )


def test_an_observation_as_a_table():
    assert observation_of(1).to_rows() == [
        {
            "transformation": "first <one>",
            "key": "k0",
            "waiting": 0,
            "running": 1,
            "complete": 0,
            "error": 1,
            "invalid": 0,
            "deleted": 0,
            "in_flight": 1,
            "results": 2,
            "blocked": True,
        }
    ]


@pytest.mark.parametrize("number", [1, 60, 61, 5000])
def test_text_and_html_stay_short(number):
    observation = observation_of(number)
    plan = plan_task_changes(observation, {"k0": 1.0}, Specification())
    for value in (observation, plan):
        lines = str(value).splitlines()
        assert lines[0] == repr(value)
        assert len(lines) == 2 + min(number, 60) + (number > 60)
        html = value._repr_html_()
        assert html.count("<tr>") == 1 + min(number, 60) + (number > 60)
        assert "first &lt;one&gt;" in html
        assert (f"{number - 60} more" in html) == (f"{number - 60} more" in str(value)) == (number > 60)


def test_networks_and_results_as_tables(data):
    network = NetworkGraph.read(data / "small_network.json")
    results = read_results(data / "small_results.csv", network)
    assert list(network.to_dataframe().columns) == ["key", "state_a", "state_b", "leg"]
    assert len(network.to_dataframe()) == len(network)
    frame = results.to_dataframe()
    assert len(frame) == results.total
    assert frame.loc[network.resolve(network.transformations[0].name)].shape[1] == 3
    for value in (network, results):
        assert value._repr_html_().startswith("<table>")
        assert str(value).startswith(repr(value))


def test_what_is_missing_is_a_dash_and_columns_line_up():
    rows = [{"name": "a", "value": None}, {"name": "long name", "value": 0.123456}]
    assert text_table(["name", "value"], rows).splitlines() == [
        "name        value",
        "a               –",
        "long name  0.1235",
    ]
    assert "<td>–</td>" in html_table(["value"], rows, caption="c")
