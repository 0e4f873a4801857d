"""Containers of the image of docker/Dockerfile: in the background or to their end, on volumes that outlive them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator

from tests.servers.dockerd import Engine

UID = "10000"
PATIENCE_S = 60.0


class Container:
    """A container with a volume of its own."""

    def __init__(self, docker: Engine, name: str) -> None:
        self.docker = docker
        self.name = name

    def exec(self, *words: str, user: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        flags = ["--user", user] if user else []
        return self.docker.run("exec", *flags, self.name, *words, check=check)

    def sh(self, script: str) -> str:
        return self.exec("sh", "-c", script, user=UID).stdout.strip()

    def ready(self) -> None:
        """The daemon answers, and not the one before: a dead one's socket is there, but refuses."""
        deadline = time.monotonic() + PATIENCE_S
        while self.exec("hermesctl", "status", user=UID, check=False).returncode:
            assert time.monotonic() < deadline, self.logs()

    def logs(self) -> str:
        done = self.docker.run("logs", self.name)
        return done.stdout + done.stderr

    def wait(self) -> int:
        """Its end; its exit status."""
        return int(self.docker.run("wait", self.name).stdout)

    def state(self, field: str) -> str:
        return self.docker.run("inspect", "--format", f"{{{{.State.{field}}}}}", self.name).stdout.strip()


@contextlib.contextmanager
def container(
    docker: Engine, image: str, *words: str, flags: tuple[str, ...] = (), wait: bool = True
) -> Iterator[Container]:
    """One in the background, ready on entry unless it is not to be waited for; removed with its volume."""
    made = docker.run("run", "--detach", "--network=host", *flags, image, *words).stdout.strip()
    found = Container(docker, made)
    try:
        if wait:
            found.ready()
        yield found
    finally:
        docker.run("rm", "--force", "--volumes", made)


def call(
    docker: Engine, image: str, *words: str, flags: tuple[str, ...] = (), stdin: str | None = None
) -> tuple[int, str]:
    """`docker run --rm`: exit status and what was printed."""
    options = {"input": stdin} if stdin is not None else {}
    done = docker.run("run", "--rm", "--network=host", *flags, image, *words, check=False, **options)
    return done.returncode, done.stdout + done.stderr


def new_volume() -> tuple[str, str]:
    """The flags for a volume that outlives its containers; it goes with the engine."""
    return ("--volume", f"home-{os.urandom(4).hex()}:/opt/data")
