"""A controller and agents of the given binary, as processes, each with its own data directory."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

from . import network
from .base import NotMeasured


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def environment(extra=()):
    """Ours, without what would steer fleetctl or the engines' clients."""
    steering = ("FLEETCTL_", "DOCKER_", "CONTAINER_HOST")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
    return kept | dict(extra)


class Process:
    """One started program with its log."""

    def __init__(self, ctx, name, netns=None):
        self.ctx, self.name, self.netns = ctx, name, netns
        self.dir = ctx.tmp / f"{name}-{ctx.number()}"
        self.dir.mkdir()
        self.child = None

    @property
    def pid(self):
        return self.child.pid

    def spawn(self, arguments):
        command = network.inside(self.netns, [self.ctx.binary, *arguments])
        with open(self.dir / "log", "ab") as log:
            # Without close_fds Python takes vfork, which is as near to the start as can be.
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env=environment(), close_fds=False)

    def last_words(self):
        lines = (self.dir / "log").read_text(errors="replace").splitlines()
        return lines[-1][:300] if lines else "it wrote nothing"

    def end(self, how=signal.SIGTERM):
        """Ends it and waits; with KILL when it does not listen. Idempotent."""
        if self.child is None or self.child.poll() is not None:
            return
        self.child.send_signal(how)
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child is not None and self.child.poll() is None:
            # It may be frozen.
            self.child.send_signal(signal.SIGCONT)
        self.end()


class Controller(Process):
    """A controller with its broker; MQTT over TLS."""

    def __init__(self, ctx, name="controller", flags=(), netns=None, host="127.0.0.1"):
        super().__init__(ctx, name, netns)
        self.host, self.api_port, self.mqtt_port = host, free_port(), free_port()
        self.data = self.dir / "data"
        self.arguments = [
            "controller", "--embed-broker", "--data-dir", str(self.data),
            "--api-listen", f"127.0.0.1:{self.api_port}",
            "--mqtt-listen", f"tls://{host}:{self.mqtt_port}",
            "--advertise", f"{host}:{self.mqtt_port}", *flags,
        ]

    def start(self):
        self.spawn(self.arguments)
        self.ctx.wait(self.is_ready, 30, "the controller's readiness")
        return self

    def is_ready(self):
        if self.child.poll() is not None:
            raise NotMeasured(f"the controller ended: {self.last_words()}")
        try:
            connection = self.connect()
        except OSError:
            return False
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @property
    def token(self):
        return (self.data / "admin.token").read_text().strip()

    def connect(self):
        """A connection that stays in the controller's network namespace."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=30)
        with network.entered(self.netns):
            connection.connect()
        connection.auto_open = 0
        return connection

    def ask(self, method, path, body=None, connection=None):
        """One request of the API; the answer's JSON."""
        own = connection is None
        connection = connection or self.connect()
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            if body is not None:
                body = json.dumps(body).encode()
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 400:
                raise NotMeasured(f"{method} {path} gave {answer.status}: {text[:200]!r}")
            return json.loads(text) if text else None
        finally:
            if own:
                connection.close()

    def cli(self, *arguments, seconds=90):
        """An operator's command; what it printed."""
        self.ctx.go_on()
        command = network.inside(self.netns, [self.ctx.binary, *arguments])
        url = f"http://127.0.0.1:{self.api_port}"
        env = environment({"FLEETCTL_URL": url, "FLEETCTL_TOKEN": self.token})
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds,
                                  stdin=subprocess.DEVNULL, close_fds=False)
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"`fleetctl {arguments[0]}` took more than {seconds} s") from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-300:]
            raise NotMeasured(f"`fleetctl {arguments[0]}` failed: {said}")
        return done.stdout

    def node(self, name):
        return self.ask("GET", f"/api/v1/nodes/{name}")

    def instance(self, workload):
        for instance in self.ask("GET", "/api/v1/instances"):
            if instance["workload"] == workload:
                return instance
        return None

    def handshake_ms(self):
        """A bare TCP connect and TLS handshake with the broker's port."""
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        begun = time.perf_counter()
        with socket.create_connection((self.host, self.mqtt_port), timeout=10) as plain:
            with tls.wrap_socket(plain):
                return (time.perf_counter() - begun) * 1000

    def manifest(self, text):
        path = self.dir / f"manifest-{self.ctx.number()}.toml"
        path.write_text(text)
        return str(path)


class Agent(Process):
    """An agent that joins `controller`; engines that are not given are off."""

    def __init__(self, controller, name, docker=None, podman=None, netns=None):
        super().__init__(controller.ctx, name, netns)
        self.controller = controller
        # The whole machine shares the engines: the node's name is on the containers' labels.
        self.node = f"bench-{self.ctx.id}-{name}-{self.ctx.number()}"
        self.data = self.dir / "data"
        self.has_engine = bool(docker or podman)
        self.arguments = [
            "agent", "--data-dir", str(self.data), "--name", self.node,
            "--docker-socket", docker or "off", "--podman-socket", podman or "off",
        ]

    def start(self):
        joined = (self.data / "fleet.json").exists()
        join = [] if joined else ["--join", self.controller.cli("token", "create", "--kind", "join").strip()]
        self.spawn([*self.arguments, *join])
        return self

    def is_online(self):
        if self.child.poll() is not None:
            raise NotMeasured(f"the agent ended: {self.last_words()}")
        nodes = self.controller.ask("GET", "/api/v1/nodes")["items"]
        # Facts come a moment after it is online; without them nothing can be placed on it.
        return any(n["name"] == self.node and n["state"] == "online" and n["facts"]
                   and (n["facts"]["engines"] or not self.has_engine) for n in nodes)

    def online(self):
        self.start()
        self.ctx.wait(self.is_online, 30, f"node {self.name} online")
        return self


class Events(threading.Thread):
    """Reads the event stream; each event with the moment at which it was here."""

    def __init__(self, controller):
        super().__init__(daemon=True)
        self.items, self.news = [], threading.Condition()
        self.connection = controller.connect()
        self.connection.sock.settimeout(None)
        self.ctx = controller.ctx
        self.connection.request("GET", "/api/v1/events",
                                headers={"Authorization": f"Bearer {controller.token}"})
        self.answer = self.connection.getresponse()
        self.start()

    def run(self):
        try:
            for line in self.answer:
                if line.startswith(b"data:"):
                    now = time.perf_counter()
                    event = json.loads(line[5:])["event"]
                    with self.news:
                        self.items.append((now, event))
                        self.news.notify_all()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass  # closed, by us or with the controller

    def mark(self):
        with self.news:
            return len(self.items)

    def wait(self, mark, name, node, seconds, workload=None):
        """The first event `name` (or one of them) of `node` after `mark`: (moment, event)."""
        names = (name,) if isinstance(name, str) else name
        until = time.monotonic() + min(seconds, self.ctx.remaining())
        with self.news:
            while True:
                for moment, event in self.items[mark:]:
                    if (event["event"] in names and event.get("node") == node
                            and workload in (None, event.get("workload"))):
                        return moment, event
                left = until - time.monotonic()
                if left <= 0:
                    raise NotMeasured(f"no event {' or '.join(names)} of {node} within {seconds:g} s")
                self.news.wait(left)

    def close(self):
        if self.connection.sock is not None:
            self.connection.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.close()
        except OSError:
            pass
