"""Starts the services and the compute, does to them what the schedule says, and checks what they leave behind."""

import json
import queue
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from alchemiscale_strategist.adapters.clock import SystemClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.planning.models import StrategyMode, StrategyStatus
from alchemiscale_strategist.testing import star_network
from tests.campaign import schedule, trace
from tests.campaign.schedule import COMMITTED, POINTS, Fault, Kind, Meanwhile

ROOT = Path(__file__).resolve().parents[2]
# Long enough on any machine; reached only where something is wrong.
PATIENCE = 30.0
# Another service needs no longer to come by; if it does, it is because a user paused the network meanwhile.
TAKEOVER = 6.0
STARTED = "ready"
# Tasks of a user on a Transformation that the Strategy leaves alone.
RESERVED = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    seed: int
    seconds: float = 60.0
    kills: int = 0
    stops: int = 0
    edits: int = 200
    networks: int = 50
    services: int = 2
    passes: int = 3
    lease: float = 1.5
    kinds: dict[Kind, float] = field(default_factory=lambda: {Kind.KILL: 8, Kind.STOP: 1.5, Kind.EDIT: 2})
    without: tuple[str, ...] = ()

    @property
    def longest(self) -> float:
        """When the faults end at the latest, whatever is missing."""
        return 60 + 1.5 * self.seconds + 2 * self.kills + 15 * self.stops


class Violations:
    def __init__(self):
        self._lock = threading.Lock()
        self.found = []

    def add(self, kind, told):
        with self._lock:
            self.found.append((kind, told))


class Child:
    """A process of ours: lines of JSON come from it, lines of text go to it."""

    def __init__(self, module, log, **options):
        values = [text for name, value in options.items() for text in (f"--{name}", *_texts(value))]
        self.name = options.get("owner", module)
        self._log = Path(log).open("ab")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *values],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._messages = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._messages.put(json.loads(line))
        self._messages.put({"kind": "gone"})

    def send(self, *words):
        try:
            self._process.stdin.write(" ".join(words) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is found to be gone when it is waited for

    def message(self, *kinds, patience=PATIENCE, give_up=lambda: False):
        """The next message of these kinds; ``None`` where none comes in time, or the process is gone."""
        deadline = time.monotonic() + patience
        while not give_up():
            try:
                message = self._messages.get(timeout=max(min(0.05, deadline - time.monotonic()), 0.001))
            except queue.Empty:
                if time.monotonic() > deadline:
                    return None
                continue
            if message["kind"] in kinds:
                return message
            if message["kind"] == "gone":
                self._messages.put(message)
                return None
        return None

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        return self.wait()

    def wait(self, patience=PATIENCE):
        """The exit status; ``None`` where it does not end."""
        try:
            self._process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=patience)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            # What was not sent any more is of no interest.
            with suppress(BrokenPipeError):
                stream.close()
        return self._process.returncode


def _texts(value):
    return [str(each) for each in value] if isinstance(value, tuple) else [str(value)]


class Users:
    """Who edits the specifications, one edit at a time, and knows what has to stand there."""

    def __init__(self, store, networks, violations, *, seed, flag):
        self._store = store
        self._networks = networks
        self._violations = violations
        self._lock = threading.Lock()
        self._edits = schedule.edits(seed, networks=len(networks))
        self._expected = {}
        self.log = []
        draw = random.Random(f"{seed}: specifications")  # noqa: S311
        for number, network in enumerate(networks):
            strategy = schedule.strategy(number, flag=flag)
            specification = schedule.first_specification(draw)
            store.set_strategy(network, strategy, specification)
            self._expected[network] = (strategy, specification, store.get_strategy(network).generation)

    def edit(self, network=None):
        """Do the next edit of the schedule, to ``network`` if it is given."""
        with self._lock:
            edit = next(self._edits)
            self._do(edit.operation, edit.change, edit.told, network or self._networks[edit.network])

    def let_all_go_on(self):
        """Edit what is paused, or has no place beside the Tasks that nobody takes: it never became dormant."""
        with self._lock:
            for network, (_, specification, _) in self._expected.items():
                if specification.mode is StrategyMode.DISABLED:
                    self._do("edit", lambda old: old.resumed(), "resume", network)
                if (specification.max_tasks_per_network or RESERVED + 1) <= RESERVED:
                    self._do("edit", lambda old: replace(old, max_tasks_per_network=5), "raise the limit", network)

    def check_all(self):
        with self._lock:
            for network in self._networks:
                self._check(network, "at the end")

    def _do(self, operation, change, told, network):
        strategy, specification, _ = self._expected[network]
        self._check(network, f"before {told}")
        wanted = change(specification)
        if operation == "set":
            self._store.set_strategy(network, strategy, wanted)
        elif operation == "drop and set":
            self._store.drop_strategy(network)
            self._store.set_strategy(network, strategy, wanted)
        elif operation == "wake":
            self._store.wake(network)
        else:
            given = self._store.edit_specification(network, change)
            if given != wanted:
                self._violations.add("edit lost", f"{network}: {told} gave {given}, not {wanted}")
        self.log.append((network, told))
        generation = self._store.get_strategy(network).generation
        if generation <= self._expected[network][2]:
            self._violations.add("edit lost", f"{network}: {told} left the generation at {generation}")
        self._expected[network] = (strategy, wanted, generation)
        self._check(network, f"after {told}")

    def _check(self, network, when):
        record = self._store.get_strategy(network)
        found = None if record is None else (record.strategy, record.specification, record.generation)
        if found != self._expected[network] or record.problems:
            self._violations.add("edit lost", f"{network}, {when}: {found}, not {self._expected[network]}")


class Campaign:
    """One run over one file in ``folder``; :meth:`run` does it all."""

    def __init__(self, settings, folder, tell):
        self._settings = settings
        self._folder = folder
        self._tell = tell
        self._path = folder / "store.db"
        self._flag = folder / "faults-are-over"
        self._log = folder / "services.log"
        self._started = 0
        self._children = []
        self._services = []
        self._over = threading.Event()
        self.violations = Violations()
        self.kills = Counter()
        self.stops = Counter()
        self.stale = 0
        self.overtaken_by_edits = 0
        self._silent = []

    def run(self):
        settings = self._settings
        facts = {"services": settings.services, "networks": settings.networks, "kinds": settings.kinds}
        self._tell(
            f"seed {settings.seed}: {settings.networks} networks, {settings.services} services, lease "
            f"{settings.lease} s; schedule {schedule.digest(settings.seed, **facts)}"
            + (f"; WITHOUT the check of {', '.join(settings.without)}" if settings.without else "")
        )
        with SQLiteStore(self._path, clock=SystemClock(), durable=False) as store:
            self._raw = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            with closing(self._raw), self._all_ended():
                self._run(store)
        return self._report()

    def _run(self, store):
        self._raw.execute(trace.TABLE)
        self._raw.execute(trace.INDEX)
        self._networks = [self._add_network(store, number) for number in range(self._settings.networks)]
        self._users = Users(store, self._networks, self.violations, seed=self._settings.seed, flag=str(self._flag))
        options = {"store": self._path, "seed": self._settings.seed, "flag": self._flag}
        compute = self._child("tests.campaign.compute", self._folder / "compute.log", options)
        self._services = [self._service(slot) for slot in range(self._settings.services)]
        users = threading.Thread(target=self._edit_now_and_then, daemon=True)
        users.start()
        began = time.monotonic()
        try:
            self._disturb(began)
        finally:
            self._over.set()
            users.join(PATIENCE)
        faults_took = time.monotonic() - began
        self._users.let_all_go_on()
        self._flag.touch()
        # Without one of its checks a store may be beyond repair; what has been found is enough.
        patience = 0 if self._settings.without else 3 * PATIENCE
        awake = self._wait(lambda: _not_dormant(store), patience=patience, enough=lambda names: not names)
        if awake and not self._settings.without:
            self.violations.add("not dormant", f"after the faults not all became dormant: {awake}")
        took = time.monotonic() - began - faults_took
        self._tell(f"faults for {faults_took:.0f} s, {len(awake) or 'none'} not dormant {took:.1f} s after them")
        self._stop_all(compute)
        self._check(store)

    def _add_network(self, store, number):
        graph = star_network(4, name=f"campaign {number:02}")
        store.add_network(graph)
        if number % 3 == 0:
            # Tasks of a user where the Strategy gives no weight; no compute service takes them.
            key = graph.transformations[0].key
            for _ in range(RESERVED):
                task = f"Task-{uuid.uuid4().hex}"
                self._raw.execute(
                    "INSERT INTO task (key, transformation, status, created) VALUES (?, ?, 'waiting', 0)", (task, key)
                )
                self._raw.execute("INSERT INTO action VALUES (?, ?, 0)", (task, graph.key))
        return graph.key

    # Processes

    def _child(self, module, log, options):
        child = Child(module, log, **options)
        self._children.append(child)
        if child.message(STARTED) is None:
            raise RuntimeError(f"{child.name} did not start; see {log}")
        return child

    def _service(self, slot):
        self._started += 1
        options = {
            "store": self._path,
            "owner": f"service-{slot}-{self._started}",
            "lease": self._settings.lease,
            "passes": self._settings.passes,
        }
        if self._settings.without:
            options["without"] = self._settings.without
        return self._child("tests.campaign.worker", self._log, options)

    @contextmanager
    def _all_ended(self):
        try:
            yield
        finally:
            for child in self._children:
                child.kill()

    def _stop_all(self, compute):
        for service in self._services:
            service.send("stop")
        for service in self._services:
            status = service.wait()
            if status != 0:
                self.violations.add("service", f"{service.name} was told to stop and ended with {status}")
        compute.send("stop")
        if (status := compute.wait()) != 0:
            self.violations.add("compute", f"ended with {status}")

    # Faults

    def _disturb(self, began):
        settings = self._settings
        coming = schedule.faults(settings.seed, services=settings.services, kinds=settings.kinds)
        while True:
            lasted = time.monotonic() - began
            enough = (
                lasted >= settings.seconds
                and self.kills.total() >= settings.kills
                and self.stale >= settings.stops
                and len(self._users.log) >= settings.edits
                and (not settings.without or self._found_out())
            )
            if enough:
                return
            if lasted > settings.longest:
                self.violations.add("too slow", f"not all faults in {settings.longest:.0f} s")
                return
            self._do(next(coming))

    def _do(self, fault: Fault):
        service = self._services[fault.service]
        quiet = fault.kind is Kind.STOP and fault.meanwhile is not Meanwhile.WAITS
        service.send("halt", fault.point, "quiet" if quiet else "loud", "-")
        at = service.message("at")
        if at is None:
            self.violations.add("service", f"{service.name} came by no {fault.point!r} in {PATIENCE} s, or ended")
            service.kill()
            self._services[fault.service] = self._service(fault.service)
            return
        match fault.kind:
            case Kind.KILL:
                self._kill(fault, service, at)
            case Kind.STOP:
                self._stop(fault, service, at)
            case Kind.EDIT:
                self._users.edit(at["network"])
                service.send("go")
                self._ended(service)
                self._silent.append((at, "although its network was edited before"))
                self.overtaken_by_edits += 1

    def _kill(self, fault, service, at):
        status = service.kill()
        if status != -signal.SIGKILL:
            self.violations.add("service", f"{service.name} ended with {status} before it was killed")
        self.kills[fault.point] += 1
        self._services[fault.service] = self._service(fault.service)
        if fault.point != COMMITTED:
            self._silent.append((at, f"although it was killed at {fault.point!r}"))
        elif not self._traced(at):
            self.violations.add("not atomic", f"{at} was committed, and has left nothing")

    def _stop(self, fault, service, at):
        service.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        network, fence = at["network"], at["fence"]
        others = [other for other in self._services if other is not service]
        next_one = None
        if fault.meanwhile is Meanwhile.PROPOSES:
            for other in others:
                other.send("halt", "proposed", "loud", network)
        if fault.meanwhile is not Meanwhile.WAITS:
            taken = self._wait(lambda: self._fence(network) > fence, patience=self._settings.lease + TAKEOVER)
            if taken and fault.meanwhile is Meanwhile.APPLIED:
                self._wait(lambda: self._newest_applied(network) > fence, patience=TAKEOVER)
        else:
            taken = False
        if fault.meanwhile is Meanwhile.PROPOSES:
            next_one = self._first_at(others, patience=TAKEOVER if taken else 0)
        # However soon somebody came, it was stopped for longer than its lease.
        self._wait(lambda: time.monotonic() > stopped + self._settings.lease + 0.2)
        service.send("go")
        service.signal(signal.SIGCONT)
        self._ended(service)
        if next_one is not None:
            next_one.send("go")
            self._ended(next_one)
        self.stops[f"{fault.point}, the other {fault.meanwhile}"] += 1
        if taken:
            self.stale += 1
            self._silent.append((at, "although its lease was over and the network claimed by another"))

    def _first_at(self, others, *, patience):
        """Who of the others was halted; the rest are let go on."""
        deadline = time.monotonic() + patience
        halted = None
        while halted is None:
            halted = next((other for other in others if other.message("at", patience=0.01)), None)
            if time.monotonic() > deadline:
                break
        for other in others:
            if other is halted:
                continue
            other.send("disarm")
            answer = other.message("at", "disarmed")
            if answer is not None and answer["kind"] == "at":
                other.message("disarmed")
                if halted is None:
                    halted = other
                else:
                    other.send("go")
                    self._ended(other)
        return halted

    def _ended(self, service):
        if service.message("ended") is None:
            self.violations.add("service", f"{service.name} did not end a pass in {PATIENCE} s after it was let go on")

    def _edit_now_and_then(self):
        settings = self._settings
        draw = random.Random(f"{settings.seed}: times of edits")  # noqa: S311
        # A little faster than needed, as an edit takes some time.
        pause = 0.85 * settings.seconds / max(settings.edits, 1)
        while not self._over.wait(draw.uniform(0, 2 * pause)):
            self._users.edit()

    # What is kept

    def _fence(self, network):
        return self._raw.execute("SELECT fence FROM network WHERE key = ?", (network,)).fetchone()[0]

    def _newest_applied(self, network):
        query = "SELECT ifnull(max(fence), 0) FROM campaign_trace WHERE network = ?"
        return self._raw.execute(query, (network,)).fetchone()[0]

    def _traced(self, at):
        query = "SELECT count(*) FROM campaign_trace WHERE network = ? AND fence = ?"
        return self._raw.execute(query, (at["network"], at["fence"])).fetchone()[0]

    def _wait(self, look, *, patience=3 * PATIENCE, enough=bool):
        """Look again and again until it is enough, or the time is over; return what was seen last."""
        deadline = time.monotonic() + patience
        pause = threading.Event()
        while not enough(seen := look()) and time.monotonic() < deadline:
            pause.wait(0.02)
        return seen

    def _traces(self):
        cursor = self._raw.execute("SELECT * FROM campaign_trace ORDER BY id")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _found_out(self):
        """Whether a store that misses a check has let something through already; chance may delay it."""
        return any(True for _ in trace.violations_of(self._traces()))

    def _check(self, store):
        self._users.check_all()
        traces = self._traces()
        self.applied = len(traces)
        for kind, told in trace.violations_of(traces):
            self.violations.add(kind, told)
        for at, although in self._silent:
            if self._traced(at):
                kind = "stale holder wrote" if "lease" in although else "not atomic" if "kill" in although else "edit"
                self.violations.add(kind, f"{at['network']}: fence {at['fence']} was applied {although}")
        known = {(row["network"], row["fence"]) for row in traces}
        self._check_history(store, known)
        names = [service.name for service in self._services]
        for network, owner in self._raw.execute("SELECT key, owner FROM network WHERE owner IS NOT NULL").fetchall():
            if owner in names:
                self.violations.add("service", f"{owner} has stopped and not given back {network}")
        self._check_log()

    def _check_history(self, store, known):
        for network in self._networks:
            newest_first = list(store.iterations(network, limit=100_000))
            numbers = [record.iteration for record in newest_first]
            if numbers != list(range(len(numbers) + (numbers[-1:] or [1])[0] - 1, (numbers[-1:] or [1])[0] - 1, -1)):
                self.violations.add("history", f"{network}: the iterations are {numbers}")
            fences = [record.fence for record in newest_first]
            if fences != sorted(set(fences), reverse=True):
                self.violations.add("history", f"{network}: the fences, newest first, are {fences}")
            if missing := [fence for fence in fences if (network, fence) not in known]:
                self.violations.add("history", f"{network}: iterations of fences {missing} left no trace")

    def _check_log(self):
        self.passes = Counter()
        for line in self._log.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                # A process that is killed while it writes leaves half a line; one that fails, a traceback.
                if not line.lstrip().startswith(b"{"):
                    self.violations.add("service", f"wrote {line.decode(errors='replace')[:300]}")
                continue
            if event["event"] == "pass_ended":
                self.passes[event["result"]] += 1
            if event["event"] in {"pass_broke", "claim_failed", "claim_not_given_back"}:
                told = (event.get("traceback") or event["error"]).strip().splitlines()[-1]
                self.violations.add(event["event"], f"{event.get('network', '')}: {told}")

    def _report(self):
        tell, kills = self._tell, self.kills
        tell("kills: " + ", ".join(f"{point} {kills[point]}" for point in POINTS))
        tell("stops: " + (", ".join(f"{where} {number}" for where, number in sorted(self.stops.items())) or "none"))
        tell(f"stale holders let go on: {self.stale}; passes whose network was edited: {self.overtaken_by_edits}")
        passes = ", ".join(f"{result} {number}" for result, number in sorted(self.passes.items()))
        tell(f"passes of which we heard: {passes}; applied in all: {self.applied}")
        found = self.violations.found
        if found:
            tell("violations: " + ", ".join(f"{kind} {n}" for kind, n in Counter(kind for kind, _ in found).items()))
            for kind, told in found[:30]:
                tell(f"  {kind}: {told}")
        tell(
            f"{kills.total()} kills, {self.stops.total()} stops, {len(self._users.log)} edits, {len(found)} violations"
        )
        return not found


def _not_dormant(store):
    return sorted(
        f"{record.network_name} ({record.health.status})"
        for record in store.list_strategies()
        if record.health.status is not StrategyStatus.DORMANT
    )
