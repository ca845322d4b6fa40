"""What the commands on a store share: the option that names it, and the networks in it by name or key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import click

from alchemiscale_strategist.bootstrap import EmbeddedStore, open_store
from alchemiscale_strategist.errors import UnknownNetworkError
from alchemiscale_strategist.ports import StrategyKind, StrategyRecord

__all__ = ["STORE_VARIABLE", "existing_store", "find_strategies", "find_strategy", "store_option"]

STORE_VARIABLE = "ALCHEMISCALE_STRATEGIST_STORE"

store_option = click.option(
    "--store",
    "store_file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar=STORE_VARIABLE,
    show_envvar=True,
    metavar="FILE",
    help="The store.",
)


def existing_store(path: Path) -> EmbeddedStore:
    """Open a store that is there already."""
    return open_store(path, must_exist=True)


def find_strategy(store: EmbeddedStore, name_or_key: str) -> StrategyRecord:
    """The Strategy of the network that a key or a name means; a key goes first.

    Raises:
        UnknownNetworkError: no network is called so (tells close ones), several are, or it has no Strategy.
    """
    return _find(store, store.list_strategies(), name_or_key)


def find_strategies(store: EmbeddedStore, names_or_keys: Sequence[str]) -> list[StrategyRecord]:
    """The Strategies of several networks, each once; raises as :func:`find_strategy`, and then for any of them."""
    records = store.list_strategies()
    found = [_find(store, records, name) for name in names_or_keys]
    return list({record.network: record for record in found}.values())


def _find(store: EmbeddedStore, records: Sequence[StrategyRecord], wanted: str) -> StrategyRecord:
    if with_key := [record for record in records if record.network == wanted]:
        return with_key[0]
    named = [record for record in records if record.network_name == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        keys = ", ".join(record.network for record in named)
        expected = f"a key, as {len(named)} networks have that name: {keys}"
        raise UnknownNetworkError(field="network", value=wanted, expected=expected)
    raise _unknown(store, records, wanted)


def _unknown(store: EmbeddedStore, records: Sequence[StrategyRecord], wanted: str) -> UnknownNetworkError:
    known = {record.network for record in records}
    bare = [key for key in store.network_keys() if key not in known]
    bare_names = [store.inputs(key, StrategyKind.NATIVE).network.name for key in bare]
    if wanted in bare or wanted in bare_names:
        return UnknownNetworkError(
            field="network",
            value=wanted,
            expected="a network that has a Strategy",
            remedy="Set one with: alchemiscale-strategist submit",
        )
    expected = "the name or key of a network in this store"
    names = list(dict.fromkeys([*(record.network_name for record in records), *bare_names, *known, *bare]))
    if close := difflib.get_close_matches(wanted, names, n=3):
        expected += f"; close to it: {', '.join(map(repr, close))}"
    return UnknownNetworkError(
        field="network",
        value=wanted,
        expected=expected,
        remedy="See what is there with: alchemiscale-strategist status",
    )
