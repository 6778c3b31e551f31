"""Network namespaces: machines around a switch, on one machine.

The switch is a bridge in a namespace of its own, so that the far end of a pulled cable does not
notice, as in a building. Neighbours are static and IPv6 is off: what an interface counts is what
the program sent and received.
"""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import threading

from .base import NotMeasured

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def inside(namespace, command):
    """`command` as it must be started to run in `namespace` (None: where we are)."""
    command = [str(word) for word in command]
    # ip replaces itself by the command: the process id stays.
    return command if namespace is None else ["ip", "netns", "exec", namespace, *command]


@contextlib.contextmanager
def entered(namespace):
    """This thread is in `namespace`; sockets made here stay there."""
    if namespace is None:
        yield
        return
    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(there, CLONE_NEWNET) != 0:
            raise NotMeasured(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            _libc.setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
        os.close(there)


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise NotMeasured(f"`ip {' '.join(words)}` failed: {done.stderr.strip()[:200]}")
    return done.stdout


class Network:
    """Machines `0…count-1` around one switch; machine i has the address 10.99.0.(i+1)."""

    def __init__(self, ctx, count):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise NotMeasured("network namespaces need root and iproute2")
        stem = f"fb{ctx.id}-{ctx.number()}"
        self.switch = f"{stem}s"
        self.machines = [f"{stem}m{i}" for i in range(count)]
        self.made = []

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def build(self):
        for name in (self.switch, *self.machines):
            ip("netns", "add", name)
            self.made.append(name)
            quiet = "for f in all default lo; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done"
            subprocess.run(inside(name, ["sh", "-c", quiet]), stderr=subprocess.DEVNULL, check=False)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "stp_state", "0",
           "mcast_snooping", "0")
        ip("-n", self.switch, "link", "set", "br0", "up")
        for i, name in enumerate(self.machines):
            ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{i}",
               "netns", self.switch)
            ip("-n", self.switch, "link", "set", f"port{i}", "master", "br0", "up")
            ip("-n", name, "addr", "add", f"{self.address(i)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        addresses = [json.loads(ip("-n", n, "-j", "link", "show", "eth0"))[0]["address"]
                     for n in self.machines]
        for i, name in enumerate(self.machines):
            for j, mac in enumerate(addresses):
                if i != j:
                    ip("-n", name, "neigh", "replace", self.address(j), "lladdr", mac, "dev", "eth0",
                       "nud", "permanent")

    def __exit__(self, *_):
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    @staticmethod
    def address(i):
        return f"10.99.0.{i + 1}"

    def pull_cable(self, i):
        ip("-n", self.switch, "link", "set", f"port{i}", "down")

    def counted(self, i):
        """(IP bytes, packets) in both directions since the machine was made."""
        stats = json.loads(ip("-n", self.machines[i], "-s", "-j", "link", "show", "eth0"))[0]["stats64"]
        packets = stats["rx"]["packets"] + stats["tx"]["packets"]
        # The counters include the 14 bytes of an Ethernet header.
        return stats["rx"]["bytes"] + stats["tx"]["bytes"] - 14 * packets, packets
