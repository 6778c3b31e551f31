"""A controller that starts with 1,000 nodes and 5,000 instances in its journal.

The journal is a real one, grown: a controller enrols one node that runs five workloads, with
`on = "every"`, and is killed, so that every entry is still there. The entries of that node are
then repeated for 999 more, under other names and with other keys. So they have the stored form of
whatever version is measured.
"""

import base64
import json
import os
import shutil
import signal
import sqlite3
import time

from .base import Figure, NotMeasured, median, sketch
from .fleet import Agent, Controller

NODES = 1_000
WORKLOADS = 5
STARTS = 5


def seed(ctx):
    """A real data directory, with all entries of one node in its journal."""
    marker = ctx.tmp / "journal-marker"
    marker.touch()
    with Controller(ctx, "seed").start() as controller, Agent(controller, "seed").online() as agent:
        text = "".join(f"""
[workload.w{n}]
command = ["/usr/bin/tail", "-f", "{marker}"]
stop_timeout = "1s"
[workload.w{n}.placement]
on = "every"
""" for n in range(WORKLOADS))
        controller.cli("apply", "-y", "--wait", "-f", controller.manifest(text))
        # With KILL there is no snapshot.
        controller.end(signal.SIGKILL)
        data = ctx.tmp / "journal-seed"
        shutil.copytree(controller.data, data)
        controller.start()
        ctx.wait(agent.is_online, 60, "the node online again", 0.05)
        controller.cli("rm", "--wait", *(f"w{n}" for n in range(WORKLOADS)))
        return data, agent.node


def grow(data, node):
    """Repeats the entries of `node` for all the others. The number of entries then."""
    database = sqlite3.connect(data / "journal.db")
    entries = [json.loads(body) for (body,) in database.execute("SELECT body FROM entry ORDER BY id")]
    of_node = []
    for entry in entries:
        ((kind, change),) = entry["change"].items()
        # What it reported on the way to running is left out: the last report says it all.
        if kind == "state_reported":
            of_node = [e for e in of_node if "state_reported" not in e["change"]]
        if kind.startswith("node_") and change["node"] == node or kind == "state_reported":
            of_node.append(entry)
    if not any("state_reported" in e["change"] for e in of_node):
        raise NotMeasured("the journal of a real controller has no report of its node")
    rows = []
    for n in range(1, NODES):
        key = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
        for entry in of_node:
            ((kind, change),) = entry["change"].items()
            change = {**change, "node": f"node-{n:04}"}
            if "key" in change:
                change["key"] = key
            entry = {**entry, "change": {kind: change}}
            rows.append((json.dumps(entry, separators=(",", ":"), ensure_ascii=False),))
    with database:
        database.executemany("INSERT INTO entry (body) VALUES (?)", rows)
    (count,) = database.execute("SELECT count(*) FROM entry").fetchone()
    # Closing it moves everything out of the write-ahead log.
    database.close()
    return count


def begin(ctx, data):
    """Starts a controller on `data`: milliseconds until it is ready and lists every node."""
    controller = Controller(ctx, "grown")
    controller.data = data
    controller.arguments[controller.arguments.index("--data-dir") + 1] = str(data)
    begun = time.perf_counter()
    controller.spawn(controller.arguments)
    try:
        ctx.wait(controller.is_ready, 60, "the controller's readiness", 0.002)
        nodes = controller.ask("GET", "/api/v1/nodes?limit=1000")["items"]
        took = (time.perf_counter() - begun) * 1000
        instances = controller.ask("GET", "/api/v1/instances")
        running = sum(1 for i in instances if i["state"] == "running" and i["up_to_date"])
        if (len(nodes), running) != (NODES, NODES * WORKLOADS):
            raise NotMeasured(f"the grown journal gives {len(nodes)} nodes and {running} running "
                              "instances; its form has changed")
        return took, controller
    except BaseException:
        controller.end(signal.SIGKILL)
        raise


def restart(ctx):
    """From entries alone, and from the snapshot that a clean stop leaves."""
    seeded, node = seed(ctx)
    entries = grow(seeded, node)
    data = ctx.tmp / "journal-data"
    from_entries, from_snapshot = [], []
    for _ in range(STARTS):
        ctx.go_on()
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(seeded, data)
        took, controller = begin(ctx, data)
        from_entries.append(took)
        controller.end()
    for _ in range(STARTS):
        took, controller = begin(ctx, data)
        from_snapshot.append(took)
        controller.end()
    size = sum(p.stat().st_size for p in data.glob("journal.db*")) / 2**20
    name = f"controller start, {NODES} nodes, {NODES * WORKLOADS} instances"
    return [
        Figure(f"{name}, from {entries} entries, median", median(from_entries), "ms", 1000.0,
               {"ms": sketch(from_entries)}),
        Figure(f"{name}, from a snapshot, median", median(from_snapshot), "ms", 1000.0,
               {"ms": sketch(from_snapshot), "journal MiB": round(size, 1)}),
    ]
