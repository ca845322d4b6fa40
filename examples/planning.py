"""Planning in a notebook: from a network, results and weights to what is to be run next, and why.

Run it anywhere: python planning.py
"""

from datetime import UTC, datetime, timedelta

from alchemiscale_strategist import (
    NetworkKey,
    Observation,
    Specification,
    TaskKey,
    TaskRecord,
    TaskStatus,
    TransformationState,
    normalize_weights,
    plan_task_changes,
    weights_to_counts,
)
from alchemiscale_strategist.simulation.examples import tyk2
from alchemiscale_strategist.strategies.native import ConnectivityStrategy

# A network and three real repeats of each of its Transformations ship with the package.
network, results = tyk2()

# A Strategy proposes a weight for every Transformation; of your own it may be any mapping from keys to numbers.
weights = normalize_weights(ConnectivityStrategy(max_runs=5).propose(network, results))

for scaling in ("linear", "exponential", "proportional"):
    counts = weights_to_counts(weights, max_tasks_per_transformation=4, task_scaling=scaling)
    print(f"{scaling:>12}: {sum(counts.values())} Tasks, from {min(counts.values())} to {max(counts.values())} each")

# What exists already: a running Task on the first Transformation, one in error on the second.
now = datetime(2026, 1, 1, tzinfo=UTC)
tasks = {
    0: TaskRecord(key=TaskKey("Task-1"), status=TaskStatus.RUNNING, actioned=True, created=now),
    1: TaskRecord(key=TaskKey("Task-2"), status=TaskStatus.ERROR, actioned=True, created=now + timedelta(hours=1)),
}
observation = Observation(
    network=NetworkKey("tyk2"),
    transformations=tuple(
        TransformationState(key=edge.key, name=edge.name, tasks=(tasks[number],) if number in tasks else ())
        for number, edge in enumerate(network)
    ),
)
specification = Specification(mode="full", task_scaling="proportional", max_tasks_per_network=24)
print(plan_task_changes(observation, weights, specification))
