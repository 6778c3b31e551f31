"""What else could do the job on a board: supervisord, the engines' own restart policy, systemd."""

import contextlib
import os
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

from . import engines
from .base import NotMeasured
from .fleet import Process, environment

_install = threading.Lock()


def supervisord():
    """The path of supervisord. Where it is missing, root on Debian has it installed, and it stays."""
    with _install:
        found = shutil.which("supervisord")
        if found is None:
            install("supervisor")
            found = shutil.which("supervisord")
    if found is None:
        raise NotMeasured("supervisord is not here, although its package was installed")
    return found


def install(package):
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        raise NotMeasured(f"the package {package} is missing, and only root on Debian can have it "
                          "installed")
    # The package must not start a service for the whole machine.
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    wanted = ["apt-get", "install", "-q", "-y", "--no-install-recommends", package]
    try:
        for command in (wanted, ["apt-get", "update", "-q"], wanted):
            done = subprocess.run(command, env=environment({"DEBIAN_FRONTEND": "noninteractive"}),
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=120)
            if command is wanted and done.returncode == 0:
                return
        said = (done.stderr or done.stdout).strip()[-200:]
        raise NotMeasured(f"the package {package} cannot be installed: {said}")
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"installing the package {package} took more than 120 s") from None
    finally:
        if made:
            policy.unlink(missing_ok=True)


class Supervisord(Process):
    """A supervisord of our own with `count` programs that are all `words`."""

    def __init__(self, ctx, words, count):
        super().__init__(ctx, "supervisord")
        self.program = supervisord()
        self.count = count
        # What the kernel shows of a child once it has become the program.
        self.line = b"".join(os.fsencode(word) + b"\0" for word in words)
        self.settings = self.dir / "supervisord.conf"
        # A file of each program's output, as the shims keep one.
        self.settings.write_text(f"""
[supervisord]
nodaemon = true
logfile = {self.dir}/supervisord.log
pidfile = {self.dir}/supervisord.pid
childlogdir = {self.dir}

[program:w]
command = {shlex.join(words).replace("%", "%%")}
numprocs = {count}
process_name = %(program_name)s_%(process_num)s
autorestart = true
startsecs = 1
stdout_logfile = {self.dir}/out-%(process_num)s.log
redirect_stderr = true
""")

    def start(self):
        with open(self.dir / "log", "ab") as log:
            self.child = subprocess.Popen([self.program, "-c", str(self.settings)], stdout=log,
                                          stderr=log, stdin=subprocess.DEVNULL, env=environment(),
                                          close_fds=False)
        self.ctx.wait(lambda: len(self.programs()) == self.count, 30, "the start of supervisord", 0.05)
        return self

    def programs(self):
        """The pids of the programs that run now."""
        if self.child.poll() is not None:
            raise NotMeasured(f"supervisord ended: {self.last_words()}")
        try:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError as error:
            raise NotMeasured(f"the children of supervisord cannot be listed: {error}") from None
        running = set()
        for pid in pids:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes() == self.line:
                    running.add(int(pid))
        return running


def run_restarting(engine, way, seconds=60):
    """`run -d --restart=always`: the id of the container."""
    command, extra = engine.ways[way]
    words = [*command, "run", "-d", "--restart=always", "--label", engine.label, engine.image,
             *engines.COMMAND]
    try:
        done = subprocess.run(words, env=environment(extra), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"`{way} --restart=always` took more than {seconds} s") from None
    if done.returncode != 0:
        raise NotMeasured(f"`{way} --restart=always` failed: {done.stderr.strip()[-300:]}")
    return done.stdout.split()[-1]


def why_not_systemd():
    """Why there is no figure of systemd."""
    # As sd_booted(3) asks.
    if Path("/run/systemd/system").is_dir():
        return "this benchmark adds no units to the system's own systemd"
    name = Path("/proc/1/comm").read_text().strip()
    return f"systemd does not run here (process 1 is {name}), and it does not run as another one"
