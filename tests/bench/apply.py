"""From `fleetctl apply` to the engine's own start time, beside `run -d` in the same loop."""

import time
from concurrent.futures import ThreadPoolExecutor

from . import engines
from .base import Figure, NotMeasured, median, sketch
from .fleet import Agent, Controller

ROUNDS = 20
AT_ONCE = 20
AT_ONCE_ROUNDS = 5


def workload(engine, name, node, more=""):
    command = ", ".join(f'"{word}"' for word in engines.COMMAND)
    # sleep, as process 1, does not end by TERM: nobody is to wait for it.
    return f"""
[workload.{name}]
image = "{engine.reference}"
pull = "never"
command = [{command}]
stop_timeout = "0s"
[workload.{name}.placement]
nodes = ["{node}"]
[workload.{name}.restart]
delay = "0s"
{more}
"""


def applied(controller, engine, node, names):
    """Applies these together: seconds until the last one was started, and until `--wait` returned.
    Takes them away again."""
    manifest = controller.manifest("".join(workload(engine, n, node) for n in names))
    begun = time.time()
    controller.cli("apply", "-y", "--wait", "-f", manifest)
    returned = time.time()
    handles = {i["workload"]: i["handle"] for i in controller.ask("GET", "/api/v1/instances")}
    started = max(engine.started_at(handles[name]) for name in names)
    controller.cli("rm", "--wait", *names)
    return started - begun, returned - begun


def compare(ctx, kind, rounds, one):
    """`rounds` times each way in turn, after one round for warmth; the samples by way."""
    engine = engines.KINDS[kind][0](ctx)
    if not engine.ways:
        raise NotMeasured(f"there is no `{kind}` command to compare with")
    samples = {}
    try:
        with Controller(ctx).start() as controller:
            with Agent(controller, kind, **engines.agent_flags(engine)).online() as agent:
                ways = [None, *engine.ways]
                for turn in range(rounds + 1):
                    # Who is first changes, so that nobody always follows the same removal.
                    shift = turn % len(ways)
                    for way in ways[shift:] + ways[:shift]:
                        ctx.go_on()
                        pair = one(controller, engine, agent.node, way, turn)
                        if turn > 0:
                            samples.setdefault(way, []).append(pair)
    finally:
        engine.clean()
    return {way: tuple(zip(*pairs)) for way, pairs in samples.items()}


def raw(samples, way):
    started, returned = ([s * 1000 for s in values] for values in samples[way])
    return {"started ms": sketch(started), "returned ms": sketch(returned)}


def figures_of(kind, what, samples, limit):
    """Like against like (both until the engine's start time), and against the command's return."""
    started, returned = samples[None]
    ours = raw(samples, None)
    result = [
        Figure(f"{kind}: {what}, until started", median(started) * 1000, "ms", raw=ours),
        Figure(f"{kind}: {what}, `apply -y --wait` returned", median(returned) * 1000, "ms"),
    ]
    for way in (w for w in samples if w is not None):
        their_start, their_return = samples[way]
        # The target is about the local client; the remote one is for knowing.
        target = None if "--remote" in way else limit
        result += [
            Figure(f"{kind}: {what} ÷ `{way}`, started ÷ started",
                   median(started) / median(their_start), "×", target, raw(samples, way)),
            Figure(f"{kind}: {what} ÷ `{way}`, started ÷ returned",
                   median(started) / median(their_return), "×", target),
            Figure(f"{kind}: {what} ÷ `{way}`, returned ÷ returned",
                   median(returned) / median(their_return), "×"),
        ]
    return result


def one_container(ctx, kind):
    """One container."""
    def one(controller, engine, node, way, turn):
        if way is None:
            return applied(controller, engine, node, [f"b{turn}"])
        started, returned, container = engine.run(way)
        engine.remove(container)
        return started, returned

    samples = compare(ctx, kind, ROUNDS, one)
    return figures_of(kind, "apply of one", samples, engines.KINDS[kind][1])


def twenty(ctx, kind):
    """Twenty at once: one manifest, and twenty clients side by side."""
    def one(controller, engine, node, way, turn):
        if way is None:
            return applied(controller, engine, node, [f"b{turn}-{n}" for n in range(AT_ONCE)])
        begun = [engine.begin(way) for _ in range(AT_ONCE)]
        first = begun[0][0]

        def end(pair):
            started, returned, container = engine.finish(way, *pair)
            return pair[0] - first + started, pair[0] - first + returned, container
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ends = list(pool.map(end, begun))
        engine.remove(*(container for _, _, container in ends))
        return max(e[0] for e in ends), max(e[1] for e in ends)

    samples = compare(ctx, kind, AT_ONCE_ROUNDS, one)
    return figures_of(kind, "apply of twenty", samples, 1.1)
