"""From a Strategy's weights to counts of Tasks.

``normalize_weights`` turns what a Strategy proposes into fractions of 1; ``weights_to_counts`` turns those into whole
numbers of Tasks. Both are pure and do not care about the order of the mapping.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar, assert_never

from alchemiscale_strategist.checks import checked_choice, is_finite_number
from alchemiscale_strategist.errors import InvalidWeightsError, RejectedInputError, shown
from alchemiscale_strategist.planning.apportionment import EQUAL_WITHIN, apportion_equalized, equalize_weights
from alchemiscale_strategist.planning.models import TaskScaling, check_limits

__all__ = ["check_keys", "check_normalized", "normalize_weights", "scale_weight", "weights_to_counts"]

Key = TypeVar("Key", bound=Hashable)


def normalize_weights(
    weights: Mapping[Key, float | None], *, transformations: Collection[Key] | None = None
) -> dict[Key, float | None]:
    """Divide the weights by the sum of those that are not ``None``; where that sum is 0 they all become 0.

    ``None`` (the stop condition is met) stays ``None``. These are the numbers that stratocaster 0.2 resolves, to the
    last bit, and 0 where its ``StrategyResult.resolve()`` divides by zero.

    Args:
        weights: ``None``, or finite and ≥ 0.
        transformations: the Transformations of the network, to check the keys against; ``None`` checks no key.

    Returns:
        the same keys, each with ``None`` or a number from 0 to 1.

    Raises:
        InvalidWeightsError: there is no weight, or it names the key whose weight is not acceptable.

    >>> normalize_weights({"a": 3.0, "b": 1.0, "c": None})
    {'a': 0.75, 'b': 0.25, 'c': None}
    >>> normalize_weights({"a": 0.0, "b": None})
    {'a': 0.0, 'b': None}
    >>> normalize_weights({"a": float("nan")})
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.InvalidWeightsError: the weight of 'a' is nan, expected None or a finite number ≥ 0
    """
    if not weights:
        raise InvalidWeightsError("the Strategy proposed no weights at all, expected one for every Transformation")
    if transformations is not None:
        check_keys(weights, transformations)
    given = {key: _checked_weight(key, weight) for key, weight in weights.items() if weight is not None}
    # Scaling by a power of two is exact, and keeps the sum of the largest floats finite.
    scale = 2.0**-64 if any(weight > 2.0**900 for weight in given.values()) else 1.0
    # fsum is correctly rounded, so the result does not depend on the order in which a Strategy lists its weights.
    total = math.fsum(weight * scale for weight in given.values())
    if total == 0:
        return {key: None if weight is None else 0.0 for key, weight in weights.items()}
    return {key: None if weight is None else given[key] * scale / total for key, weight in weights.items()}


def weights_to_counts(
    weights: Mapping[Key, float | None],
    *,
    max_tasks_per_transformation: int,
    max_tasks_per_network: int | None = None,
    task_scaling: TaskScaling | str = TaskScaling.EXPONENTIAL,
) -> dict[Key, int]:
    """How many Tasks of each Transformation are to be actioned at once.

    With ``w`` the weight and ``m`` the maximum per Transformation: 0 or ``None`` gives 0, 1 gives ``m``; between them
    ``linear`` gives ``int(1 + w·m)`` and ``exponential`` ``int((1 + m)**w)``, never more than ``m`` (from the
    project's design document). On more than a few Transformations both give 1 almost everywhere; ``proportional`` keeps
    what the weights say: the largest gets ``m``, the others in proportion, rounded to the nearest, halves up.

    A limit for the network is handed out by weight with these counts as ceilings, by Webster's method
    (:func:`~alchemiscale_strategist.apportion`): raising it takes a Task from nobody.

    Args:
        weights: normalized weights, ``None`` or 0 to 1; see :func:`normalize_weights`. They are not normalized again.
        max_tasks_per_transformation: ≥ 1.
        max_tasks_per_network: ≥ 1, or ``None`` for no such limit.
        task_scaling: ``"linear"``, ``"exponential"`` or ``"proportional"``.

    Returns:
        a count from 0 to ``max_tasks_per_transformation`` for every key.

    Raises:
        RejectedInputError: names the argument that is not acceptable.

    >>> weights = {"a": 0.6, "b": 0.3, "c": 0.1, "d": None}
    >>> weights_to_counts(weights, max_tasks_per_transformation=4, task_scaling="linear")
    {'a': 3, 'b': 2, 'c': 1, 'd': 0}
    >>> weights_to_counts(weights, max_tasks_per_transformation=4, task_scaling="proportional")
    {'a': 4, 'b': 2, 'c': 1, 'd': 0}
    >>> weights_to_counts(weights, max_tasks_per_transformation=4, max_tasks_per_network=4, task_scaling="proportional")
    {'a': 3, 'b': 1, 'c': 0, 'd': 0}
    """
    check_limits(max_tasks_per_transformation, max_tasks_per_network)
    scaling = checked_choice(TaskScaling, "task_scaling", task_scaling)
    for key, weight in weights.items():
        check_normalized(key, weight)
    equalized = equalize_weights(weights)
    largest = max(equalized.values(), default=0.0)
    counts = {
        key: scale_weight(
            equalized.get(key, 0.0), maximum=max_tasks_per_transformation, largest=largest, scaling=scaling
        )
        for key in weights
    }
    if max_tasks_per_network is None:
        return counts
    apportioned = apportion_equalized(equalized, max_tasks_per_network, floors={}, ceilings=counts)
    return {key: apportioned.get(key, 0) for key in weights}


def scale_weight(weight: float, *, maximum: int, largest: float, scaling: TaskScaling) -> int:
    """The count that one weight asks for, 0 to ``maximum``.

    Args:
        weight: 0 to 1.
        maximum: most Tasks of a Transformation, ≥ 1.
        largest: the weight that gets ``maximum`` with proportional scaling; the other two ignore it.
        scaling: how.

    >>> scale_weight(0.5, maximum=3, largest=0.5, scaling=TaskScaling.EXPONENTIAL)
    2
    """
    if weight == 0:
        return 0
    if weight >= 1:
        return maximum
    match scaling:
        case TaskScaling.LINEAR:
            count = int(1 + weight * maximum)
        case TaskScaling.EXPONENTIAL:
            count = int((1 + maximum) ** weight)
        case TaskScaling.PROPORTIONAL:
            # Halves go up, and so does what is a half but for rounding.
            count = math.floor(min(weight / largest, 1.0) * maximum * (1 + EQUAL_WITHIN) + 0.5) if largest else maximum
        case _:
            assert_never(scaling)
    return min(count, maximum)


def check_keys(weights: Mapping[Key, float | None], transformations: Collection[Key]) -> None:
    """Raise :class:`InvalidWeightsError` for the first key that is no Transformation of the network."""
    known = transformations if isinstance(transformations, Mapping | set | frozenset) else frozenset(transformations)
    for key in weights:
        if key not in known:
            raise InvalidWeightsError(
                f"the Strategy gave a weight to {shown(key)}, which is no Transformation of the network"
            )


def _checked_weight(key: Hashable, weight: object) -> float:
    if is_finite_number(weight) and weight >= 0:
        return float(weight)
    raise InvalidWeightsError(f"the weight of {shown(key)} is {shown(weight)}, expected None or a finite number ≥ 0")


def check_normalized(key: Hashable, weight: float | None) -> None:
    """Raise :class:`RejectedInputError` unless the weight is ``None`` or from 0 to 1."""
    if weight is not None and not (is_finite_number(weight) and 0 <= weight <= 1 + EQUAL_WITHIN):
        raise RejectedInputError(
            field=f"weights[{key!r}]",
            value=weight,
            expected="None or a number from 0 to 1",
            remedy="Pass the weights through normalize_weights() first.",
        )
