"""The scripts in ``examples`` run as they are, from anywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def printed_by(script, folder):
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "error", EXAMPLES / script],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=folder,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not list(folder.iterdir())
    return done.stdout


def test_there_is_a_test_for_every_example():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"campaign.py", "planning.py"}


def test_planning(tmp_path):
    printed = printed_by("planning.py", tmp_path)
    assert "proportional: " in printed
    assert "32 Transformations, 1 → 24 Tasks in flight (create 23, action 0, cancel 0)" in printed
    assert "blocked" in printed


def test_campaign(tmp_path):
    header, *rows = printed_by("campaign.py", tmp_path).splitlines()
    assert header.startswith("strategy")
    assert [row[:14] for row in rows] == ["3 repeats each", "by connectivit"]
    assert all("dormant" in row and row.endswith("kcal/mol") for row in rows)


@pytest.mark.parametrize("name", ["edges.csv", "results.csv"])
def test_the_files_of_the_user_guide_are_there(name):
    assert (EXAMPLES / name).is_file()
