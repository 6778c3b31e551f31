"""What every measurement uses: figures, deadlines, medians, and what to clean up."""

import contextlib
import math
import os
import shutil
import signal
import statistics
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path


class NotMeasured(Exception):
    """Something could not be measured; the text says why."""


@dataclass
class Figure:
    """One number beside its target. Less is better for all of them."""

    name: str
    value: float | None
    unit: str
    limit: float | None = None
    raw: dict = field(default_factory=dict)
    note: str = ""

    @property
    def met(self):
        if self.limit is None:
            return None
        return None if self.value is None else self.value <= self.limit

    def as_json(self):
        return asdict(self) | {"met": self.met}


def median(values):
    return statistics.median(values)


def percentile(values, percent):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def sketch(values, digits=1):
    """A sample in the form that the raw lines show."""
    return {
        "n": len(values),
        "median": round(median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


class Context:
    """One run: where things are, until when it may last, and what it must leave behind clean."""

    def __init__(self, binary, engines, seconds):
        self.binary = binary
        self.engines = engines
        self.ends = time.monotonic() + seconds
        self.stopped = threading.Event()
        self.id = f"{os.getpid():x}"
        self.tmp = Path(tempfile.mkdtemp(prefix="fleetctl-bench-"))
        self.lock = threading.Lock()
        self.count = 0

    def remaining(self):
        return 0.0 if self.stopped.is_set() else max(0.0, self.ends - time.monotonic())

    def go_on(self):
        """Refuses to begin another step when the time is over."""
        if self.stopped.is_set():
            raise NotMeasured("the run was ended from outside")
        if self.remaining() <= 0:
            raise NotMeasured("the time for the whole run is used up")

    def number(self):
        with self.lock:
            self.count += 1
            return self.count

    def wait(self, condition, seconds, what, pause=0.005):
        """Until `condition` gives something true; that."""
        until = time.monotonic() + min(seconds, self.remaining())
        while True:
            result = condition()
            if result:
                return result
            if time.monotonic() >= until or self.stopped.is_set():
                self.go_on()
                raise NotMeasured(f"{what} did not happen in time")
            time.sleep(pause)

    def rest(self, seconds):
        """Lets time pass that belongs to the measurement itself."""
        self.go_on()
        if seconds > self.remaining():
            raise NotMeasured("the time left for the whole run is too short")
        if self.stopped.wait(max(0.0, seconds)):
            self.go_on()

    def clean(self):
        """Ends what is left of our own processes (instances outlive agents by design), and the
        files. Ours are those that have our directory on their command line."""
        mine = os.fsencode(str(self.tmp) + "/")
        for _ in range(3):
            left = [pid for pid, line in command_lines() if mine in line]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.1)
        shutil.rmtree(self.tmp, ignore_errors=True)


def command_lines():
    """(pid, command line) of every process but this one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes()
