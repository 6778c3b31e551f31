#!/usr/bin/env python3
"""The benchmarks: every number of speed and size that fleetctl promises, measured.

    python3 tests/bench.py --binary target/dist/fleetctl --engines .engines [--only NAME,…] [--json FILE]

Needs root, the engines of `tests/engines.sh start .engines`, iproute2, and nothing but Python's
standard library. It prints figures beside their targets and asserts nothing: a figure that could
not be taken says why. At most twenty-three minutes; what it started it ends, what it made it
removes. Only supervisord, which it is compared with, stays installed where Debian's package of it
was missing.
"""

import argparse
import contextlib
import json
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import apply, engines, flash, idle, journal, logsflood, machine, react, supervise
from bench.base import Context, Figure, NotMeasured

SECONDS = 23 * 60
# What the quiet ones need, kept free for them: `flash` rests for minutes.
QUIET_SECONDS = 560

# One after another: they take what the machine has.
BUSY = {
    "size": machine.size,
    "ping": react.ping,
    "start": react.start,
    "offline": react.offline,
    "apply-docker": lambda ctx: apply.one_container(ctx, "docker"),
    "apply-podman": lambda ctx: apply.one_container(ctx, "podman"),
    "twenty-docker": lambda ctx: apply.twenty(ctx, "docker"),
    "twenty-podman": lambda ctx: apply.twenty(ctx, "podman"),
    "killed-docker": lambda ctx: react.killed_container(ctx, "docker"),
    "killed-podman": lambda ctx: react.killed_container(ctx, "podman"),
    "killed-process": react.killed_process,
    "restart-floor": supervise.restart_floor,
    "logflood": logsflood.flood,
    "journal": journal.restart,
}
# All at once, afterwards: they wait most of the time, and each counts only its own.
QUIET = {
    "idle": idle.empty,
    "idle-twenty": idle.twenty,
    "fifty": supervise.fifty,
    "flash": flash.day,
    "wire": idle.wire,
    "silent": react.silent,
}


def arguments():
    parser = argparse.ArgumentParser(description="Measures fleetctl; see the head of this file.")
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--engines", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", default="", metavar="NAME,…", help=", ".join([*BUSY, *QUIET]))
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    chosen = [name for name in given.only.split(",") if name] or [*BUSY, *QUIET]
    unknown = [name for name in chosen if name not in BUSY | QUIET]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join([*BUSY, *QUIET])}")
    if not given.binary.is_file():
        parser.error(f"{given.binary} is not there; build it first")
    return given, chosen


def read_engines(where):
    """DIR/env, as it was written for a shell without any quoting."""
    found = {"dir": str(where.resolve())}
    with contextlib.suppress(FileNotFoundError):
        for line in (where / "env").read_text().splitlines():
            key, sign, value = line.partition("=")
            if sign:
                found[key] = value
    return found


def measure(ctx, name):
    """The figures of one benchmark; one that says why, where there are none."""
    begun = time.monotonic()
    print(f"bench: {name} …", file=sys.stderr, flush=True)
    try:
        ctx.go_on()
        figures = (BUSY | QUIET)[name](ctx)
    except NotMeasured as error:
        figures = [Figure(name, None, "", note=f"not measured: {error}")]
    except Exception as error:  # a flaw of this program must not cost the other figures
        traceback.print_exc()
        figures = [Figure(name, None, "", note=f"not measured, by a fault of the benchmark: {error!r}")]
    print(f"bench: {name} took {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return figures


def run(ctx, chosen):
    figures = []
    quiet = [n for n in QUIET if n in chosen]
    end = ctx.ends
    if quiet:
        ctx.ends = end - QUIET_SECONDS
    for name in (n for n in BUSY if n in chosen):
        figures += measure(ctx, name)
    ctx.ends = end
    if quiet:
        with ThreadPoolExecutor(len(quiet)) as pool:
            for some in pool.map(lambda name: measure(ctx, name), quiet):
                figures += some
    return figures


def number(value):
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 20 else f"{value:.3g}"


def table(figures):
    rows = [("what", "figure", "target", "met", "note")]
    for f in figures:
        target = "" if f.limit is None else f"≤ {number(f.limit)} {f.unit}"
        met = {True: "yes", False: "NO", None: ""}[f.met]
        rows.append((f.name, f"{number(f.value)} {f.unit}".strip(), target, met, f.note))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(w) for cell, w in zip(row, widths)), row[4]]).rstrip())


def raw_lines(figures):
    # Of a ratio: what it was divided by.
    shown = set()
    for f in figures:
        for name, value in f.raw.items():
            is_sample = isinstance(value, dict)
            words = ", ".join(f"{k} {v}" for k, v in value.items()) if is_sample else value
            line = f"  {f.name}: {name}: {words}"
            if line not in shown:
                shown.add(line)
                print(line)


def main():
    given, chosen = arguments()
    ctx = Context(str(given.binary.resolve()), read_engines(given.engines), SECONDS)
    # Ended from outside, it still cleans up and tells what it has.
    for reason in (signal.SIGTERM, signal.SIGINT):
        signal.signal(reason, lambda *_: ctx.stopped.set())
    try:
        facts = machine.describe(ctx)
        load = machine.Load()
        figures = run(ctx, chosen)
        samples = load.end()
    finally:
        for make, _ in engines.KINDS.values():
            with contextlib.suppress(NotMeasured):
                make(ctx).clean()
        ctx.clean()
    facts["load during"] = {
        "mean": round(sum(samples) / len(samples), 2), "max": round(max(samples), 2),
    } if samples else "too short to say"

    print("\nbeside what it ran")
    for name, value in facts.items():
        print(f"  {name}: {value}")
    print()
    table(figures)
    print("\nraw (beside a ratio: what it was divided by)")
    raw_lines(figures)
    if given.json:
        document = {"machine": facts, "figures": [f.as_json() for f in figures]}
        given.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
