"""Docker and Podman as `tests/engines.sh` starts them: their clients, and their sockets."""

import contextlib
import datetime
import http.client
import json
import re
import shutil
import socket
import subprocess
import time
from urllib.parse import quote

from .base import NotMeasured
from .fleet import environment

COMMAND = ["/bin/sleep", "3600"]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("engine", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def unix_time(text):
    """RFC 3339 with nanoseconds, as seconds."""
    parts = re.fullmatch(r"(\d+-\d+-\d+T\d+:\d+:\d+)(\.\d+)?(Z|[+-]\d+:\d+)", text)
    if parts is None:
        raise NotMeasured(f"the engine's time {text!r} is not one")
    whole, fraction, zone = parts.groups()
    base = datetime.datetime.fromisoformat(whole + zone.replace("Z", "+00:00"))
    return base.timestamp() + float(fraction or 0)


class Engine:
    """One engine by its socket. `ways` are the clients that `run -d` is measured with."""

    def __init__(self, ctx, name, socket_path, image, prefix):
        self.ctx, self.name, self.socket, self.image = ctx, name, socket_path, image
        self.prefix = prefix
        self.label = f"fleetctl-bench={ctx.id}"
        self.ways = {}

    def ask(self, method, path, missing_is_fine=False):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, self.prefix + path)
            answer = connection.getresponse()
            text = answer.read()
            # 304: it is so already.
            fine = answer.status < 400 or missing_is_fine and answer.status == 404
            if not fine:
                raise NotMeasured(f"{self.name}: {method} {path} gave {answer.status}: {text[:200]!r}")
            return json.loads(text) if text[:1] in (b"{", b"[") else None
        except OSError as error:
            raise NotMeasured(f"{self.name} at {self.socket} does not answer: {error}") from None
        finally:
            connection.close()

    def version(self):
        return self.ask("GET", "/version")["Version"]

    def started_at(self, container):
        """When it was started last, on the engine's clock, which is ours."""
        return unix_time(self.ask("GET", f"/containers/{container}/json")["State"]["StartedAt"])

    def is_running(self, container):
        found = self.ask("GET", f"/containers/{container}/json", missing_is_fine=True)
        return bool(found and found.get("State", {}).get("Running"))

    def kill(self, container):
        self.ask("POST", f"/containers/{container}/kill?signal=KILL")

    def run(self, way, seconds=60):
        """`run -d`: (seconds until the container was started, until the command returned, id)."""
        begun, child = self.begin(way)
        return self.finish(way, begun, child, seconds)

    def begin(self, way):
        command, extra = self.ways[way]
        words = [*command, "run", "-d", "--label", self.label, self.image, *COMMAND]
        begun = time.time()
        child = subprocess.Popen(words, env=environment(extra), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                                 close_fds=False)
        return begun, child

    def finish(self, way, begun, child, seconds=60):
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise NotMeasured(f"`{way}` took more than {seconds} s") from None
        returned = time.time()
        if child.returncode != 0:
            raise NotMeasured(f"`{way}` failed: {err.strip()[-300:]}")
        container = out.split()[-1]
        return self.started_at(container) - begun, returned - begun, container

    def remove(self, *containers):
        # Without a grace on podman, where it would be ten seconds; docker has none here.
        for container in containers:
            self.ask("DELETE", f"/containers/{container}?force=true&timeout=0", missing_is_fine=True)

    def clean(self):
        """Removes what carries our label, and what agents of this run left."""
        key, _, run = self.label.partition("=")
        with contextlib.suppress(NotMeasured):
            every = self.ask("GET", "/containers/json?all=true&filters="
                             + quote(json.dumps({"label": [self.label]})))
            agents = self.ask("GET", "/containers/json?all=true&filters="
                              + quote(json.dumps({"label": ["io.fleetctl.node"]})))
            ours = [c for c in agents
                    if c["Labels"]["io.fleetctl.node"].startswith(f"bench-{run}-")]
            self.remove(*(c["Id"] for c in [*every, *ours]))


def docker(ctx):
    """Docker, and its client on the private socket."""
    path = ctx.engines.get("FLEETCTL_TEST_DOCKER_SOCKET")
    if not path:
        raise NotMeasured("docker: FLEETCTL_TEST_DOCKER_SOCKET is not in the engines' env")
    engine = Engine(ctx, "docker", path, "fleetctl-test:1", "")
    client = shutil.which("docker")
    if client:
        engine.ways["docker run -d"] = ([client, "-H", f"unix://{path}"], {})
    engine.reference = "docker.io/library/fleetctl-test:1"
    engine.version()
    return engine


def podman(ctx):
    """Podman: its client by itself, on the storage of the service, and as a remote client."""
    path = ctx.engines.get("FLEETCTL_TEST_PODMAN_SOCKET")
    if not path:
        raise NotMeasured("podman: FLEETCTL_TEST_PODMAN_SOCKET is not in the engines' env")
    engine = Engine(ctx, "podman", path, "localhost/fleetctl-test:1", "/v4.0.0/libpod")
    client = shutil.which("podman")
    if client:
        where = ctx.engines["dir"]
        same = {
            "CONTAINERS_CONF": f"{where}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{where}/storage.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{where}/registries.conf",
            "REGISTRY_AUTH_FILE": f"{where}/no-auth.json",
        }
        engine.ways["podman run -d"] = ([client], same)
        engine.ways["podman --remote run -d"] = ([client, "--remote", "--url", f"unix://{path}"], same)
    engine.reference = engine.image
    engine.version()
    return engine


def agent_flags(engine):
    """The flags with which an agent has this engine and no other."""
    return {engine.name: engine.socket}


KINDS = {"docker": (docker, 0.95), "podman": (podman, 0.85)}
