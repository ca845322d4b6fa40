"""What every test shares: where the real data lies, and what the header says of it."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# CI machines are slow and noisy: no deadline; and the same examples every time, so that a red run can be repeated.
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_report_header() -> str:
    if SHARED_DATA.is_dir():
        return "shared data: there, so the tests on real networks and results run"
    return "shared data: NOT there, so the tests on real networks run on the project's own small files only"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real networks and results; where CI is set, it has to be there."""
    if not SHARED_DATA.is_dir():
        message = "the folder shared/data is not beside the project"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED_DATA


@pytest.fixture(scope="session")
def data() -> Path:
    """The project's own small files, in the formats of the real ones."""
    return Path(__file__).parent / "data"
