"""What is done to the services and to the specifications, and in which order: all of it from one seed.

When something happens is up to the machine, and so is which network it hits; the order, the kinds, the places and the
values are the same for the same seed.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from alchemiscale_strategist.planning.models import Specification, StrategyMode, TaskScaling
from alchemiscale_strategist.ports import StrategyPayload

# In the order in which a pass comes by them. From "deciding" to "written" it holds the write lock of the file.
POINTS = ("claimed", "observed", "proposed", "deciding", "written", "committed")
COMMITTED = "committed"
LOCKED = ("deciding", "written")
BEFORE_THE_LOCK = ("claimed", "observed", "proposed")


class Kind(StrEnum):
    KILL = "kill"
    STOP = "stop"
    EDIT = "edit"
    """A user edits the very network that a pass is at."""


class Meanwhile(StrEnum):
    """What another service does with the network of a stopped one before that one goes on."""

    PROPOSES = "proposes"
    APPLIED = "applied"
    WAITS = "waits"
    """The stopped one holds the lock: nobody can do anything, so that its claim stays the valid one."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    kind: Kind
    service: int
    point: str
    meanwhile: Meanwhile = Meanwhile.APPLIED


@dataclass(frozen=True, kw_only=True)
class Edit:
    """``operation`` says which call; ``change`` what becomes of a specification."""

    network: int
    operation: str
    change: Callable[[Specification], Specification]
    told: str


def faults(seed: int, *, services: int, kinds: dict[Kind, float]) -> Iterator[Fault]:
    draw = random.Random(f"{seed}: faults")  # noqa: S311
    # Each in turn rather than by chance: a short run comes by all of them.
    kill_points = _in_turn(draw, POINTS)
    stops = _in_turn(
        draw,
        (
            *itertools.product(BEFORE_THE_LOCK, (Meanwhile.PROPOSES, Meanwhile.APPLIED)),
            (LOCKED[0], Meanwhile.WAITS),
        ),
    )
    edit_points = _in_turn(draw, BEFORE_THE_LOCK)
    while True:
        kind = draw.choices(list(kinds), weights=list(kinds.values()))[0]
        service = draw.randrange(services)
        match kind:
            case Kind.KILL:
                yield Fault(kind=kind, service=service, point=next(kill_points))
            case Kind.STOP:
                point, meanwhile = next(stops)
                yield Fault(kind=kind, service=service, point=point, meanwhile=meanwhile)
            case Kind.EDIT:
                yield Fault(kind=kind, service=service, point=next(edit_points))


def edits(seed: int, *, networks: int) -> Iterator[Edit]:
    draw = random.Random(f"{seed}: edits")  # noqa: S311
    while True:
        network = draw.randrange(networks)
        name = draw.choice(list(_EDITS))
        changes = _EDITS[name](draw)
        if name == "replace":
            yield Edit(network=network, operation="set", change=lambda _old, new=changes: new, told=f"{changes}")
        elif name == "drop and set again":
            yield Edit(network=network, operation="drop and set", change=lambda old: old, told=name)
        elif name == "wake":
            yield Edit(network=network, operation="wake", change=lambda old: old, told=name)
        elif callable(changes):
            yield Edit(network=network, operation="edit", change=changes, told=name)
        else:
            yield Edit(
                network=network,
                operation="edit",
                change=lambda old, new=changes: replace(old, **new),
                told=f"{changes}",
            )


def digest(seed: int, *, services: int, networks: int, kinds: dict[Kind, float]) -> str:
    """A short text that two schedules have in common exactly if they begin in the same way."""
    begins = [
        *map(repr, itertools.islice(faults(seed, services=services, kinds=kinds), 500)),
        *((edit.network, edit.told) for edit in itertools.islice(edits(seed, networks=networks), 500)),
    ]
    return hashlib.sha256(repr(begins).encode()).hexdigest()[:12]


def first_specification(draw: random.Random) -> Specification:
    return Specification(
        mode=draw.choice([StrategyMode.FULL, StrategyMode.PARTIAL]),
        max_tasks_per_transformation=draw.randint(1, 5),
        max_tasks_per_network=draw.choice(_LIMITS),
        task_scaling=draw.choice(list(TaskScaling)),
        extends_preference=draw.choice([0.0, 0.0, 0.5]),
        sleep_interval=_interval(draw),
    )


def strategy(network: int, *, flag: str) -> StrategyPayload:
    """Every second one asks for more and more until the faults are over, so that there is always a pass to disturb."""
    settings = {"repeats": 3, "weightless": network % 3 == 0, "until": flag if network % 2 == 0 else ""}
    return StrategyPayload.native("campaign", settings)


_LIMITS = (1, 2, 3, 5, 8, None)


def _interval(draw: random.Random) -> timedelta:
    return timedelta(milliseconds=draw.randint(200, 800))


_EDITS: dict[str, Callable[[random.Random], object]] = {
    "mode": lambda draw: {"mode": draw.choice([StrategyMode.FULL, StrategyMode.PARTIAL])},
    "limit of the network": lambda draw: {"max_tasks_per_network": draw.choice(_LIMITS)},
    "limit of a Transformation": lambda draw: {"max_tasks_per_transformation": draw.randint(1, 5)},
    "scaling": lambda draw: {"task_scaling": draw.choice(list(TaskScaling))},
    "interval": lambda draw: {"sleep_interval": _interval(draw)},
    "extends_preference": lambda draw: {"extends_preference": draw.choice([0.0, 0.3, 1.0])},
    "nothing": lambda _draw: {},
    "pause": lambda _draw: Specification.paused,
    "resume": lambda _draw: Specification.resumed,
    "wake": lambda _draw: None,
    "replace": first_specification,
    "drop and set again": lambda _draw: None,
}


def _in_turn(draw: random.Random, things: tuple) -> Iterator:
    while True:
        yield from draw.sample(things, len(things))
