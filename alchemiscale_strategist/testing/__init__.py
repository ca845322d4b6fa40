"""Contract suites that hold any adapter to the docstrings of :mod:`alchemiscale_strategist.ports`; they need pytest.

Subclass one under a name that begins with ``Test`` and give it a fixture ``world``:

.. code-block:: python

    class TestMyReconcileStore(ReconcileStoreContract):
        @pytest.fixture
        def world(self, tmp_path):
            with MyWorld(tmp_path) as world:
                yield world
"""

from __future__ import annotations

import pytest

# Before it is imported: pytest then says of a failed assertion what was on either side.
pytest.register_assert_rewrite(f"{__name__}.stores")

from alchemiscale_strategist.testing.stores import (  # noqa: E402 - the line above has to come first
    MovableClock,
    ReconcileStoreContract,
    ResultKey,
    ResultSourceContract,
    SpecificationStoreContract,
    StoredTask,
    StoreWorld,
    StrategyStore,
    plan_of,
    sharing_networks,
    star_network,
)

__all__ = [
    "MovableClock",
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
