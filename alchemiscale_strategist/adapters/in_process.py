"""A runner that calls native Strategies in this very process: quick, and without any isolation."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from alchemiscale_strategist.errors import InvalidWeightsError, RejectedInputError, StrategyError
from alchemiscale_strategist.planning.models import TransformationKey, Weights
from alchemiscale_strategist.ports import ProposalRequest, StrategyKind, StrategyPayload
from alchemiscale_strategist.strategies.native import NATIVE_STRATEGIES, NativeStrategy, make_native_strategy

__all__ = ["InProcessRunner"]


class InProcessRunner:
    """Runs native Strategies where it is called; for code that is trusted, as the ones that ship are.

    Args:
        strategies: the native Strategies that it knows, by name.
    """

    def __init__(self, strategies: Mapping[str, type[NativeStrategy]] = NATIVE_STRATEGIES) -> None:
        self._strategies = strategies

    def propose(self, request: ProposalRequest) -> Weights:
        """Return the Strategy's weights; whatever it raises becomes a :class:`StrategyError`."""
        try:
            strategy = self._load(request.strategy)
            # Copied in here, so that a mapping of the Strategy's own cannot fail anywhere else.
            return dict(_checked_mapping(strategy.propose(request.inputs.network, request.inputs.results)))
        except StrategyError:
            raise
        except (Exception, SystemExit) as error:
            told = traceback.format_exception_only(error)[-1].strip()
            raise StrategyError(
                f"the Strategy {request.strategy.name!r} raised {told}",
                error_type=type(error).__name__,
                details=traceback.format_exc(),
                remedy="Mend the Strategy and set it again, or wake it when the cause is gone.",
            ) from error

    def _load(self, payload: StrategyPayload) -> NativeStrategy:
        if payload.kind is not StrategyKind.NATIVE:
            raise StrategyError(
                f"the Strategy {payload.name!r} is a gufe object, and this service runs native ones only",
                remedy=f"Set a native Strategy: {', '.join(sorted(self._strategies))}.",
            )
        try:
            return make_native_strategy(payload.name, payload.settings(), strategies=self._strategies)
        except RejectedInputError as error:
            raise StrategyError(
                f"the Strategy {payload.name!r} cannot be made: {error}",
                error_type=type(error).__name__,
                remedy="Set it again with settings that it accepts.",
            ) from error


def _checked_mapping(weights: object) -> Mapping[TransformationKey, float | None]:
    if isinstance(weights, Mapping):
        return weights
    raise InvalidWeightsError(f"the Strategy returned {type(weights).__name__}, expected a mapping of keys to weights")
