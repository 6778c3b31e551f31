"""How fast things are noticed and answered: commands, starts, kills, freezes, pulled cables."""

import contextlib
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from . import engines
from .apply import workload
from .base import Figure, NotMeasured, median, percentile, sketch
from .fleet import Agent, Controller, Events
from .network import Network

PINGS = 500
STARTS = 20
KILLS = 10


def ping(ctx):
    """Commands on one kept connection of the API, to an agent over TLS."""
    with Controller(ctx).start() as controller, Agent(controller, "ping").online() as agent:
        connection = controller.connect()
        token = controller.token
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        path = f"/api/v1/nodes/{agent.node}/command"
        took, inner = [], []
        for turn in range(PINGS + 20):
            begun = time.perf_counter()
            connection.request("POST", path, b'{"command":"ping"}', headers)
            answer = connection.getresponse()
            text = answer.read()
            took_ms = (time.perf_counter() - begun) * 1000
            if answer.status != 200 or not json.loads(text)["ok"]:
                raise NotMeasured(f"a ping was answered with {answer.status}: {text[:200]!r}")
            if turn >= 20:
                took.append(took_ms)
                inner.append(json.loads(text)["rtt_ms"])
        connection.close()
    raw = {"client ms": sketch(took, 2), "controller's own rtt_ms": sketch(inner, 2)}
    return [
        Figure("command ping by the API, p50", median(took), "ms", 3.0, raw),
        Figure("command ping by the API, p99", percentile(took, 99), "ms"),
    ]


def start(ctx):
    """A node that joined before: from the start of its agent to the event that it is online."""
    engine = None
    with contextlib.suppress(NotMeasured):
        engine = engines.docker(ctx)
    flags = engines.agent_flags(engine) if engine else {}
    took, shakes = [], []
    with Controller(ctx).start() as controller, Agent(controller, "start", **flags) as agent, \
            Events(controller) as events:
        agent.online()
        for _ in range(STARTS):
            mark = events.mark()
            agent.end()
            events.wait(mark, "node_offline", agent.node, 10)
            shakes.append(controller.handshake_ms())
            mark = events.mark()
            begun = time.perf_counter()
            agent.start()
            moment, _ = events.wait(mark, "node_online", agent.node, 10)
            took.append((moment - begun) * 1000)
    beyond = median(took) - median(shakes)
    raw = {"start to online ms": sketch(took), "bare TLS handshake ms": sketch(shakes)}
    note = "with docker" if engine else "without an engine: docker does not answer"
    return [
        Figure("agent start → node online, beyond the TLS handshake", beyond, "ms", 15.0, raw, note),
        Figure("agent start → node online", median(took), "ms"),
    ]


def offline(ctx):
    """An agent killed: the last will must say so."""
    took = []
    with Controller(ctx).start() as controller, Agent(controller, "offline") as agent, \
            Events(controller) as events:
        for _ in range(KILLS):
            agent.online()
            mark = events.mark()
            begun = time.perf_counter()
            os.kill(agent.pid, signal.SIGKILL)
            moment, _ = events.wait(mark, "node_offline", agent.node, 30)
            took.append((moment - begun) * 1000)
            agent.end()
    # Each of them has to be in time, so the slowest counts.
    raw = {"ms": sketch(took)}
    return [Figure("agent killed → offline, slowest", max(took), "ms", 100.0, raw)]


def killed_container(ctx, kind):
    """A container killed from outside, with `delay = "0s"`: until the engine started it again."""
    engine = engines.KINDS[kind][0](ctx)
    took = []
    try:
        with Controller(ctx).start() as controller, \
                Agent(controller, kind, **engines.agent_flags(engine)).online() as agent, \
                Events(controller) as events:
            manifest = controller.manifest(workload(engine, "k", agent.node))
            controller.cli("apply", "-y", "--wait", "-f", manifest)
            handle = controller.instance("k")["handle"]
            for _ in range(KILLS):
                # Tries count as a row unless it has run for a second, and only the first one of
                # a row is made at once.
                ctx.rest(engine.started_at(handle) + 1.3 - time.time())
                mark, begun = events.mark(), time.time()
                engine.kill(handle)

                def again():
                    with contextlib.suppress(NotMeasured):
                        events.wait(mark, ("instance_running", "agent_started"), agent.node, 0.05, "k")
                    now = controller.instance("k")["handle"]
                    if now and engine.is_running(now) and engine.started_at(now) > begun:
                        return now
                    return None
                handle = ctx.wait(again, 20, f"the restart of a container on {kind}", 0.01)
                took.append((engine.started_at(handle) - begun) * 1000)
            controller.cli("rm", "--wait", "k")
    finally:
        engine.clean()
    return [Figure(f"{kind}: container killed → started again, slowest", max(took), "ms", 500.0,
                   {"ms": sketch(took)})]


def killed_process(ctx):
    """The same for a native process, until its shim has written that it runs."""
    took = []
    marker = ctx.tmp / f"marker-{ctx.number()}"
    marker.touch()
    with Controller(ctx).start() as controller, Agent(controller, "process").online() as agent:
        # Our directory on its command line lets the clean-up find it.
        text = f"""
[workload.k]
command = ["/usr/bin/tail", "-f", "{marker}"]
stop_timeout = "1s"
[workload.k.restart]
delay = "0s"
"""
        controller.cli("apply", "-y", "--wait", "-f", controller.manifest(text))

        def state(other_than=None):
            for path in (agent.data / "instances").glob("*/state.json"):
                with contextlib.suppress(OSError, ValueError):
                    found = json.loads(path.read_text())
                    if found["child"]["pid"] != other_than:
                        return found
            return None
        now = ctx.wait(state, 5, "the start of a process")
        for _ in range(KILLS):
            ctx.rest(now["started_ms"] / 1000 + 1.3 - time.time())
            pid, begun = now["child"]["pid"], time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            now = ctx.wait(lambda pid=pid: state(pid), 20, "the restart of a process", 0.0005)
            took.append((time.perf_counter() - begun) * 1000)
        controller.cli("rm", "--wait", "k")
    return [Figure("process killed → started again, slowest", max(took), "ms", 500.0,
                   {"ms": sketch(took)})]


def silent(ctx):
    """Two agents frozen and two cables pulled, each just after a heartbeat: the longest way."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Network(ctx, 3))
        home = net.machines[0]
        controller = stack.enter_context(
            Controller(ctx, flags=["--start-grace", "0s"], netns=home, host=net.address(0)))
        controller.start()
        events = stack.enter_context(Events(controller))
        places = [("frozen", home, None), ("frozen", home, None),
                  ("pulled", net.machines[1], 1), ("pulled", net.machines[2], 2)]
        cases = []
        for how, place, cable in places:
            agent = stack.enter_context(Agent(controller, how, netns=place))
            cases.append((how, agent.online(), cable))

        def cut(case):
            how, agent, cable = case

            def heard():
                beat = controller.node(agent.node)["heartbeat"]
                return beat["heard_ms"] if beat else 0
            before = heard()
            ctx.wait(lambda: heard() != before, 60, "a heartbeat", 0.02)
            mark, begun = events.mark(), time.perf_counter()
            if cable is None:
                os.kill(agent.pid, signal.SIGSTOP)
            else:
                net.pull_cable(cable)
            names = ("node_silent", "node_offline")
            moment, event = events.wait(mark, names, agent.node, 60)
            return how, moment - begun, event["event"]

        with ThreadPoolExecutor(len(cases)) as pool:
            ends = list(pool.map(cut, cases))
    result = []
    for how, words in (("frozen", "agent frozen → silent"), ("pulled", "cable pulled → silent")):
        took = [seconds for kind, seconds, _ in ends if kind == how]
        odd = {event for kind, _, event in ends if kind == how} - {"node_silent"}
        result.append(Figure(f"{words}, slowest", max(took), "s", 15.0, {"s": sketch(took, 2)},
                             f"told by {', '.join(odd)}" if odd else "from just after a heartbeat"))
    return result
