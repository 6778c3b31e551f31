"""Killed from outside until it runs again, beside the engine's own start; and fifty processes.

What is killed is the main process itself, by its pid, so that nobody is told: `docker kill` counts
as a stop by hand, after which Docker's own restart policy does nothing.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from . import beside, engines
from .apply import workload
from .base import Figure, NotMeasured, median, sketch
from .fleet import Agent, Controller
from .idle import MEASURE_S, SETTLE_S, costs, memory_kib

# Kills of each way: of so many instances in turn, so that each has run for long enough.
INSTANCES = 5
ROUNDS = 3
# The delays of `[workload.….restart]`, and after how long a run is stable, with some room. After a
# kill earlier than that the delay would be a longer one.
DELAYS = {0: 1.3, 1: 2.6}
# Docker starts its delays of 100 ms and more anew after ten seconds.
DOCKER_STABLE_S = 10.5
FACTOR = 1.2
FIFTY = 50
JITTER = "fleetctl waits up to a fifth less, so that a fleet does not start as one"


def still(ctx):
    """A program that does nothing at all, with our directory on its command line, by which the
    clean-up finds it: a shell that waits for a writer that never comes."""
    pipe = ctx.tmp / "never"
    with contextlib.suppress(FileExistsError):
        os.mkfifo(pipe)
    return ["/bin/sh", "-c", 'read line < "$0"', str(pipe)]


def process(name, words, delay_s=0, more=""):
    """The manifest of a native process."""
    return f"""
[workload.{name}]
command = {json.dumps(words)}
stop_timeout = "1s"
{more}
[workload.{name}.restart]
delay = "{delay_s}s"
"""


def directory(ctx, agent, name):
    """The instance's directory, once it runs."""
    def find():
        return next((agent.data / "instances").glob(f"{name}-*/state.json"), None)
    return ctx.wait(find, 10, f"the start of the process {name}").parent


def state(place, other_than=None):
    """What its shim wrote of the run; `None` while it is the run of that pid, or there is none."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((place / "state.json").read_text())
        if found["child"]["pid"] != other_than:
            return found
    return None


def kill_process(ctx, place, stable_s=DELAYS[0]):
    """Kills it once its run is stable: milliseconds until its shim has written that it runs."""
    now = ctx.wait(lambda: state(place), 20, "a running process")
    ctx.rest(now["started_ms"] / 1000 + stable_s - time.time())
    pid, begun = now["child"]["pid"], time.perf_counter()
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        raise NotMeasured(f"process {pid} ended by itself") from None
    ctx.wait(lambda: state(place, pid), 20, "the restart of a process", 0.0005)
    return (time.perf_counter() - begun) * 1000


def restart_floor(ctx):
    """Containers of both engines and processes, each beside what else could do it."""
    figures = []
    parts = {"docker": lambda: containers(ctx, "docker"), "podman": lambda: containers(ctx, "podman"),
             "process": lambda: processes(ctx)}
    for kind, part in parts.items():
        try:
            figures += part()
        except NotMeasured as error:
            figures.append(Figure(f"{kind}: killed → started again", None, "",
                                  note=f"not measured: {error}"))
    return figures


def ratios(kind, what, floor, ours, note="", raw=()):
    """For each delay: the median beside what is promised."""
    result = []
    for delay, took in ours.items():
        promised = FACTOR * median(floor) + delay * 1000
        base = f"{FACTOR} × {what}" + (f" + {delay} s" if delay else "")
        figures = {"killed → started again ms": sketch(took), f"{what} ms": sketch(floor, 2), **dict(raw)}
        words = "; ".join(text for text in (note, JITTER if delay else "") if text)
        result.append(Figure(f"{kind}: killed → started again, delay {delay} s, p50 ÷ ({base})",
                             median(took) / promised, "×", 1.0, figures, words))
    return result


class Containers:
    """Containers of one engine that are killed."""

    def __init__(self, ctx, engine):
        self.ctx, self.engine = ctx, engine

    def run_of(self, container):
        """(pid, when it was started) while it runs, else `None`."""
        path = f"/containers/{container}/json"
        found = self.engine.ask("GET", path, missing_is_fine=True) or {}
        now = found.get("State", {})
        if not now.get("Running") or not now.get("Pid"):
            return None
        return now["Pid"], engines.unix_time(now["StartedAt"])

    def kill(self, container, stable_s):
        """Kills its main process once it has run for so long: when that was."""
        pid, started = self.ctx.wait(lambda: self.run_of(container), 20, "a running container", 0.02)
        self.ctx.rest(started + stable_s - time.time())
        begun = time.time()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            raise NotMeasured("a container ended by itself, or its pid is not one of this "
                              "machine") from None
        return begun

    def started_after(self, begun, container_of):
        """Milliseconds from `begun` until the engine started it, on the engine's clock."""
        def again():
            container = container_of()
            now = container and self.run_of(container)
            return now and now[1] > begun and now[1]
        moment = self.ctx.wait(again, 30, f"the restart of a container on {self.engine.name}", 0.02)
        return (moment - begun) * 1000

    def floor(self, container):
        """(Milliseconds until the engine knew that it was dead, of the engine's own start)."""
        begun = self.kill(container, 0.3)
        self.ctx.wait(lambda: self.run_of(container) is None, 20, "the end of a container", 0.005)
        noticed = (time.time() - begun) * 1000
        # What it does after that is not to be part of the start.
        self.ctx.rest(0.3)
        begun = time.time()
        self.engine.ask("POST", f"/containers/{container}/start")
        return noticed, self.started_after(begun, lambda: container)


def containers(ctx, kind):
    """One engine: its own start, ours with each delay, and its own restart policy, in turn."""
    engine = engines.KINDS[kind][0](ctx)
    if not engine.ways:
        raise NotMeasured(f"there is no `{kind}` command to compare with")
    way = next(iter(engine.ways))
    killed = Containers(ctx, engine)
    noticed, floor, theirs = [], [], []
    ours = {delay: [] for delay in DELAYS}
    why_not_theirs = None
    try:
        with Controller(ctx).start() as controller, \
                Agent(controller, kind, **engines.agent_flags(engine)).online() as agent:
            names = {delay: [f"d{delay}-{n}" for n in range(INSTANCES)] for delay in DELAYS}
            text = "".join(with_delay(workload(engine, name, agent.node), delay)
                           for delay, some in names.items() for name in some)
            controller.cli("apply", "-y", "--wait", "-f", controller.manifest(text))
            _, _, stopped = engine.run(way)
            others = []
            try:
                others = [beside.run_restarting(engine, way) for _ in range(INSTANCES)]
            except NotMeasured as error:
                why_not_theirs = str(error)
            for turn in range(ROUNDS * INSTANCES):
                ctx.go_on()
                dead, start = killed.floor(stopped)
                noticed.append(dead)
                floor.append(start)
                for delay, stable in DELAYS.items():
                    name = names[delay][turn % INSTANCES]
                    handle = controller.instance(name)["handle"]
                    begun = killed.kill(handle, stable)
                    ours[delay].append(killed.started_after(begun, follow(controller, name, handle)))
                if why_not_theirs is None:
                    other = others[turn % INSTANCES]
                    try:
                        begun = killed.kill(other, DOCKER_STABLE_S if kind == "docker" else 1.3)
                        theirs.append(killed.started_after(begun, lambda one=other: one))
                    except NotMeasured as error:
                        why_not_theirs = str(error)
            controller.cli("rm", "--wait", *(name for some in names.values() for name in some))
    finally:
        engine.clean()
    name = f"{kind}: killed → started again, `{way} --restart=always`, p50"
    if why_not_theirs is None:
        last = Figure(name, median(theirs), "ms", None, {"ms": sketch(theirs)},
                      "Docker waits 100 ms by itself" if kind == "docker" else "")
    else:
        last = Figure(name, None, "ms", note=f"not measured: {why_not_theirs}")
    # An engine needs a while to know of an end, which nobody can be faster than.
    least = median(noticed) + FACTOR * median(floor)
    knows = Figure(f"{kind}: killed → started again, delay 0 s, p50 ÷ (until the engine knows of the "
                   f"end + {FACTOR} × its own start)", median(ours[0]) / least, "×",
                   note="for knowing")
    return [*ratios(kind, "its own start", floor, ours,
                    raw={"killed → the engine knows it ms": sketch(noticed)}), knows, last]


def with_delay(text, delay):
    """The manifest of `apply.workload`, which has a delay of none, with another one."""
    return text.replace('delay = "0s"', f'delay = "{delay}s"')


def follow(controller, name, handle):
    """Gives the container of a workload: the one it had, and every now and then asks whether it
    has another one by now."""
    asked, current = 0, handle

    def container():
        nonlocal asked, current
        asked += 1
        if asked % 10 == 0:
            instance = controller.instance(name)
            current = instance["handle"] if instance and instance["handle"] else current
        return current
    return container


def spawn_ms(words):
    """A plain start of a program: until it has become that program."""
    begun = time.perf_counter()
    # Without close_fds Python takes vfork, and goes on after exec.
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, close_fds=False)
    took = (time.perf_counter() - begun) * 1000
    child.kill()
    child.wait()
    return took


def processes(ctx):
    """Processes: a plain start, ours with each delay, and supervisord, in turn."""
    words = still(ctx)
    floor, own, theirs = [], [], []
    ours = {delay: [] for delay in DELAYS}
    with contextlib.ExitStack() as stack:
        other = why_not = None
        try:
            other = stack.enter_context(beside.Supervisord(ctx, words, INSTANCES)).start()
        except NotMeasured as error:
            why_not = str(error)
        controller = stack.enter_context(Controller(ctx)).start()
        agent = stack.enter_context(Agent(controller, "process")).online()
        places = {}
        for delay in DELAYS:
            for n in range(INSTANCES):
                # One after another: their first starts are measured too.
                name = f"d{delay}-{n}"
                text = process(name, words, delay)
                controller.cli("apply", "-y", "--wait", "-f", controller.manifest(text))
                place = directory(ctx, agent, name)
                places[delay, n] = place
                own.append(((place / "state.json").stat().st_mtime_ns
                            - (place / "instance.json").stat().st_mtime_ns) / 1e6)
        for turn in range(ROUNDS * INSTANCES):
            floor.append(spawn_ms(words))
            for delay, stable in DELAYS.items():
                ours[delay].append(kill_process(ctx, places[delay, turn % INSTANCES], stable))
            if why_not is None:
                try:
                    theirs.append(kill_supervised(ctx, other))
                except NotMeasured as error:
                    why_not = str(error)
        controller.cli("rm", "--wait", *(f"d{delay}-{n}" for delay, n in places))
    figures = ratios("process", "a plain spawn", floor, ours,
                     "the floor is fork and exec alone, without a shim")
    # The same against what fleetctl itself needs for a first start. It writes down what to run,
    # starts the shim, and the shim writes that it runs.
    figures += [Figure(f.name, f.value, f.unit, None, f.raw, "for knowing")
                for f in ratios("process", "fleetctl's own first start", own, ours)]
    name = "process: killed → started again, supervisord, p50"
    if why_not is None:
        figures.append(Figure(name, median(theirs), "ms", None, {"ms": sketch(theirs)},
                              "it has no delay that could be set"))
    else:
        figures.append(Figure(name, None, "ms", note=f"not measured: {why_not}"))
    figures.append(Figure("process: killed → started again, systemd", None, "",
                          note=f"not measured: {beside.why_not_systemd()}"))
    return figures


def kill_supervised(ctx, other):
    """Kills one program of supervisord: milliseconds until there is another one."""
    # The oldest one. A program counts as started after a second, and with several in turn it has
    # run for longer; before that supervisord would back off.
    there = ctx.wait(lambda: len(other.programs()) == other.count and other.programs(), 20,
                     "all programs of supervisord", 0.02)
    begun = time.perf_counter()
    os.kill(min(there), signal.SIGKILL)
    ctx.wait(lambda: other.programs() - there, 20, "a restart by supervisord", 0.0005)
    return (time.perf_counter() - begun) * 1000


def private_kib(pid):
    """What no other process shares."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", rollup, re.M))


def in_mib(pss):
    return {} if pss is None else {"PSS MiB": round(pss, 2)}


def fifty(ctx):
    """Fifty processes that do nothing: the agent, its shims, and supervisord with the same."""
    words = still(ctx)
    name, beside_name = f"agent, {FIFTY} processes", f"supervisord, {FIFTY} processes"
    with contextlib.ExitStack() as stack:
        why_not = None
        watched = {}
        try:
            watched[beside_name] = stack.enter_context(beside.Supervisord(ctx, words, FIFTY)).start()
        except NotMeasured as error:
            why_not = str(error)
        controller = stack.enter_context(Controller(ctx)).start()
        agent = stack.enter_context(Agent(controller, "fifty")).online()
        watched[name] = agent
        names = [f"p{n}" for n in range(FIFTY)]
        manifest = controller.manifest("".join(process(n, words) for n in names))
        controller.cli("apply", "-y", "--wait", "-f", manifest)
        cost = costs(ctx, watched)
        places = [path.parent for path in (agent.data / "instances").glob("p*-*/state.json")]
        shims = [found["shim"]["pid"] for found in map(state, places) if found]
        if len(shims) != FIFTY:
            raise NotMeasured(f"at the end {len(shims)} of {FIFTY} shims were there")
        try:
            pss = [memory_kib(pid)[1] for pid in shims]
            private = [] if None in pss else [private_kib(pid) for pid in shims]
        except OSError as error:
            raise NotMeasured(f"a shim was gone at the end, or cannot be looked at: {error}") from None
        controller.cli("rm", "--wait", *names)
    rss, agent_pss, percent = cost[name]
    result = [
        Figure(f"{name}: RSS after {SETTLE_S} s", rss, "MiB", 8.0, in_mib(agent_pss)),
        Figure(f"{name}: CPU over {MEASURE_S} s", percent, "% of a core", 0.2),
    ]
    if None in pss:
        result.append(Figure("shim: PSS", None, "KiB", 300.0,
                             note="not measured: this kernel has no smaps_rollup"))
    else:
        raw = {"PSS KiB": sketch(pss), "private KiB": sketch(private)}
        result += [
            Figure(f"shim: PSS, median of {FIFTY}", median(pss), "KiB", 300.0, raw,
                   "the pages of the binary are shared by all that run it"),
            Figure(f"shim: PSS, most of {FIFTY}", max(pss), "KiB", 300.0),
        ]
    if why_not is not None:
        return [*result, Figure(f"{beside_name}: RSS", None, "MiB", note=f"not measured: {why_not}")]
    rss, their_pss, percent = cost[beside_name]
    return [
        *result,
        Figure(f"{beside_name}: RSS after {SETTLE_S} s", rss, "MiB", None, in_mib(their_pss),
               "it is the parent of its programs by itself; its end is theirs"),
        Figure(f"{beside_name}: CPU over {MEASURE_S} s", percent, "% of a core"),
    ]
