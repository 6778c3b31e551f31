"""What the figures were measured on, and what ran beside."""

import contextlib
import os
import platform
import struct
import threading
import time
from pathlib import Path

from . import engines
from .base import Figure, NotMeasured


def busiest(seconds=1.0, count=3):
    """The processes that use most of the processor now: (% of a core, name)."""
    def used():
        ticks = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                    fields = rest.split()
                    ticks[entry.name] = (name, int(fields[11]) + int(fields[12]))
        return ticks
    before = used()
    time.sleep(seconds)
    hertz = os.sysconf("SC_CLK_TCK")
    spent = [((ticks - before[pid][1]) / hertz / seconds * 100, name)
             for pid, (name, ticks) in used().items() if pid in before]
    return [(percent, name) for percent, name in sorted(spent, reverse=True)[:count] if percent >= 1]


class Load(threading.Thread):
    """Samples the load average until it is asked."""

    def __init__(self):
        super().__init__(daemon=True)
        self.samples, self.stopped = [], threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(5):
            self.samples.append(os.getloadavg()[0])

    def end(self):
        self.stopped.set()
        return self.samples


def describe(ctx):
    """Lines about the machine, and the same as data."""
    model = "unknown"
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    versions = {}
    for kind, (make, _) in engines.KINDS.items():
        try:
            versions[kind] = make(ctx).version()
        except NotMeasured as error:
            versions[kind] = f"not there ({error})"
    return {
        "processor": f"{os.cpu_count()} × {model}",
        "memory MiB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "engines": versions,
        "data on": file_system(ctx.tmp),
        "load before": [round(x, 2) for x in os.getloadavg()],
        "ran beside at the start": [f"{name} {percent:.0f} %" for percent, name in busiest()],
        "binary": binary_kind(ctx.binary),
    }


def file_system(path):
    """The type of the file system that holds `path`: fsync is not the same everywhere."""
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        inside = point == "/" or f"{path}/".startswith(point + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def binary_kind(path):
    """`static, stripped` or what it is instead, from its ELF tables."""
    with open(path, "rb") as file:
        head = file.read(64)
        if head[:5] != b"\x7fELF\x02":
            return "not a 64-bit ELF file"
        program_at, section_at = struct.unpack_from("<QQ", head, 32)
        entry, programs, section_entry, sections = struct.unpack_from("<HHHH", head, 54)
        file.seek(program_at)
        table = file.read(entry * programs)
        dynamic = any(struct.unpack_from("<I", table, i * entry)[0] == 3 for i in range(programs))
        file.seek(section_at)
        table = file.read(section_entry * sections)
        # SHT_SYMTAB.
        symbols = any(struct.unpack_from("<I", table, i * section_entry + 4)[0] == 2
                      for i in range(sections))
    return f"{'dynamic' if dynamic else 'static'}, {'with symbols' if symbols else 'stripped'}"


def size(ctx):
    """The binary itself."""
    kind = binary_kind(ctx.binary)
    note = "" if kind == "static, stripped" else f"this binary is {kind}, not a release binary"
    return [Figure("release binary", os.stat(ctx.binary).st_size / 2**20, "MiB", 12.0, {"kind": kind}, note)]
