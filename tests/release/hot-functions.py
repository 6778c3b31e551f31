#!/usr/bin/env python3
"""Writes packaging/hot-functions.txt anew: which functions run while an agent has nothing to do.

    SYMBOLS=1 tests/release/compile.sh x86_64-unknown-linux-musl target/hot/fleetctl
    tests/suite.sh tests/release/hot-functions.py target/hot/fleetctl

Needs valgrind and qemu-user-static, and the engines that tests/suite.sh gives it. An agent with a
native workload and one with a container of each engine run under callgrind; what was called once they
had come to rest is listed. The process beside a native workload runs under qemu, which knows each
piece of code that it has to translate.

Names stand as the linker knows them. The hash of a crate in them differs from target to target and
stands as `*`; that of an old name, which has no types in it, too.
"""

import bisect
import collections
import glob
import os
import re
import subprocess
import sys
import tempfile
import time

# Until an agent is at rest, and for how long it is then watched; seconds.
SETTLES, WATCHED = 45, 120
WHERE = "packaging/hot-functions.txt"


def symbols(binary):
    """(address, size, name) of every function."""
    lines = subprocess.run(["nm", "-S", binary], capture_output=True, text=True, check=True).stdout
    words = (line.split() for line in lines.splitlines())
    return sorted((int(w[0], 16), int(w[1], 16), w[3]) for w in words if len(w) == 4 and w[2] in "tTwW")


def called(path):
    """Names in a file of callgrind, which says each once and then its number."""
    names, found = {}, []
    for line in open(path):
        if m := re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line):
            if m[3]:
                names[m[2]] = m[3]
            if m[1] == "fn":
                found.append(names[m[2]].split("'")[0])
    return found


def translated(path, functions):
    """Names of the functions that qemu's log has addresses of."""
    begins, found = [f[0] for f in functions], []
    for line in open(path, errors="replace"):
        if m := re.match(r"0x([0-9a-f]+):  ", line):
            at = int(m[1], 16)
            begin, size, name = functions[max(bisect.bisect_right(begins, at) - 1, 0)]
            if begin <= at < begin + max(size, 1):
                found.append(name)
    return found


def pattern(name):
    """As tests/release/hot-functions.awk makes it."""
    return re.sub(r"17h[0-9a-f]+E$", "17h*E", re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name))


class Fleet:
    """A controller and two agents, which are slow under callgrind."""

    def __init__(self, binary, place):
        self.binary, self.place, self.running = binary, place, []
        self.url = "http://127.0.0.1:32070"
        self.start([binary, "controller", "--embed-broker", "--data-dir", f"{place}/c", "--api-listen",
                    self.url[7:], "--mqtt-listen", "tls://127.0.0.1:32883"], "controller")
        token = f"{place}/c/admin.token"
        self.until(lambda: os.path.exists(token) and os.path.getsize(token))
        self.token = open(token).read().strip()
        time.sleep(1)

    def start(self, command, log):
        out = open(f"{self.place}/{log}.log", "w")
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.running.append(process)
        return process

    def ask(self, *words):
        env = {**os.environ, "FLEETCTL_URL": self.url, "FLEETCTL_TOKEN": self.token}
        return subprocess.run([self.binary, *words], env=env, capture_output=True, text=True).stdout

    def until(self, done, limit=120):
        until = time.monotonic() + limit
        while not done():
            if time.monotonic() > until:
                sys.exit(f"it takes too long; see the logs in {self.place}")
            time.sleep(0.5)

    def agent(self, name, docker, podman):
        join = self.ask("token", "create", "--kind", "join").strip()
        return self.start(["valgrind", "--tool=callgrind", "--demangle=no",
                           f"--callgrind-out-file={self.place}/{name}", self.binary, "agent", "--name", name,
                           "--data-dir", f"{self.place}/data-{name}", "--docker-socket", docker,
                           "--podman-socket", podman, "--join", join], name)

    def end(self):
        for process in reversed(self.running):
            process.terminate()
            process.wait()


MANIFEST = """
[workload.native]
command = ["/bin/sh", "-c", "while :; do echo x; sleep 5; done"]
placement.nodes = ["native"]
[workload.docker]
engine = "docker"
image = "fleetctl-test:1"
command = ["sleep", "1000"]
placement.nodes = ["engines"]
[workload.podman]
engine = "podman"
image = "localhost/fleetctl-test:1"
command = ["sleep", "1000"]
placement.nodes = ["engines"]
"""


def run(binary, place):
    functions = symbols(binary)
    fleet = Fleet(binary, place)
    engines = [os.environ[f"FLEETCTL_TEST_{e}_SOCKET"] for e in ("DOCKER", "PODMAN")]
    agents = [fleet.agent("native", "off", "off"), fleet.agent("engines", *engines)]
    fleet.until(lambda: fleet.ask("node", "ls").count("online") == 2)
    with open(f"{place}/m.toml", "w") as file:
        file.write(MANIFEST)
    fleet.ask("apply", "-y", "-f", f"{place}/m.toml")
    fleet.until(lambda: fleet.ask("ps").count(" running ") == 3)

    def each(order):
        for agent in agents:
            subprocess.run(["callgrind_control", order, str(agent.pid)], stdout=subprocess.DEVNULL, check=True)

    time.sleep(SETTLES)
    each("--zero")
    time.sleep(WATCHED)
    each("--dump")
    [instance] = glob.glob(f"{place}/data-native/instances/*")
    subprocess.run(["cp", "-r", instance, f"{place}/instance"], check=True)
    fleet.ask("rm", "native", "docker", "podman", "-y")
    time.sleep(5)
    fleet.end()
    for old in ("state.json", "exit.json", "lock"):
        if os.path.exists(f"{place}/instance/{old}"):
            os.remove(f"{place}/instance/{old}")
    log = f"{place}/qemu.log"
    shim = subprocess.Popen(["qemu-x86_64-static", "-d", "in_asm", "-D", log, binary, "shim", f"{place}/instance"],
                            stdout=subprocess.DEVNULL)
    time.sleep(10)
    shim.terminate()
    shim.wait()
    return functions, [
        ("the process beside a native workload", translated(log, functions)),
        ("an agent at rest", called(f"{place}/native.1")),
        ("the same with engines", called(f"{place}/engines.1")),
    ]


def main():
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        functions, groups = run(binary, place)
    sizes = collections.Counter()
    for _, size, name in functions:
        sizes[pattern(name)] += size
    known = {name for _, _, name in functions}
    head = [line for line in open(WHERE) if line.startswith("# ")][:3]
    seen, lines = set(), []
    for title, names in groups:
        # The numbers of what LLVM has taken out of functions mean something else in each build.
        patterns = [pattern(n) for n in names if n in known and not n.startswith("OUTLINED")]
        new = [p for p in dict.fromkeys(patterns) if p not in seen]
        seen.update(new)
        print(f"{title}: {len(new)} functions, {sum(sizes[p] for p in new) // 1024} KiB")
        lines += [f"# {title}\n", *(f"{p}\n" for p in new)]
    with open(WHERE, "w") as file:
        file.writelines(head + lines)


main()
