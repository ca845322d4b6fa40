"""What only Linux tells and does: the death of parents, orphans, and how processes look from outside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ProcessState",
    "adopt_orphans",
    "data_bytes",
    "descendants",
    "die_with_parent",
    "hide_from_same_user",
    "kill_all",
    "memory_in_use",
    "process_state",
]

# From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

_PROC = Path("/proc")
_KIBIBYTE = 1024
_STATE_FIELDS = ("Umask", "Threads", "SigBlk", "SigIgn", "SigCgt")
# Killing goes on while what is killed starts new processes, but not for ever.
_MOST_SECONDS_OF_KILLING = 5.0


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the *thread* that started it ends; ``parent`` is that thread's process."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parents end, so that none can leave the family."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_from_same_user() -> None:
    """Keep processes of the same user from reading this one's environment, memory and open files under ``/proc``.

    It leaves no core dumps either. A process with CAP_SYS_PTRACE, such as most of root's, reads them nevertheless.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def descendants(pid: int) -> list[int]:
    """All processes below one, itself not included, in no particular order; zombies are among them."""
    found: list[int] = []
    frontier = [pid]
    while frontier:
        children = _children(frontier.pop())
        found += children
        frontier += children
    return found


def kill_all(find: Callable[[], list[int]]) -> None:
    """Kill what ``find`` finds until it finds nothing, and reap those that are children of this process."""
    deadline = time.monotonic() + _MOST_SECONDS_OF_KILLING
    while (pids := find()) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            # Those that are not our children yet become so when their parents are gone.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.001)  # the kernel needs a moment to take a process apart


def data_bytes() -> int:
    """What ``RLIMIT_DATA`` counts of this process: its writable private memory, touched or not."""
    return int(_status(os.getpid())["VmData"].split()[0]) * _KIBIBYTE


def memory_in_use(pid: int) -> int:
    """Bytes of memory that a process and those below it really occupy, files that can be read again left aside.

    Pages that a fork shares with its parent count for both. A process that is gone occupies nothing.
    """
    return sum(_resident(each) for each in (pid, *descendants(pid)))


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessState:
    """How a process looks from outside, as far as a Strategy can leave traces in it."""

    status: tuple[str | None, ...]
    working_directory: str
    files: frozenset[tuple[str, str]]


def process_state(pid: int) -> ProcessState | None:
    """Return the state of a process of the same user: umask, threads, signals, directory, open files; or ``None``."""
    folder = _PROC / str(pid)
    try:
        status = _status(pid)
        return ProcessState(
            status=tuple(status.get(field) for field in _STATE_FIELDS),
            working_directory=str((folder / "cwd").readlink()),
            files=frozenset((link.name, str(link.readlink())) for link in (folder / "fd").iterdir()),
        )
    except OSError:
        return None


def _resident(pid: int) -> int:
    try:
        status = _status(pid)
    except OSError:
        return 0
    return sum(int(status[field].split()[0]) for field in ("RssAnon", "RssShmem") if field in status) * _KIBIBYTE


def _status(pid: int) -> dict[str, str]:
    # A process may call itself anything, half of a character included.
    text = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            # The thread may have ended since it was listed.
            with contextlib.suppress(OSError):
                children += map(int, (thread / "children").read_text(encoding="ascii").split())
    return children


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(each) for each in (argument, 0, 0, 0)]
    if libc.prctl(option, *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
