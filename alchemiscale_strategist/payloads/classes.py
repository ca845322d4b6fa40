"""Classes by name, and lists of those that an operator allows."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from alchemiscale_strategist.errors import RejectedInputError

__all__ = ["STRATOCASTER_CLASSES", "AllowedClasses", "ClassName"]

_DOTTED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class ClassName:
    """A class by its module and qualname: text that is compared exactly, and never imported.

    Args:
        module: the dotted name of the module in which the class is defined.
        qualname: the class's ``__qualname__``.

    Raises:
        RejectedInputError: not ASCII identifiers joined by dots.

    >>> str(ClassName(module="mypackage.strategies", qualname="Greedy"))
    'mypackage.strategies:Greedy'
    """

    module: str
    qualname: str

    def __post_init__(self) -> None:
        names: dict[str, object] = {"module": self.module, "qualname": self.qualname}
        for name, value in names.items():
            if not isinstance(value, str) or not _DOTTED_NAME.fullmatch(value):
                raise RejectedInputError(field=name, value=value, expected="ASCII identifiers joined by dots")

    @classmethod
    def parse(cls, text: str) -> ClassName:
        """Read the form ``package.module:QualName``.

        Raises:
            RejectedInputError: the text has another form.

        >>> ClassName.parse("mypackage.strategies:Greedy")
        ClassName(module='mypackage.strategies', qualname='Greedy')
        >>> ClassName.parse("mypackage.strategies.Greedy")
        Traceback (most recent call last):
        ...
        alchemiscale_strategist.errors.RejectedInputError: class: got 'mypackage.strategies.Greedy', expected ...
        """
        module, colon, qualname = text.partition(":")
        if not (colon and _DOTTED_NAME.fullmatch(module) and _DOTTED_NAME.fullmatch(qualname)):
            raise RejectedInputError(field="class", value=text, expected="the form 'package.module:QualName'")
        return cls(module=module, qualname=qualname)

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowedClasses:
    """The classes that a payload may name. Two of these are joined by ``|``.

    Args:
        strategies: classes of which a submitted Strategy may be.
        parts: classes that may stand inside one: their settings.

    Raises:
        RejectedInputError: a member is no :class:`ClassName`.

    >>> mine = AllowedClasses.parse(strategies=["mypackage:Greedy"], parts=["mypackage:GreedySettings"])
    >>> sorted(str(name) for name in (STRATOCASTER_CLASSES | mine).strategies)
    ['mypackage:Greedy', 'stratocaster.strategies.connectivity:ConnectivityStrategy',
     'stratocaster.strategies.radialgrowth:RadialGrowthStrategy']
    """

    strategies: frozenset[ClassName] = frozenset()
    parts: frozenset[ClassName] = frozenset()

    def __post_init__(self) -> None:
        fields: dict[str, object] = {"strategies": self.strategies, "parts": self.parts}
        for name, members in fields.items():
            if not isinstance(members, frozenset) or not all(isinstance(member, ClassName) for member in members):
                raise RejectedInputError(field=name, value=members, expected="a frozenset of ClassName")

    @classmethod
    def parse(cls, *, strategies: Collection[str] = (), parts: Collection[str] = ()) -> AllowedClasses:
        """Read an operator's lists of ``package.module:QualName``.

        Raises:
            RejectedInputError: one text where a list belongs, or a text of another form.
        """
        for name, texts in (("strategies", strategies), ("parts", parts)):
            if isinstance(texts, str):
                raise RejectedInputError(field=name, value=texts, expected="a list of texts")
        return cls(
            strategies=frozenset(ClassName.parse(text) for text in strategies),
            parts=frozenset(ClassName.parse(text) for text in parts),
        )

    def __or__(self, other: AllowedClasses) -> AllowedClasses:
        if not isinstance(other, AllowedClasses):
            return NotImplemented
        return AllowedClasses(strategies=self.strategies | other.strategies, parts=self.parts | other.parts)


STRATOCASTER_CLASSES = AllowedClasses.parse(
    strategies=[
        "stratocaster.strategies.connectivity:ConnectivityStrategy",
        "stratocaster.strategies.radialgrowth:RadialGrowthStrategy",
    ],
    parts=[
        "stratocaster.strategies.connectivity:ConnectivityStrategySettings",
        "stratocaster.strategies.radialgrowth:RadialGrowthStrategySettings",
    ],
)
"""The strategies of stratocaster with their settings."""
