"""Where in a chain something stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from alchemiscale_strategist.payloads.errors import WHOLE, shown

__all__ = ["FIELD", "Place"]

# A field becomes a keyword argument, and in Neo4j a property beside alchemiscale's own, all of which begin with "_".
FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)

_Step: TypeAlias = str | int


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in the chain; put into words only for an error."""

    entry: int
    steps: tuple[_Step, ...] = ()

    def at(self, step: _Step) -> Place:
        """The place one step further inside."""
        return Place(entry=self.entry, steps=(*self.steps, step))

    def __str__(self) -> str:
        text = f"{WHOLE}, entry {self.entry + 1}"
        if not self.steps:
            return text
        words = [
            f".{step}"
            if isinstance(step, str) and len(step) <= 40 and FIELD.fullmatch(step)
            else f"[{shown(step, 40)}]"
            for step in self.steps
        ]
        return f"{text}, {''.join(words).lstrip('.')}"
