"""From weights and what exists to what is to be done: ``plan_task_changes``.

The plan is a *level*, not a difference: it says how many Tasks of every Transformation are to be in flight, and what it
takes to get there from what is observed. Planning again from the state that a plan leaves gives an empty plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from alchemiscale_strategist.errors import InvalidWeightsError
from alchemiscale_strategist.planning.apportionment import apportion_equalized, equalize_weights
from alchemiscale_strategist.planning.models import (
    Observation,
    Reason,
    Specification,
    StrategyMode,
    TaskCreation,
    TaskKey,
    TaskPlan,
    TaskRecord,
    TaskStatus,
    TransformationKey,
    TransformationPlan,
    TransformationState,
    Weights,
)
from alchemiscale_strategist.planning.scaling import check_keys, check_normalized, scale_weight

__all__ = ["plan_task_changes"]


def plan_task_changes(observation: Observation, weights: Weights, specification: Specification) -> TaskPlan:
    """Plan which Tasks to create, action and cancel so that the network has what the weights ask for.

    For every Transformation, in this order: existing unactioned Tasks are actioned again (running, then waiting; no
    extension whose parent cannot be extended), then the missing ones are created; in full mode the excess is cancelled
    (waiting ones that nobody can claim, then waiting, then running; of each the newest first). Only Tasks that are
    actioned *and* waiting or running count.

    - A Transformation with a Task in error is *blocked*: nothing is created or actioned on it; in full mode what its
      own weight does not ask for is still cancelled.
    - One without any weight is left alone; a weight of ``None`` is a target of 0.
    - ``max_tasks_per_network`` is handed out by weight (Webster's method) after the Tasks of blocked and weightless
      Transformations and, in partial mode, whatever is actioned already.
    - All weights ``None``: the plan is ``finished``, and in full mode everything actioned is cancelled.
    - ``extends_preference`` p: with n Tasks created since the first success, e of them extensions, the next one extends
      if e + 1 ≤ p·(n + 1) and there is a completed Task, not extended yet, with exactly one result, a successful one.

    Args:
        observation: the network's Transformations and their Tasks.
        weights: normalized, 0 to 1 or ``None``; see :func:`~alchemiscale_strategist.normalize_weights`.
        specification: mode, limits, scaling and ``extends_preference``.

    Returns:
        a row for every Transformation, in the observation's order, each with its reason.

    Raises:
        InvalidWeightsError: there are no weights, or one is for no Transformation of the network.
        RejectedInputError: a weight is not normalized.

    >>> from alchemiscale_strategist import NetworkKey, TransformationKey
    >>> a, b = TransformationKey("a"), TransformationKey("b")
    >>> observation = Observation(
    ...     network=NetworkKey("n"), transformations=(TransformationState(key=a), TransformationState(key=b))
    ... )
    >>> print(plan_task_changes(observation, {a: 1.0, b: None}, Specification(max_tasks_per_network=2)))
    <TaskPlan for n: 2 Transformations, 0 → 2 Tasks in flight (create 2, action 0, cancel 0)>
    transformation  weight  have  want  create  action  cancel  reason
    a                    1     0     2       2       0       0  network_limit
    b                    –     0     0       0       0       0  satisfied
    """
    _check_weights(observation, weights)
    states = observation.transformations
    if specification.mode is StrategyMode.DISABLED:
        rows = [_kept(state, weights.get(state.key), Reason.DISABLED) for state in states]
        return TaskPlan(network=observation.network, transformations=tuple(rows))
    if all(weight is None for weight in weights.values()):
        cancels = specification.mode is StrategyMode.FULL
        rows = [_emptied(state) if cancels else _kept(state, None, Reason.FINISHED) for state in states]
        return TaskPlan(network=observation.network, transformations=tuple(rows), finished=True)
    targets = _targets(observation, weights, specification)
    rows = [
        _planned(state, weights.get(state.key), targets[state.key], specification.extends_preference)
        for state in states
    ]
    return TaskPlan(network=observation.network, transformations=tuple(rows), stalled=_why_stalled(rows))


def _check_weights(observation: Observation, weights: Weights) -> None:
    if not weights:
        raise InvalidWeightsError("there are no weights, expected one for at least one Transformation")
    check_keys(weights, observation.keys)
    for key, weight in weights.items():
        check_normalized(key, weight)


@dataclass(frozen=True, slots=True)
class _Target:
    want: int
    reason: Reason
    asks: int = 0


def _targets(
    observation: Observation, weights: Weights, specification: Specification
) -> Mapping[TransformationKey, _Target]:
    """How many Tasks each Transformation is to have in flight, limits included."""
    cancels = specification.mode is StrategyMode.FULL
    equalized = equalize_weights(weights)
    counts = _unlimited_counts(observation, equalized, specification)
    targets: dict[TransformationKey, _Target] = {}
    open_states: list[TransformationState] = []
    for state in observation.transformations:
        have = len(state.in_flight)
        if state.key not in weights:
            targets[state.key] = _Target(have, Reason.NO_WEIGHT)
        elif state.blocked:
            asks = counts[state.key]
            targets[state.key] = _Target(min(have, asks) if cancels else have, Reason.BLOCKED, asks)
        else:
            open_states.append(state)

    # Where nothing may be cancelled, what is actioned is a floor under every target.
    floors = {state.key: 0 if cancels else len(state.in_flight) for state in open_states}
    wanted = {key: max(counts[key], floor) for key, floor in floors.items()}
    if specification.max_tasks_per_network is not None:
        reserved = sum(target.want for target in targets.values())
        wanted = apportion_equalized(
            {key: equalized.get(key, 0.0) for key in floors},
            max(specification.max_tasks_per_network - reserved, 0),
            floors=floors,
            ceilings=counts,
        )
    for key, want in wanted.items():
        targets[key] = _Target(want, _reason(weights[key], count=counts[key], want=want), counts[key])
    return targets


def _unlimited_counts(
    observation: Observation, equalized: Mapping[TransformationKey, float], specification: Specification
) -> Mapping[TransformationKey, int]:
    open_weights = [equalized.get(state.key, 0.0) for state in observation.transformations if not state.blocked]
    largest = max(open_weights, default=0.0)
    return {
        state.key: scale_weight(
            equalized.get(state.key, 0.0),
            maximum=specification.max_tasks_per_transformation,
            largest=largest,
            scaling=specification.task_scaling,
        )
        for state in observation.transformations
    }


def _reason(weight: float | None, *, count: int, want: int) -> Reason:
    if want > count:
        return Reason.KEPT
    if want < count:
        return Reason.NETWORK_LIMIT
    if weight is None:
        return Reason.SATISFIED
    if weight == 0:
        return Reason.ZERO_WEIGHT
    return Reason.WEIGHT if count else Reason.SMALL_WEIGHT


def _planned(
    state: TransformationState, weight: float | None, target: _Target, extends_preference: float
) -> TransformationPlan:
    have = len(state.in_flight)
    missing = target.want - have
    by_key = {task.key: task for task in state.tasks}
    cancel = tuple(_cancel_order(state, by_key))[:-missing] if missing < 0 else ()
    action = tuple(_action_order(state, by_key))[:missing] if missing > 0 else ()
    missing -= len(action)
    return TransformationPlan(
        key=state.key,
        name=state.name or state.key,
        weight=weight,
        have=have,
        asks=target.asks,
        want=target.want,
        create=tuple(_creations(state, missing, extends_preference)) if missing > 0 else (),
        action=action,
        cancel=cancel,
        reason=target.reason,
        unclaimable=_unclaimable(state, by_key, without=cancel),
    )


def _cancel_order(state: TransformationState, by_key: Mapping[TaskKey, TaskRecord]) -> Iterator[TaskKey]:
    """What nobody can claim, then what waits, then what runs, and of each the newest first: the least work is lost."""
    newest_first = sorted(state.in_flight, key=_age, reverse=True)
    return (
        task.key for task in sorted(newest_first, key=lambda task: (_is_running(task), _can_be_claimed(task, by_key)))
    )


def _action_order(state: TransformationState, by_key: Mapping[TaskKey, TaskRecord]) -> Iterator[TaskKey]:
    """Running before waiting, and of either the oldest first."""
    idle = [
        task for task in state.tasks if task.status.in_flight and not task.actioned and _can_be_prepared(task, by_key)
    ]
    oldest_first = sorted(idle, key=_age)
    return (task.key for task in sorted(oldest_first, key=_is_running, reverse=True))


def _creations(state: TransformationState, number: int, extends_preference: float) -> Iterator[TaskCreation]:
    extended = {task.extends for task in state.tasks}
    parents = sorted((task for task in state.tasks if task.can_be_extended and task.key not in extended), key=_age)
    since = [task for task in state.tasks if state.first_success is not None and task.created >= state.first_success]
    created, extensions = len(since), sum(task.extends is not None for task in since)
    oldest = iter(parents)
    for _ in range(number):
        parent = None
        # A little slack, so that 0.29 · 100 is 29.
        if extensions + 1 <= extends_preference * (created + 1) + 1e-9:
            parent = next(oldest, None)
        yield TaskCreation(extends=parent.key if parent else None)
        created += 1
        extensions += parent is not None


def _unclaimable(
    state: TransformationState, by_key: Mapping[TaskKey, TaskRecord], *, without: tuple[TaskKey, ...]
) -> tuple[TaskKey, ...]:
    """Waiting Tasks that stay in flight but that no compute service can work on."""
    return tuple(task.key for task in state.in_flight if task.key not in without and not _can_be_claimed(task, by_key))


def _can_be_claimed(task: TaskRecord, by_key: Mapping[TaskKey, TaskRecord]) -> bool:
    """Whether a compute service could work on it, or does: not at weight 0, nor where its parent cannot be extended."""
    parent = by_key.get(task.extends) if task.extends is not None else None
    stuck = task.claim_weight <= 0 or (parent is not None and not parent.can_be_extended)
    return task.status is TaskStatus.RUNNING or not stuck


def _can_be_prepared(task: TaskRecord, by_key: Mapping[TaskKey, TaskRecord]) -> bool:
    """Whether a compute service could be given it: with any other parent alchemiscale's compute API answers 500."""
    if task.extends is None:
        return True
    parent = by_key.get(task.extends)
    return parent is not None and parent.can_be_extended


def _age(task: TaskRecord) -> tuple[float, TaskKey]:
    return (task.created.timestamp(), task.key)


def _is_running(task: TaskRecord) -> bool:
    return task.status is TaskStatus.RUNNING


def _kept(state: TransformationState, weight: float | None, reason: Reason) -> TransformationPlan:
    """Everything stays as it is."""
    return _planned(state, weight, _Target(len(state.in_flight), reason), extends_preference=0.0)


def _emptied(state: TransformationState) -> TransformationPlan:
    """Everything leaves the TaskHub, Tasks in error included: nobody is to work on this network any more."""
    return TransformationPlan(
        key=state.key,
        name=state.name or state.key,
        weight=None,
        have=len(state.in_flight),
        want=0,
        cancel=tuple(task.key for task in state.tasks if task.actioned),
        reason=Reason.FINISHED,
    )


def _why_stalled(rows: list[TransformationPlan]) -> tuple[str, ...]:
    """Nothing, if a Task will be able to run; otherwise the reasons, the most frequent first."""
    if any(row.want > len(row.unclaimable) for row in rows):
        return ()
    reasons: Counter[str] = Counter()
    for row in rows:
        if row.unclaimable:
            reasons["its waiting Tasks cannot be claimed (weight 0, or their parent cannot be extended)"] += 1
        elif row.reason is not Reason.SATISFIED:
            reasons[row.reason.sentence] += 1
    return tuple(f"{number} × {sentence}" for sentence, number in reasons.most_common())
