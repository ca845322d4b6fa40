"""Contract suites that hold any adapter to the docstrings of :mod:`alchemiscale_strategist.ports`; they need pytest.

Subclass one under a name that begins with ``Test`` and give it a fixture ``world``:

.. code-block:: python

    class TestMyReconcileStore(ReconcileStoreContract):
        @pytest.fixture
        def world(self, tmp_path):
            with MyWorld(tmp_path) as world:
                yield world

The suites know no technology. They act through the ports, and see through a :class:`StoreWorld` what is really kept: a
store that tells of itself only what it should would pass any test that asks nobody else.
"""

from __future__ import annotations

import pkgutil

import pytest

# Before they are imported: pytest then says of a failed assertion what was on either side.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))

# ruff: noqa: E402 - the line above has to come first
from alchemiscale_strategist.testing.compute import ComputeStoreContract
from alchemiscale_strategist.testing.reconcile import ReconcileStoreContract
from alchemiscale_strategist.testing.results import ResultSourceContract
from alchemiscale_strategist.testing.runners import RUNNER_STRATEGIES, ProposalRunnerContract
from alchemiscale_strategist.testing.specification import SpecificationStoreContract
from alchemiscale_strategist.testing.worlds import (
    ComputeWorld,
    MovableClock,
    ResultKey,
    StoredTask,
    StoreWorld,
    StrategyStore,
    plan_of,
    sharing_networks,
    star_network,
)

__all__ = [
    "RUNNER_STRATEGIES",
    "ComputeStoreContract",
    "ComputeWorld",
    "MovableClock",
    "ProposalRunnerContract",
    "ReconcileStoreContract",
    "ResultKey",
    "ResultSourceContract",
    "SpecificationStoreContract",
    "StoreWorld",
    "StoredTask",
    "StrategyStore",
    "plan_of",
    "sharing_networks",
    "star_network",
]
