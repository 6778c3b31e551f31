"""What an idle agent writes to its flash in a day.

Nobody waits a day here. The kernel's count of what a process has made the disk write
(`write_bytes` of /proc/<pid>/io) is read before and after some minutes of rest, and scaled to a
day. What happens about once a day is done once, each by itself, and added: the broker goes away and
comes back, the node is asked to publish everything anew, everything is listed.

The count is in whole pages of 4 KiB, so the rest must be free of any write to meet the target: one
page in five minutes would be 1,152 KiB a day. It holds what a process writes into files and
directories; the file system's own journal is written by the kernel in nobody's name.
"""

import contextlib
import os
import re
from pathlib import Path

from . import engines
from .apply import workload
from .base import Figure, NotMeasured
from .fleet import Agent, Controller
from .machine import file_system
from .supervise import process, state, still

WORKLOADS = 20
SETTLE_S = 60
MINUTES = 5
# After an event, until everything it causes is written.
AFTER_S = 20
# The agent lists everything once a minute.
LISTING_S = 61
DAY_MINUTES = 24 * 60


def written(pid):
    """Bytes that a process (of a thread: `…/task/…`) has made the disk write since its start."""
    try:
        text = Path(f"/proc/{pid}/io").read_text()
        return int(re.search(r"^write_bytes: (\d+)$", text, re.M).group(1))
    except OSError as error:
        raise NotMeasured(f"what a process has written cannot be read: {error}") from None
    except AttributeError:
        raise NotMeasured("this kernel does not count what a process writes") from None


def is_counted(ctx):
    """Refuses where writes to our directory are not counted, as in memory: 0 would mean nothing."""
    before = written("thread-self")
    path = ctx.tmp / f"counted-{ctx.number()}"
    with open(path, "wb") as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    if written("thread-self") < before + 4096:
        raise NotMeasured(f"the kernel does not count writes to {ctx.tmp} ({file_system(ctx.tmp)}); "
                          "set TMPDIR to a directory on a disk")


class Counter:
    """Counts the agent and its shims, each from the last time that it was asked."""

    def __init__(self, agent):
        self.agent = agent
        found = [state(p.parent) for p in (agent.data / "instances").glob("*/state.json")]
        self.shims = [one["shim"]["pid"] for one in found if one]
        self.last = self.now()

    def now(self):
        if self.agent.child.poll() is not None:
            raise NotMeasured(f"the agent ended: {self.agent.last_words()}")
        return written(self.agent.pid), sum(map(written, self.shims))

    def since(self):
        """(Bytes of the agent, bytes of all shims)."""
        now, before = self.now(), self.last
        self.last = now
        return now[0] - before[0], now[1] - before[1]


def day(ctx):
    """An agent with twenty running workloads: native processes, half of them on Docker if there."""
    is_counted(ctx)
    engine = None
    with contextlib.suppress(NotMeasured):
        engine = engines.docker(ctx)
    try:
        return count_a_day(ctx, engine)
    finally:
        if engine:
            engine.clean()


def count_a_day(ctx, engine):
    words = still(ctx)
    flags = engines.agent_flags(engine) if engine else {}
    containers = WORKLOADS // 2 if engine else 0
    with Controller(ctx).start() as controller, \
            Agent(controller, "flash", **flags).online() as agent:
        names = [f"w{n}" for n in range(WORKLOADS)]
        text = "".join(
            workload(engine, name, agent.node) if n < containers else process(name, words)
            for n, name in enumerate(names))
        controller.cli("apply", "-y", "--wait", "-f", controller.manifest(text))
        ctx.rest(SETTLE_S)
        counter = Counter(agent)
        if len(counter.shims) != WORKLOADS - containers:
            raise NotMeasured(f"{len(counter.shims)} of {WORKLOADS - containers} shims are there")
        if containers and controller.node(agent.node)["running"] != WORKLOADS:
            raise NotMeasured(f"not all {WORKLOADS} workloads run")

        minutes = []
        for _ in range(MINUTES):
            ctx.rest(60)
            minutes.append(counter.since())
        events = {}
        # By itself too, though the rest had five of them.
        ctx.rest(LISTING_S)
        events["one listing"] = counter.since()
        controller.cli("command", "refresh", agent.node)
        ctx.rest(AFTER_S)
        events["one refresh"] = counter.since()
        controller.end()
        controller.start()
        # Heartbeats are in memory only: one means that the agent is connected anew.
        ctx.wait(lambda: controller.node(agent.node)["heartbeat"], 60, "the agent's reconnect", 0.1)
        ctx.rest(AFTER_S)
        events["one reconnect"] = counter.since()
        running = controller.node(agent.node)["running"]
        if running != WORKLOADS:
            raise NotMeasured(f"at the end only {running} of {WORKLOADS} ran")
        controller.cli("rm", "--wait", *names)
    return figures_of(containers, minutes, events)


def figures_of(containers, minutes, events):
    def of_a_day(which):
        rest = sum(minute[which] for minute in minutes) / MINUTES * DAY_MINUTES
        return (rest + sum(event[which] for event in events.values())) / 1024

    def raw(which):
        return {"bytes in each minute of rest": [minute[which] for minute in minutes],
                **{f"bytes of {name}": event[which] for name, event in events.items()}}
    kinds = f"{WORKLOADS - containers} processes and {containers} containers"
    note = (f"extrapolated, not a real day: write_bytes of {MINUTES} min of rest × "
            f"{DAY_MINUTES // MINUTES}, plus {', '.join(events)}; {kinds}; without the file "
            "system's own journal")
    return [
        Figure(f"agent, {WORKLOADS} workloads: written in a day", of_a_day(0), "KiB", 100.0, raw(0),
               note),
        Figure(f"shims of {WORKLOADS - containers} processes that are silent: written in a day",
               of_a_day(1), "KiB", None, raw(1), "extrapolated as the agent's; with output it is the "
               "output"),
    ]
