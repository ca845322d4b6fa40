"""Strategies that misbehave beside healthy ones: only theirs end in error, and everybody else goes on."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "isolation.py"


@pytest.fixture(scope="module")
def isolation():
    """The benchmark as a module: the test asserts on what it measures."""
    spec = importlib.util.spec_from_file_location("isolation", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_twenty_that_misbehave_put_only_themselves_into_error(isolation):
    found = isolation.measure(healthy=80, misbehaving=20, seconds=30)
    assert found.broke == []
    assert len(found.misbehaving) == 20
    for network, strategy in found.misbehaving.items():
        health = found.records[network].health
        assert health.status == "error", network
        assert health.error.type == isolation.MISBEHAVING[strategy]
        assert strategy in health.error.message
        assert health.error.remedy
        assert health.iterations == 1
    for network, record in found.records.items():
        if network not in found.misbehaving:
            assert record.health.status == "awake", (network, record.health)
            assert record.health.error is None
            # At once, and again after the interval, whatever the others do.
            assert record.health.iterations >= 2, network
