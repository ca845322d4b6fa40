"""Let a Strategy decide which alchemical Transformations to run next.

The public API, resolved when it is first used, so that importing the package stays quick. The planning functions are
pure and need nothing but Python:

>>> from alchemiscale_strategist import normalize_weights, weights_to_counts
>>> weights_to_counts(normalize_weights({"a": 2, "b": 1}), max_tasks_per_transformation=3, task_scaling="proportional")
{'a': 3, 'b': 2}
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemiscale_strategist.bootstrap import preview_network as preview_network
    from alchemiscale_strategist.errors import InvalidWeightsError as InvalidWeightsError
    from alchemiscale_strategist.errors import RejectedFileError as RejectedFileError
    from alchemiscale_strategist.errors import RejectedInputError as RejectedInputError
    from alchemiscale_strategist.errors import StrategistError as StrategistError
    from alchemiscale_strategist.errors import StrategyError as StrategyError
    from alchemiscale_strategist.networks import NetworkGraph as NetworkGraph
    from alchemiscale_strategist.networks import NetworkTransformation as NetworkTransformation
    from alchemiscale_strategist.planning.apportionment import Apportionment as Apportionment
    from alchemiscale_strategist.planning.apportionment import apportion as apportion
    from alchemiscale_strategist.planning.health import StrategyHealth as StrategyHealth
    from alchemiscale_strategist.planning.models import NetworkKey as NetworkKey
    from alchemiscale_strategist.planning.models import Observation as Observation
    from alchemiscale_strategist.planning.models import Reason as Reason
    from alchemiscale_strategist.planning.models import ResultsSeen as ResultsSeen
    from alchemiscale_strategist.planning.models import Specification as Specification
    from alchemiscale_strategist.planning.models import StrategyMode as StrategyMode
    from alchemiscale_strategist.planning.models import StrategyStatus as StrategyStatus
    from alchemiscale_strategist.planning.models import TaskCreation as TaskCreation
    from alchemiscale_strategist.planning.models import TaskKey as TaskKey
    from alchemiscale_strategist.planning.models import TaskPlan as TaskPlan
    from alchemiscale_strategist.planning.models import TaskRecord as TaskRecord
    from alchemiscale_strategist.planning.models import TaskScaling as TaskScaling
    from alchemiscale_strategist.planning.models import TaskStatus as TaskStatus
    from alchemiscale_strategist.planning.models import TransformationKey as TransformationKey
    from alchemiscale_strategist.planning.models import TransformationPlan as TransformationPlan
    from alchemiscale_strategist.planning.models import TransformationState as TransformationState
    from alchemiscale_strategist.planning.scaling import normalize_weights as normalize_weights
    from alchemiscale_strategist.planning.scaling import weights_to_counts as weights_to_counts
    from alchemiscale_strategist.planning.tasks import plan_task_changes as plan_task_changes
    from alchemiscale_strategist.ports import StrategyPayload as StrategyPayload
    from alchemiscale_strategist.results import NetworkResults as NetworkResults
    from alchemiscale_strategist.results import Repeat as Repeat
    from alchemiscale_strategist.results import read_results as read_results
    from alchemiscale_strategist.strategies.native import ConnectivityStrategy as ConnectivityStrategy
    from alchemiscale_strategist.strategies.native import UniformStrategy as UniformStrategy

_HOMES = {
    "bootstrap": ("preview_network",),
    "errors": (
        "InvalidWeightsError",
        "RejectedFileError",
        "RejectedInputError",
        "StrategistError",
        "StrategyError",
    ),
    "networks": ("NetworkGraph", "NetworkTransformation"),
    "planning.apportionment": ("Apportionment", "apportion"),
    "planning.health": ("StrategyHealth",),
    "planning.models": (
        "NetworkKey",
        "Observation",
        "Reason",
        "ResultsSeen",
        "Specification",
        "StrategyMode",
        "StrategyStatus",
        "TaskCreation",
        "TaskKey",
        "TaskPlan",
        "TaskRecord",
        "TaskScaling",
        "TaskStatus",
        "TransformationKey",
        "TransformationPlan",
        "TransformationState",
    ),
    "planning.scaling": ("normalize_weights", "weights_to_counts"),
    "planning.tasks": ("plan_task_changes",),
    "ports": ("StrategyPayload",),
    "results": ("NetworkResults", "Repeat", "read_results"),
    "strategies.native": ("ConnectivityStrategy", "UniformStrategy"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "__version__"])  # noqa: PLE0605 - checked against the imports above by a test


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - slow, and rarely asked for

        return version("alchemiscale-strategist")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
