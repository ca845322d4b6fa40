"""Strategies are run, and fail alone: :class:`ProposalRunner` as tests, with Strategies to try one with."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from alchemiscale_strategist.errors import InvalidWeightsError, StrategyError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import TransformationKey, Weights
from alchemiscale_strategist.planning.scaling import normalize_weights
from alchemiscale_strategist.ports import GraphInputs, ProposalRequest, ProposalRunner, StrategyKind, StrategyPayload
from alchemiscale_strategist.results import NetworkResults, Repeat
from alchemiscale_strategist.strategies.native import NATIVE_STRATEGIES, NativeStrategy, NativeStrategyBase
from alchemiscale_strategist.testing.worlds import star_network

__all__ = ["RUNNER_STRATEGIES", "ProposalRunnerContract"]

_NETWORK = star_network(5)
_KEYS = tuple(edge.key for edge in _NETWORK)
_RESULTS = NetworkResults(
    transformations=_KEYS,
    repeats={
        _KEYS[0]: [Repeat(repeat=0, estimate=-1.5, uncertainty=0.1), Repeat(repeat=2, estimate=0.1 + 0.2)],
        _KEYS[3]: [Repeat(repeat=0, estimate=0.7, uncertainty=0.0)],
    },
)
# The ends of the range of a float, and numbers that lose their last bits where somebody writes too few digits.
_WEIGHTS = (0.1 + 0.2, 5e-324, 1.7976931348623157e308, 0.0, None)


@dataclass(frozen=True, kw_only=True)
class Exact(NativeStrategyBase):
    """Proposes weights that are hard to keep exactly."""

    name: ClassVar[str] = "exact"

    def propose(self, network: NetworkGraph, results: NetworkResults) -> dict[TransformationKey, float | None]:  # noqa: ARG002
        """Return them, one for each of five Transformations."""
        return dict(zip((edge.key for edge in network), _WEIGHTS, strict=True))


@dataclass(frozen=True, kw_only=True)
class Attentive(NativeStrategyBase):
    """Proposes numbers made of all that it was given."""

    name: ClassVar[str] = "attentive"

    factor: float = 1.0

    def propose(self, network: NetworkGraph, results: NetworkResults) -> dict[TransformationKey, float | None]:
        """Return sums of degrees, estimates and uncertainties, times the factor."""
        return {
            edge.key: self.factor
            * (
                network.degree(edge.node_a)
                + network.degree(edge.node_b)
                + math.fsum(abs(repeat.estimate) + (repeat.uncertainty or 0) for repeat in results.of(edge.key))
            )
            for edge in network
        }


_KEPT: dict[TransformationKey, float | None] = {}


@dataclass(frozen=True, kw_only=True)
class Possessive(NativeStrategyBase):
    """Returns a mapping that it keeps, and that cannot be changed by others."""

    name: ClassVar[str] = "possessive"

    def propose(self, network: NetworkGraph, results: NetworkResults) -> Any:  # noqa: ANN401, ARG002
        """Return the same as ever."""
        for edge in network:
            _KEPT.setdefault(edge.key, 1.0)
        return MappingProxyType(_KEPT)


class _UnprintableError(Exception):
    """An error that neither prints nor travels."""

    def __init__(self, needed: object) -> None:
        super().__init__(needed)
        self.needed = lambda: needed  # what no pickle takes

    def __str__(self) -> str:
        raise TypeError("there is no text for it")

    __repr__ = __str__


def _raise_value_error() -> None:
    raise ValueError("the flux capacitor is empty")


def _raise_unprintable() -> None:
    raise _UnprintableError(1)


def _raise_half_a_character() -> None:
    raise ValueError("half a character: \ud800")


def _raise_from_another() -> None:
    try:
        _raise_value_error()
    except ValueError as error:
        raise RuntimeError("it came to nothing") from error


def _exit() -> None:
    raise SystemExit(3)


def _recurse() -> None:
    _recurse()


def _refuse_own_weights() -> None:
    raise InvalidWeightsError("these weights are not what I meant")


_RAISING: Mapping[str, Callable[[], None]] = {
    "ValueError": _raise_value_error,
    "_UnprintableError": _raise_unprintable,
    "RuntimeError": _raise_from_another,
    "SystemExit": _exit,
    "RecursionError": _recurse,
    "InvalidWeightsError": _refuse_own_weights,
}
_MAKING: Mapping[str, Callable[[], None]] = {**_RAISING, "half a character": _raise_half_a_character}


@dataclass(frozen=True, kw_only=True)
class Raising(NativeStrategyBase):
    """Raises what it is told to, when it proposes or when it is made."""

    name: ClassVar[str] = "raising"

    what: str = "ValueError"
    when_made: bool = False

    def __post_init__(self) -> None:
        if self.when_made:
            _MAKING[self.what]()

    def propose(self, network: NetworkGraph, results: NetworkResults) -> dict[TransformationKey, float | None]:  # noqa: ARG002
        """Raise it."""
        _MAKING[self.what]()
        return {}


class _EndlessMapping(Mapping[Any, Any]):
    """Says that it has two items, and has more than there is room for."""

    def __getitem__(self, key: object) -> float:
        return 1.0

    def __iter__(self) -> Iterator[str]:
        # Not quite endless: a runner in this process has nothing to stop it.
        return (f"Transformation-{number}" for number in range(100_000))

    def __len__(self) -> int:
        return 2


class _BrokenMapping(Mapping[Any, Any]):
    """Is none when it comes to it."""

    def __getitem__(self, key: object) -> float:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)


class _UnprintableWeight:
    def __repr__(self) -> str:
        raise TypeError("there is no text for it")


_KEY = _KEYS[0]
_UNPRINTABLE = "unprintable weight"
_NONSENSE: Mapping[str, Callable[[], object]] = {
    "None": lambda: None,
    "nothing": dict,
    "list": lambda: [(_KEY, 1.0)],
    "text": lambda: _KEY,
    "number": lambda: 1.0,
    "class": lambda: dict,
    "text as weight": lambda: {_KEY: "1.0"},
    "truth as weight": lambda: {_KEY: True},
    "decimal as weight": lambda: {_KEY: Decimal(1)},
    "complex as weight": lambda: {_KEY: 1j},
    "mapping as weight": lambda: {_KEY: {_KEY: 1.0}},
    "not a number": lambda: {_KEY: math.nan},
    "infinite": lambda: {_KEY: math.inf},
    "negative": lambda: {_KEY: -1.0},
    "beyond a float": lambda: {_KEY: 10**400},
    "number as key": lambda: {0: 1.0},
    "bytes as key": lambda: {_KEY.encode(): 1.0},
    "None as key": lambda: {None: 1.0},
    "unknown key": lambda: {_KEY: 1.0, "Transformation-none": 1.0},
    "half a character as key": lambda: {"\ud800": 1.0},
    "too many": _EndlessMapping,
    "broken": _BrokenMapping,
}


@dataclass(frozen=True, kw_only=True)
class Nonsensical(NativeStrategyBase):
    """Returns what are no weights of the network's Transformations."""

    name: ClassVar[str] = "nonsensical"

    what: str = "None"

    def propose(self, network: NetworkGraph, results: NetworkResults) -> Any:  # noqa: ANN401, ARG002
        """Return it."""
        return {_KEY: _UnprintableWeight()} if self.what == _UNPRINTABLE else _NONSENSE[self.what]()


RUNNER_STRATEGIES: Mapping[str, type[NativeStrategy]] = {
    **NATIVE_STRATEGIES,
    **{each.name: each for each in (Exact, Attentive, Possessive, Raising, Nonsensical)},
}
"""What a runner under test has to know: the Strategies that ship, and those of the suite."""


class ProposalRunnerContract:
    """What :class:`ProposalRunner` promises; a subclass gives a fixture ``runner`` that knows ``RUNNER_STRATEGIES``."""

    @pytest.fixture
    def runner(self) -> ProposalRunner:
        """The runner under test."""
        raise NotImplementedError("a subclass of the contract gives a fixture `runner`")

    # Weights

    def test_weights_come_back_exactly(self, runner: ProposalRunner) -> None:
        """To the last bit, ``None`` as ``None``, in the order in which the Strategy gave them."""
        weights = runner.propose(_request("exact"))
        assert list(weights.items()) == list(zip(_KEYS, _WEIGHTS, strict=True))
        assert all(type(key) is str for key in weights)

    def test_the_strategy_sees_the_network_its_results_and_its_settings(self, runner: ProposalRunner) -> None:
        """All of them, as they are."""
        expected = Attentive(factor=0.1).propose(_NETWORK, _RESULTS)
        assert runner.propose(_request("attentive", factor=0.1)) == expected
        assert len(set(expected.values())) == 3

    @pytest.mark.parametrize("name", sorted(NATIVE_STRATEGIES))
    def test_strategies_that_ship_propose_what_they_propose(self, runner: ProposalRunner, name: str) -> None:
        """With settings left out."""
        expected = NATIVE_STRATEGIES[name].from_settings({}).propose(_NETWORK, _RESULTS)
        assert runner.propose(_request(name)) == expected

    def test_a_network_without_results_and_one_without_transformations(self, runner: ProposalRunner) -> None:
        """Both are put to the Strategy as any other."""
        for network in (_NETWORK, star_network(0)):
            results = NetworkResults(transformations=tuple(edge.key for edge in network), repeats={})
            inputs = GraphInputs(network=network, results=results)
            request = ProposalRequest(strategy=StrategyPayload.native("uniform"), inputs=inputs)
            assert runner.propose(request) == {edge.key: 1.0 for edge in network}

    def test_the_same_request_gives_the_same(self, runner: ProposalRunner) -> None:
        """And what was given out is the caller's own: emptying it changes nothing."""
        request = _request("possessive")
        first = dict(runner.propose(request))
        _emptied(runner.propose(request))
        assert runner.propose(request) == first == dict.fromkeys(_KEYS, 1.0)

    def test_the_request_stays_as_it_was(self, runner: ProposalRunner) -> None:
        """Neither running nor failing changes it."""
        for request in (_request("attentive"), _request("raising")):
            before = copy.deepcopy(request)
            _outcome(runner, request)
            assert request.strategy == before.strategy
            assert request.inputs.network == before.inputs.network
            assert dict(request.inputs.results) == dict(before.inputs.results)
            assert request.inputs.results.transformations == before.inputs.results.transformations

    def test_several_threads_at_once_get_each_their_own(self, runner: ProposalRunner) -> None:
        """Be it weights or an error."""
        requests = [_request("attentive", factor=float(number)) for number in range(12)]
        requests[5], requests[7] = _request("raising"), _request("nonsensical")
        with ThreadPoolExecutor(max_workers=6) as threads:
            outcomes = list(threads.map(lambda request: _outcome(runner, request), requests))
        for number, outcome in enumerate(outcomes):
            if number in {5, 7}:
                assert isinstance(outcome, StrategyError)
            else:
                assert outcome == Attentive(factor=float(number)).propose(_NETWORK, _RESULTS)

    # Failures

    @pytest.mark.parametrize("what", _RAISING)
    def test_what_a_strategy_raises_is_told(self, runner: ProposalRunner, what: str) -> None:
        """As a :class:`StrategyError` with the type and what to do; the runner goes on."""
        error = _error(runner, _request("raising", what=what))
        assert error.error_type == what
        assert error.remedy
        _goes_on(runner)

    def test_the_message_and_the_traceback_are_told(self, runner: ProposalRunner) -> None:
        """Who failed, with what, and where."""
        error = _error(runner, _request("raising"))
        assert "'raising'" in str(error)
        assert "ValueError: the flux capacitor is empty" in str(error)
        assert "_raise_value_error" in error.details
        assert "the flux capacitor is empty" in error.details

    def test_the_cause_is_in_the_traceback(self, runner: ProposalRunner) -> None:
        """What was raised from something else is told with it."""
        assert "the flux capacitor is empty" in _error(runner, _request("raising", what="RuntimeError")).details

    def test_an_error_that_no_database_takes_is_told(self, runner: ProposalRunner) -> None:
        """Half of a surrogate pair in a message harms nobody."""
        error = _error(runner, _request("raising", what="half a character"))
        assert "half a character" in str(error)
        assert error.error_type == "ValueError"

    @pytest.mark.parametrize("what", ["ValueError", "_UnprintableError", "SystemExit"])
    def test_a_strategy_that_cannot_be_made_is_told(self, runner: ProposalRunner, what: str) -> None:
        """Whatever its maker raises."""
        error = _error(runner, _request("raising", what=what, when_made=True))
        assert error.error_type == what
        assert error.remedy
        _goes_on(runner)

    def test_an_unknown_strategy_is_told_with_those_that_are_known(self, runner: ProposalRunner) -> None:
        """It is the user's to choose another one."""
        error = _error(runner, _request("fastest"))
        assert "'fastest'" in str(error)
        assert "uniform" in str(error)
        assert error.remedy

    @pytest.mark.parametrize("settings", [{"repeats": 0}, {"repeats": "three"}, {"repeat": 3}])
    def test_settings_that_are_not_accepted_are_told(
        self, runner: ProposalRunner, settings: Mapping[str, object]
    ) -> None:
        """The message names the setting."""
        error = _error(runner, _request("uniform", **settings))
        assert next(iter(settings)) in str(error)
        assert error.remedy

    @pytest.mark.parametrize("content", ["", "[]", "{", "null", "[" * 100_000])
    def test_settings_that_are_no_json_object_are_told(self, runner: ProposalRunner, content: str) -> None:
        """Stored rows may have been written by others."""
        payload = StrategyPayload(kind=StrategyKind.NATIVE, name="uniform", content=content)
        assert _error(runner, ProposalRequest(strategy=payload, inputs=_inputs())).remedy

    def test_a_gufe_payload_is_refused_where_only_native_ones_are_run(self, runner: ProposalRunner) -> None:
        """And is not decoded."""
        payload = StrategyPayload(kind=StrategyKind.GUFE, name="ConnectivityStrategy", content='[["key", {}]]')
        error = _error(runner, ProposalRequest(strategy=payload, inputs=_inputs()))
        assert "ConnectivityStrategy" in str(error)
        assert "uniform" in error.remedy

    @pytest.mark.parametrize("what", _NONSENSE)
    def test_nonsense_is_the_strategys_fault(self, runner: ProposalRunner, what: str) -> None:
        """The runner or the normalizing refuses it; nothing of the Strategy's own comes back; the runner goes on."""
        error = _error(runner, _request("nonsensical", what=what))
        assert error.remedy
        _goes_on(runner)

    def test_nonsense_that_cannot_be_printed_is_the_strategys_fault(self, runner: ProposalRunner) -> None:
        """The message need not show it."""
        assert _error(runner, _request("nonsensical", what=_UNPRINTABLE)).remedy
        _goes_on(runner)


def _request(name: str, **settings: object) -> ProposalRequest:
    return ProposalRequest(strategy=StrategyPayload.native(name, settings), inputs=_inputs())


def _inputs() -> GraphInputs:
    return GraphInputs(network=_NETWORK, results=_RESULTS)


def _error(runner: ProposalRunner, request: ProposalRequest) -> StrategyError:
    """What a pass would make of it: the reconciler normalizes what the runner gives."""
    with pytest.raises(StrategyError) as caught:
        normalize_weights(runner.propose(request), transformations=_KEYS)
    return caught.value


def _outcome(runner: ProposalRunner, request: ProposalRequest) -> Weights | StrategyError:
    try:
        weights = runner.propose(request)
        normalize_weights(weights, transformations=_KEYS)
    except StrategyError as error:
        return error
    return weights


def _goes_on(runner: ProposalRunner) -> None:
    assert runner.propose(_request("exact")) == dict(zip(_KEYS, _WEIGHTS, strict=True))


def _emptied(weights: Weights) -> None:
    if isinstance(weights, dict):
        weights.clear()
