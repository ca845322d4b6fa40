"""All that passes need of a store: :class:`ReconcileStore` as tests."""

from __future__ import annotations

from alchemiscale_strategist.testing.applying import ApplyingContract
from alchemiscale_strategist.testing.claiming import ClaimingContract
from alchemiscale_strategist.testing.finishing import FinishingContract
from alchemiscale_strategist.testing.observing import ObservingContract

__all__ = ["ReconcileStoreContract"]


class ReconcileStoreContract(ClaimingContract, ObservingContract, ApplyingContract, FinishingContract):
    """What :class:`ReconcileStore` promises."""
