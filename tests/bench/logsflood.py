"""One workload that writes 10 MB of log lines a second: what it costs, and whom it disturbs.

Each line has a number, so whatever is missing or doubled is seen: in the files that are kept, and
at somebody who follows. The log is capped; a follower may miss only what the cap has thrown away.
"""

import bisect
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from .base import Figure, NotMeasured, median, sketch
from .fleet import Agent, Controller, environment
from .idle import cpu_seconds
from .supervise import DELAYS, directory, kill_process, process, state, still

LINE = 100
MB_A_SECOND = 10
SECONDS = 60
# The follower is there for the second half.
FOLLOW_FROM = SECONDS / 2
MAX_SIZE = 1 << 20
MAX_FILES = 4
# Kills of the other workload before the flood; within it, one every so often.
KILLS = 12
KILL_EVERY_S = 2.5

WRITER = r"""
# Lines of 100 bytes, so many a second, once the file `go` is there; then tells what it did.
import json, os, sys, time
go, told, a_second, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
while not os.path.exists(go):
    time.sleep(0.02)
rest = b" " + b"x" * 88 + b"\n"
trail, sent, begun, noted = [], 0, time.time(), 0.0
start = time.monotonic()
while (passed := time.monotonic() - start) < seconds:
    # When it was held up it catches up, in pieces.
    due = min(int(passed * a_second), sent + 10_000)
    block = memoryview(b"".join(b"%010d" % n + rest for n in range(sent, due)))
    while block:
        block = block[os.write(1, block):]
    sent = due
    if passed - noted >= 0.05:
        noted = passed
        trail.append((time.time(), sent))
    time.sleep(0.01)
trail.append((time.time(), sent))
done = {"lines": sent, "begun": begun, "ended": time.time(), "trail": trail}
with open(told + ".new", "w") as file:
    json.dump(done, file)
os.replace(told + ".new", told)
while True:
    time.sleep(3600)
"""


class Trail:
    """What the writer told: how many lines it had written when."""

    def __init__(self, told):
        self.lines, self.begun, self.ended = told["lines"], told["begun"], told["ended"]
        self.times = [moment for moment, _ in told["trail"]]
        self.sent = [sent for _, sent in told["trail"]]

    def at(self, moment):
        """Lines written until then; at most as many as there were at the next note."""
        return self.sent[min(bisect.bisect_left(self.times, moment), len(self.sent) - 1)]

    def mb_a_second(self):
        return self.lines * LINE / (self.ended - self.begun) / 1e6


class Sampler(threading.Thread):
    """The agent's memory, each second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.rss, self.stopped = pid, [], threading.Event()
        # The kernel begins a new peak.
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        self.start()

    def run(self):
        while not self.stopped.wait(1):
            with contextlib.suppress(OSError, AttributeError):
                self.rss.append(kib(self.pid, "VmRSS") / 1024)

    def end(self):
        self.stopped.set()
        self.join()
        try:
            return kib(self.pid, "VmHWM") / 1024
        except (OSError, AttributeError):
            raise NotMeasured("the agent was gone at the end of the flood") from None


def kib(pid, key):
    return int(re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


class Follower(threading.Thread):
    """`fleetctl logs -f`: which numbers it was shown, as runs without a gap."""

    def __init__(self, controller, workload):
        super().__init__(daemon=True)
        self.runs = []  # [first, last, when the first was here]
        self.doubled = self.others = 0
        env = environment({"FLEETCTL_URL": f"http://127.0.0.1:{controller.api_port}",
                           "FLEETCTL_TOKEN": controller.token})
        self.errors = controller.dir / f"follower-{controller.ctx.number()}"
        with open(self.errors, "wb") as errors:
            self.child = subprocess.Popen([controller.ctx.binary, "logs", "-f", "-n", "1", workload],
                                          env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=errors, close_fds=False)
        self.heard = time.monotonic()
        self.start()

    def run(self):
        left = b""
        while chunk := os.read(self.child.stdout.fileno(), 1 << 18):
            moment, self.heard = time.time(), time.monotonic()
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                self.take(line, moment)

    def take(self, line, moment):
        number = number_of(line)
        if number is None:
            self.others += 1
        elif self.runs and number <= self.runs[-1][1]:
            self.doubled += 1
        elif self.runs and number == self.runs[-1][1] + 1:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number, moment])

    def end(self, ctx):
        """Gives it the time to show what is on its way, and ends it."""
        try:
            # A lease that broke is asked for again after 5 s at most.
            ctx.wait(lambda: time.monotonic() - self.heard > 6, 30, "silence of the follower", 0.1)
        except NotMeasured:
            ctx.go_on()
        finally:
            self.kill()
        return (self.errors.read_text(errors="replace").splitlines() or [""])[-1][:200]

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.join(5)

    def got(self):
        return sum(last - first + 1 for first, last, _ in self.runs)

    def missed(self, trail, kept_lines):
        """(Lines missed, those of them that the cap still held when the next line was here)."""
        every = held = 0
        for (_, last, _), (first, _, moment) in zip(self.runs, self.runs[1:]):
            every += first - last - 1
            oldest = trail.at(moment) - kept_lines
            held += max(0, first - max(last + 1, oldest))
        return every, held


def number_of(line):
    """The number of one of the writer's lines; `None` for anything else."""
    return int(line[:10]) if len(line) == LINE - 1 and line[:10].isdigit() else None


class Kept:
    """The log files of an instance: their size, and which numbers are in them."""

    def __init__(self, place):
        paths = [place / f"log.{age}" for age in range(MAX_FILES + 20, 0, -1)] + [place / "log"]
        paths = [path for path in paths if path.exists()]
        self.files = len(paths)
        self.sizes = [path.stat().st_size for path in paths]
        self.records = 0
        self.first = self.last = None
        self.gaps = 0
        for path in paths:
            for record in path.read_bytes().splitlines():
                # Time, stream, text.
                number = number_of(record.split(b" ", 2)[-1])
                self.records += 1
                if number is None:
                    continue
                if self.first is None:
                    self.first = number
                elif number != self.last + 1:
                    self.gaps += abs(number - self.last - 1)
                self.last = number

    @property
    def bytes(self):
        return sum(self.sizes)


def flood(ctx):
    """The writer, another workload that is killed meanwhile, and a follower for half of the time."""
    script = ctx.tmp / f"flood-{ctx.number()}.py"
    script.write_text(WRITER)
    go, told = script.with_suffix(".go"), script.with_suffix(".told")
    words = [sys.executable, str(script), str(go), str(told), str(MB_A_SECOND * 1_000_000 // LINE),
             str(SECONDS)]
    cap = f'logs = {{ max_size = "{MAX_SIZE >> 20}MiB", max_files = {MAX_FILES} }}'
    with Controller(ctx).start() as controller, Agent(controller, "flood").online() as agent:
        text = process("flood", words, more=cap) + process("other", still(ctx))
        controller.cli("apply", "-y", "--wait", "-f", controller.manifest(text))
        writer, other = (directory(ctx, agent, name) for name in ("flood", "other"))
        before = [kill_process(ctx, other) for _ in range(KILLS)]
        run = state(writer)
        if run is None:
            raise NotMeasured("the writer does not run")
        shim = run["shim"]["pid"]
        rss_before = kib(agent.pid, "VmRSS") / 1024
        sampler = Sampler(agent.pid)
        follower = None
        try:
            marks = [(time.monotonic(), cpu_seconds(shim), cpu_seconds(agent.pid))]
            begun = time.monotonic()
            go.touch()
            alone = kills_until(ctx, other, begun + FOLLOW_FROM)
            marks.append((time.monotonic(), cpu_seconds(shim), cpu_seconds(agent.pid)))
            follower = Follower(controller, "flood")
            followed = kills_until(ctx, other, begun + SECONDS)
            marks.append((time.monotonic(), cpu_seconds(shim), cpu_seconds(agent.pid)))
            ctx.wait(told.exists, SECONDS, "the end of the writer, which is held back,", 0.1)
            said = follower.end(ctx)
        except OSError as error:
            raise NotMeasured(f"the agent, or a shim, was gone during the flood: {error}") from None
        finally:
            if follower is not None:
                follower.kill()
            peak = sampler.end()
        trail = Trail(json.loads(told.read_text()))
        if (state(writer) or run)["child"] != run["child"]:
            raise NotMeasured("the writer was started a second time during the flood")
        at_rest(ctx, writer)
        kept = Kept(writer)
        controller.cli("rm", "--wait", "flood", "other")
    return [
        *costs_of(trail, marks, rss_before, sampler.rss, peak),
        *kept_figures(trail, kept),
        *disturbed(before, alone, followed),
        *follower_figures(trail, kept, follower, said),
    ]


def kills_until(ctx, place, until):
    """Kills it every now and then until that moment; the milliseconds of each restart."""
    took = []
    while until - time.monotonic() > KILL_EVERY_S:
        ctx.rest(KILL_EVERY_S - DELAYS[0])
        took.append(kill_process(ctx, place))
    ctx.rest(until - time.monotonic())
    if not took:
        raise NotMeasured("the other workload could not be killed once during the flood")
    return took


def at_rest(ctx, place):
    """Until the shim has written what the pipe still held."""
    last = [None]

    def same():
        now = [(p.name, p.stat().st_size) for p in sorted(place.glob("log*"))]
        was, last[0] = last[0], now
        return now == was
    ctx.wait(same, 10, "the end of the shim's writing", 0.5)


def costs_of(trail, marks, rss_before, rss, peak):
    def percent(which):
        spans = zip(marks, marks[1:])
        return [(b[which] - a[which]) / (b[0] - a[0]) * 100 for a, b in spans]
    shim, agent = percent(1), percent(2)
    rate = trail.mb_a_second()
    note = "" if rate >= 0.98 * MB_A_SECOND else "the shim, or the machine, held the writer back"
    seconds = {"MiB": sketch(rss, 2)} if rss else {}
    return [
        Figure(f"flood: {MB_A_SECOND} MB/s ÷ what the writer could write", MB_A_SECOND / rate, "×",
               1.02, {"MB/s": round(rate, 2), "lines": trail.lines}, note),
        Figure("flood: agent's RSS, peak", peak, "MiB", 20.0,
               {"MiB before": round(rss_before, 2), **seconds}),
        Figure("flood: shim's CPU", sum(shim) / len(shim), "% of a core", None,
               {"alone, while followed": [round(p, 1) for p in shim]}),
        Figure("flood: agent's CPU, nobody follows", agent[0], "% of a core"),
        Figure("flood: agent's CPU, while followed", agent[1], "% of a core"),
    ]


def kept_figures(trail, kept):
    cap = MAX_SIZE * MAX_FILES
    raw = {"bytes of each file, oldest first": kept.sizes, "cap": cap,
           "numbers": f"{kept.first}…{kept.last} of {trail.lines}"}
    if kept.last is None:
        return [Figure("flood: what is kept", None, "", raw=raw,
                       note="not measured: none of the writer's lines is in the log")]
    missing = kept.gaps + max(0, trail.lines - 1 - kept.last)
    return [
        Figure("flood: what is kept ÷ cap", kept.bytes / cap, "×", 1.0, raw),
        Figure("flood: room of the cap that is not used", (cap - kept.bytes) / MAX_SIZE, "files", 1.0,
               note="the oldest file goes whole"),
        Figure("flood: lines missing in what is kept, its end included", missing, "lines", 0),
    ]


def disturbed(before, alone, followed):
    raw = {"without the flood ms": sketch(before), "during the flood ms": sketch(alone),
           "while followed ms": sketch(followed)}
    usual = median(before)
    return [
        Figure("flood: another workload's restart ÷ without the flood, p50", median(alone) / usual,
               "×", 2.0, raw),
        Figure("flood: the same while followed", median(followed) / usual, "×", 2.0),
    ]


def follower_figures(trail, kept, follower, said):
    name = "flood: lines that a follower missed although the cap held them"
    if not follower.runs:
        return [Figure(name, None, "lines", 0,
                       note=f"not measured: the follower was shown nothing; it said: {said or 'nothing'}")]
    # What is surely kept while the newest file is still empty, less what may be in the pipe and
    # in the shim.
    record = kept.bytes / kept.records if kept.records else LINE
    kept_lines = max(0, (MAX_SIZE * (MAX_FILES - 1) - (128 << 10)) / record)
    missed, held = follower.missed(trail, kept_lines)
    wanted = trail.lines - follower.runs[0][0]
    raw = {"written while it followed": wanted, "shown": follower.got(),
           "gaps": len(follower.runs) - 1, "missed in gaps": missed,
           "missed at the end": trail.lines - 1 - follower.runs[-1][1],
           "lines that are not the writer's": follower.others}
    note = f"it was shown {follower.got() / max(1, wanted) * 100:.1f} % of the lines"
    if said:
        note += f"; it said: {said}"
    return [
        Figure(name, round(held), "lines", 0, raw, note),
        Figure("flood: lines missing at the follower's end", trail.lines - 1 - follower.runs[-1][1],
               "lines", 0),
        Figure("flood: lines that a follower was shown twice", follower.doubled, "lines", 0),
    ]
