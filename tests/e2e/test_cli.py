"""The command line as a user has it: real files in, tables and JSON out, mistakes in one sentence with exit code 2."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from alchemiscale_strategist.cli import main

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, **options):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def run_process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from alchemiscale_strategist.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def test_the_demo_goes_dormant_and_shows_table_comparison_and_plot(tmp_path):
    plot = tmp_path / "campaign.png"
    done = run_process("simulate", "--plot", plot)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "ejm_31_ejm_42_complex" in done.stdout
    assert "3 repeats everywhere" in done.stdout
    assert re.search(r"the Strategy is: dormant$", done.stdout, flags=re.MULTILINE)
    assert str(plot) in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_simulate_says_the_same_in_json():
    done = run("simulate", "--json", "--strategy", "uniform", "--setting", "repeats=2")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["summary"]["end"] == "dormant"
    assert {row["results"] for row in told["transformations"]} >= {2}
    assert told["health"]["status"] == "dormant"
    assert told["course"][-1]["tasks_completed"] == told["summary"]["tasks_completed"]
    assert [point["repeats"] for point in told["equal_repeats"]][:3] == [1, 2, 3]


def test_simulate_reads_networks_and_results_of_our_own(data, tmp_path):
    done = run("simulate", data / "small_network.json", "--json", "--store", tmp_path / "kept.sqlite")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["summary"]["truth"] == "made up from seed 0"
    again = run("simulate", data / "small_network.json", "--store", tmp_path / "kept.sqlite")
    assert again.exit_code == 2
    assert "kept.sqlite" in again.output
    with_results = run("simulate", data / "small_network.json", "--results", data / "small_results.csv", "--json")
    assert with_results.exit_code == 0, with_results.output


def test_a_campaign_that_cannot_end_well_says_why_and_fails():
    done = run("simulate", "--failure-rate", "0.6", "--max-restarts", "0")
    assert done.exit_code == 1
    assert "stalled" in done.output
    assert "a Task is in error" in done.output


def test_plan_without_results_is_the_first_batch(data):
    done = run("plan", "--network", data / "small_network.json", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["run"] == sum(row["want"] for row in told["transformations"]) > 0
    assert not told["finished"]
    assert {row["reason"] for row in told["transformations"]} == {"weight"}


def test_plan_table_names_every_transformation_and_why(data):
    done = run("plan", "--network", data / "small_network.json", "--results", data / "small_results.csv")
    assert done.exit_code == 0, done.output
    told = json.loads(
        run("plan", "--network", data / "small_network.json", "--results", data / "small_results.csv", "--json").stdout
    )
    for row in told["transformations"]:
        assert row["transformation"] in done.stdout
        assert row["why"] in done.stdout


@pytest.mark.parametrize("name", ["tyk2", "p38", "mcl1", "thrombin", "hif2a"])
def test_plan_on_real_networks(shared_data, name):
    done = run("plan", "--network", shared_data / "networks" / f"{name}.json", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["transformations"]
    assert rows
    assert all(row["want"] == row["create"] >= 1 for row in rows)


@pytest.mark.parametrize("name", ["tyk2", "hif2a", "mcl1", "thrombin"])
def test_plan_on_real_results_all_and_without_the_third(shared_data, tmp_path, name):
    network = shared_data / "campaigns" / f"{name}_openfe2024.json"
    results = shared_data / "campaigns" / f"{name}_openfe2024_results.csv"
    done = run("plan", "--network", network, "--results", results)
    assert done.exit_code == 0
    assert "is satisfied with every Transformation: there is nothing to run" in done.stdout

    rows = results.read_text(encoding="utf-8").splitlines(keepends=True)
    fewer = tmp_path / "two.csv"
    fewer.write_text("".join(row for row in rows if row.split(",")[2] != "2"), encoding="utf-8")
    arguments = ("--network", network, "--results", fewer, "--json", "--max-tasks-per-network", "20")
    told = json.loads(run("plan", *arguments).stdout)
    assert told["run"] == 20
    assert {row["results"] for row in told["transformations"]} == {2}
    by_weight = sorted(told["transformations"], key=lambda row: row["weight"])
    assert by_weight[0]["want"] <= by_weight[-1]["want"]


def test_network_show(data):
    done = run("network", "show", data / "small_edges.csv")
    assert done.exit_code == 0, done.output
    assert "2 connected components" in done.stdout
    told = json.loads(run("network", "show", data / "small_edges.csv", "--json").stdout)
    assert told["legs"] == ["complex", "solvent"]
    assert len(told["transformations"]) == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "--network", "nowhere.json"], "nowhere.json"),
        (["plan", "--network", "{data}/small_results.csv"], "state_a"),
        (["plan", "--network", "{data}/small_network.json", "--results", "{data}/small_edges.csv"], "repeat"),
        (["plan", "--network", "{data}/small_edges.csv", "--strategy", "fastest"], "connectivity"),
        (["plan", "--network", "{data}/small_edges.csv", "--setting", "max_runs"], "NAME=VALUE"),
        (["plan", "--network", "{data}/small_edges.csv", "--setting", "max_run=2"], "max_runs"),
        (["plan", "--network", "{data}/small_edges.csv", "--setting", "max_runs=lots"], "max_runs: got 'lots'"),
        (
            ["plan", "--network", "{data}/small_edges.csv", "--max-tasks-per-network", "0"],
            "max_tasks_per_network: got 0",
        ),
        (["plan", "--network", "{data}/small_edges.csv", "--max-tasks-per-transformation", "-1"], "at least 1"),
        (["simulate", "--workers", "0"], "workers: got 0"),
        (["simulate", "--failure-rate", "2"], "failure_rate"),
        (["simulate", "--sleep-interval", "0"], "sleep_interval"),
        (["simulate", "--sleep-interval", "nan"], "sleep_interval"),
        (["simulate", "--sleep-interval", "1e300"], "sleep_interval"),
        (["simulate", "--plot", "plot.docx"], ".png"),
        (["simulate", "--plot", "no/such/folder/plot.png"], "folder"),
        (["simulate", "--results", "{data}/small_results.csv"], "NETWORK"),
        (["simulate", "--store", "{data}/small_edges.csv"], "SQLite"),
        (["network", "show", "{data}/small_results.csv"], "state_a"),
        (["completion", "tcsh"], "bash"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(data, arguments, told):
    done = run_process(*(argument.format(data=data) for argument in arguments))
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_broken_files_are_told_by_line_and_column(data, tmp_path):
    good = (data / "small_results.csv").read_text(encoding="utf-8").splitlines()
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join([*good[:3], good[3].rsplit(",", 2)[0] + ",high,0.1"]) + "\n", encoding="utf-8")
    done = run_process("plan", "--network", data / "small_network.json", "--results", broken)
    assert done.returncode == 2
    assert f"{broken}, line 4, column " in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell):
    done = run("completion", shell)
    assert done.exit_code == 0, done.output
    assert "alchemiscale-strategist" in done.stdout


def test_completion_completes_commands_and_values():
    environment = {
        **os.environ,
        "_ALCHEMISCALE_STRATEGIST_COMPLETE": "bash_complete",
        "COMP_WORDS": "alchemiscale-strategist plan --strategy un",
        "COMP_CWORD": "3",
    }
    code = "from alchemiscale_strategist.cli import main; main(prog_name='alchemiscale-strategist')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "plain,uniform\n"


def test_version_and_help():
    assert re.search(r"version \d+\.\d+", run("--version").stdout)
    assert "simulate" in run("--help").stdout
    for command in ("simulate", "plan", "network", "completion"):
        assert run(command, "--help").exit_code == 0


def test_the_readme_shows_what_one_gets(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = (block for block in readme.split("```\n") if block.startswith("tyk2:"))
    monkeypatch.chdir(tmp_path)
    printed = {line.rstrip() for line in run("simulate", "--plot", "campaign.png").stdout.splitlines()}
    lines = [line.rstrip() for line in shown.splitlines()]
    assert lines[-1] == "Plot: campaign.png"
    assert [line for line in lines if line not in printed and "more Transformations" not in line] == []


def test_names_are_shown_as_they_are_and_not_as_markup(tmp_path):
    edges = tmp_path / "[bold]edges.csv"
    names = ["c1cc[nH]c1", "[/x] e", "[red]"]
    rows = "".join(f"{name},{name},end,complex\n" for name in names)
    edges.write_text(f"transformation,state_a,state_b,leg\n{rows}", encoding="utf-8")
    for command in (("network", "show", edges), ("plan", "--network", edges), ("simulate", edges)):
        done = run(*command)
        assert done.exit_code == 0, done.output
        assert all(name in done.stdout for name in names)
        assert "[bold]edges" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "--plot", "/proc/campaign.png"],
        ["plan", "--network", "{data}/small_edges.csv", "--setting", "max_runs=" + "[" * 100_000],
    ],
)
def test_the_unusual_is_told_in_one_sentence_too(data, arguments):
    done = run(*(argument.format(data=data) for argument in arguments))
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("kept", [0, 1])
def test_too_few_results_to_draw_like_are_told_with_the_transformation(data, tmp_path, kept):
    """A campaign that has only begun is what people have."""
    header, *rows = (data / "small_results.csv").read_text(encoding="utf-8").splitlines()
    name = rows[0].split(",")[0]
    others = [row for row in rows if row.split(",")[0] != name]
    own = [row for row in rows if row.split(",")[0] == name][:kept]
    results = tmp_path / "results.csv"
    results.write_text("\n".join([header, *others, *own]) + "\n", encoding="utf-8")
    done = run_process("simulate", data / "small_network.json", "--results", results)
    assert done.returncode == 2
    assert name in done.stderr
    assert f"got {kept}, expected at least 2 repeats" in done.stderr


def test_an_encoding_without_dashes_is_no_reason_to_fail(data):
    done = run_process(
        "plan", "--network", data / "small_edges.csv", "--strategy", "uniform", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert done.returncode == 0, done.stderr
    assert "Tasks to run" in done.stdout


def test_a_setting_given_twice_is_refused(data):
    arguments = ("--setting", "max_runs=2", "--setting", "max_runs=3")
    done = run("plan", "--network", data / "small_edges.csv", *arguments)
    assert done.exit_code == 2
    assert "only once" in done.stderr


def test_the_page_says_where_its_truth_comes_from(data, tmp_path):
    page = tmp_path / "campaign.html"
    done = run("simulate", data / "small_network.json", "--seed", "7", "--plot", page)
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert "Truth: made up from seed 7." in text
    assert "3 repeats everywhere" in text
    assert text.count("kcal/mol") >= 4


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "alchemiscale_strategist", "--version"], capture_output=True, text=True, check=True
    )
    assert "version" in done.stdout
