"""What it costs when nothing happens: memory, processor, wire."""

import contextlib
import re
import time
from pathlib import Path

from . import engines
from .apply import workload
from .base import Figure, NotMeasured
from .fleet import Agent, Controller
from .network import Network

SETTLE_S = 60
MEASURE_S = 60
WIRE_S = 180
CONTAINERS = 20


def memory_kib(pid):
    """(VmRSS, Pss) in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    rss = int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M).group(1))
    with contextlib.suppress(OSError, AttributeError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return rss, int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M).group(1))
    return rss, None


def cpu_seconds(pid):
    """Of all threads, ended ones too, by the scheduler's count: the ticks of utime and stime are
    a third of what is allowed here."""
    # CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


def costs(ctx, processes):
    """After a minute of rest: {name: (RSS MiB, PSS MiB, % of a core over the next minute)}."""
    ctx.rest(SETTLE_S)
    memory = {name: memory_kib(p.pid) for name, p in processes.items()}
    before = {name: (time.monotonic(), cpu_seconds(p.pid)) for name, p in processes.items()}
    ctx.rest(MEASURE_S)
    result = {}
    for name, process in processes.items():
        if process.child.poll() is not None:
            raise NotMeasured(f"{name} ended: {process.last_words()}")
        then, used = before[name]
        percent = (cpu_seconds(process.pid) - used) / (time.monotonic() - then) * 100
        rss, pss = memory[name]
        result[name] = (rss / 1024, pss and pss / 1024, percent)
    return result


def figures_of(name, cost, rss_limit, cpu_limit):
    rss, pss, percent = cost
    raw = {"RSS MiB": round(rss, 2), "PSS MiB": pss and round(pss, 2)}
    return [
        Figure(f"{name}: RSS after {SETTLE_S} s", rss, "MiB", rss_limit, raw),
        Figure(f"{name}: CPU over {MEASURE_S} s", percent, "% of a core", cpu_limit,
               {"CPU ms": round(percent * MEASURE_S * 10, 1)}),
    ]


def empty(ctx):
    """A controller with its broker, an agent without an engine, and one with Docker."""
    with contextlib.ExitStack() as stack:
        controller = stack.enter_context(Controller(ctx)).start()
        processes = {"idle controller with broker": controller}
        alone = Agent(controller, "alone")
        processes["idle agent, no engine"] = stack.enter_context(alone).online()
        with contextlib.suppress(NotMeasured):
            engine = engines.docker(ctx)
            beside = Agent(controller, "beside", **engines.agent_flags(engine))
            processes["idle agent, beside docker"] = stack.enter_context(beside).online()
        cost = costs(ctx, processes)
    result = []
    for name in processes:
        result += figures_of(name, cost[name], 12.0 if "controller" in name else 6.0, 0.05)
    if len(processes) < 3:
        result.append(Figure("idle agent, beside docker", None, "", note="docker does not answer"))
    return result


def twenty(ctx):
    """An agent with twenty running containers on Docker."""
    engine = engines.docker(ctx)
    name = f"agent, {CONTAINERS} containers on docker"
    try:
        with Controller(ctx).start() as controller, \
                Agent(controller, "busy", **engines.agent_flags(engine)).online() as agent:
            names = [f"c{n}" for n in range(CONTAINERS)]
            manifest = controller.manifest("".join(workload(engine, n, agent.node) for n in names))
            controller.cli("apply", "-y", "--wait", "-f", manifest)
            cost = costs(ctx, {name: agent})[name]
            running = controller.node(agent.node)["running"]
            if running != CONTAINERS:
                raise NotMeasured(f"at the end only {running} of {CONTAINERS} ran")
            controller.cli("rm", "--wait", *names)
    finally:
        engine.clean()
    return figures_of(name, cost, None, 0.1)


def wire(ctx):
    """IP bytes of one idle node and minute, TCP and TLS included, between two namespaces."""
    with Network(ctx, 2) as net:
        home, board = net.machines
        with Controller(ctx, netns=home, host=net.address(0)).start() as controller, \
                Agent(controller, "wire", netns=board).online() as agent:
            ctx.rest(15)
            minutes, (begun, packets_begun) = [], net.counted(1)
            last, left = begun, WIRE_S
            while left > 0:
                ctx.rest(60)
                left -= 60
                now, packets = net.counted(1)
                minutes.append(now - last)
                last = now
            if not agent.is_online():
                raise NotMeasured("the node was not online at the end")
    raw = {"bytes in each minute": minutes, "packets": packets - packets_begun}
    return [Figure(f"wire per idle node and minute, over {WIRE_S} s", (last - begun) / WIRE_S * 60,
                   "bytes", 2200, raw, "IP bytes in both directions; no ARP, no IPv6")]
