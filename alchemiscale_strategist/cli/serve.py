"""``serve``: the Strategist itself, over an embedded store."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from types import FrameType

import click

from alchemiscale_strategist.bootstrap import embedded_service
from alchemiscale_strategist.cli.logs import LEVELS, make_log
from alchemiscale_strategist.service import Service, ServiceSettings

__all__ = ["serve"]

_MEBIBYTE = 2**20
_LOOK_FOR_SIGNALS = 0.2  # seconds
_LEASE_MARGIN = 60.0  # seconds on top of a proposal's time, for reading and applying


@click.command()
@click.option(
    "--store",
    "store_file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar="ALCHEMISCALE_STRATEGIST_STORE",
    show_envvar=True,
    help="The store's file; made where it is missing.",
)
@click.option("--passes", type=int, default=4, show_default=True, help="Networks that are worked on at once.")
@click.option("--time-limit", type=float, default=60.0, show_default=True, help="Seconds that a proposal may take.")
@click.option("--memory-limit", type=int, default=2048, show_default=True, help="MiB that a proposal may use.")
@click.option("--lease", type=float, help="Seconds that a claim holds.  [default: the time limit and a minute]")
@click.option(
    "--minimum-interval", type=float, default=0.0, show_default=True, help="Least seconds between two iterations."
)
@click.option(
    "--poll-interval", type=float, default=1.0, show_default=True, help="Seconds to wait when nothing is due."
)
@click.option("--in-process", is_flag=True, help="Run proposals in this process, without limits.")
@click.option("--log-json", is_flag=True, help="Write the log as JSON, one object a line.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="The least told.")
def serve(
    *,
    store_file: Path,
    passes: int,
    time_limit: float,
    memory_limit: int,
    lease: float | None,
    minimum_interval: float,
    poll_interval: float,
    in_process: bool,
    log_json: bool,
    log_level: str,
) -> None:
    """Run the Strategist: work on every network of the store whenever it is due, until stopped.

    Several may run on one store. SIGTERM or Ctrl-C: what is being applied is finished, proposals are given up, claims
    are given back; a second one ends it at once.
    """
    settings = ServiceSettings(
        passes=passes,
        lease=_seconds(time_limit + _LEASE_MARGIN if lease is None else lease),
        minimum_interval=_seconds(minimum_interval),
        poll_interval=_seconds(poll_interval),
    )
    log = make_log(as_json=log_json, level=log_level)
    with embedded_service(
        store_file,
        settings=settings,
        log=log,
        time_limit=_seconds(time_limit),
        memory_limit=memory_limit * _MEBIBYTE,
        in_process=in_process,
    ) as service:
        _stop_on_signals(service)
        _run_in_thread(service)


def _seconds(value: float) -> timedelta:
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        # Refused by whoever takes it, who names the field.
        return timedelta.max


def _run_in_thread(service: Service) -> None:
    """Run the service where it cannot keep signals waiting: a store that waits for a lock does so in C."""
    with ThreadPoolExecutor(1, thread_name_prefix="service") as thread:
        running = thread.submit(service.run)
        while not running.done():
            wait([running], timeout=_LOOK_FOR_SIGNALS)
    running.result()


def _stop_on_signals(service: Service) -> None:
    """The first signal asks the service to stop, the second one ends the process."""
    asked = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
