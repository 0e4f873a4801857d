"""The argument lists of docker and podman, word by word."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.deploy.container.entrypoint import DEFAULT
from hermesd.deploy.container.identity import identity

if TYPE_CHECKING:
    from hermesd.deploy.container.manifest import Manifest

DATA = "/data"
PACKAGE = f"{DATA}/current-package"
LABEL = "hermesd.identity"
"""Kept by the backend with the container itself, where nobody inside can write."""
STOP_S = 45
"""Longer than ``shutdown.drain_s`` and ``shutdown.stop_s`` of hermesd together, as they come."""


def create(manifest: Manifest, name: str) -> list[str]:
    """``create`` of a container of this manifest. What is ours stands behind the options of the manifest, and wins.

    It fetches no image: whether that is wanted, ``container.pull`` says, and ``pull`` is a command of its own.
    """
    container = manifest.container
    state = manifest.state_dir
    mounts = [f"type=bind,source={path},target={path},readonly" for path in container.store]
    mounts += [
        f"type=bind,source={state},target={DATA}",
        f"type=bind,source={state}/home,target=/home/{container.user}",
    ]
    text = container.entrypoint_text or DEFAULT
    return [
        *(container.backend, "create", *container.options),
        *(word for mount in mounts for word in ("--mount", mount)),
        *(word for volume in container.volumes for word in ("--volume", volume)),
        *("--env", f"HERMES_HOME={inside(manifest, manifest.home)}", "--env", f"HOME=/home/{container.user}"),
        *("--workdir", f"{DATA}/workspace", "--network", container.network, "--init", "--pull", "never"),
        *("--label", f"{LABEL}={identity(manifest)}", "--name", name, "--entrypoint", "/bin/sh"),
        *(container.image, "-c", text, "hermesd"),
        *(container.user, str(container.uid), str(container.gid), f"{PACKAGE}/bin/hermesd", *container.args),
    ]


def inside(manifest: Manifest, path: str) -> str:
    """The path in the container of one below the state directory."""
    return str(PurePosixPath(DATA) / PurePosixPath(path).relative_to(manifest.state_dir))


def inspect(manifest: Manifest, name: str) -> list[str]:
    """Prints the state and the identity, in one line."""
    form = f'{{{{.State.Status}}}} {{{{index .Config.Labels "{LABEL}"}}}}'
    return [manifest.container.backend, "inspect", "--type", "container", "--format", form, "--", name]


def pull(manifest: Manifest) -> list[str]:
    """Fetch the image anew."""
    return [manifest.container.backend, "pull", manifest.container.image]


def has_image(manifest: Manifest) -> list[str]:
    """Succeeds when the image is here."""
    return [manifest.container.backend, "image", "inspect", "--format", "{{.Id}}", manifest.container.image]


def start(manifest: Manifest, *, attach: bool = False) -> list[str]:
    """Start it; ``attach`` stays, with its output and its status."""
    return [manifest.container.backend, "start", *(["--attach"] if attach else []), manifest.container.name]


def stop(manifest: Manifest) -> list[str]:
    """Stop it in order."""
    return [manifest.container.backend, "stop", "-t", str(STOP_S), manifest.container.name]


def kill(manifest: Manifest, name: str) -> list[str]:
    """Send a signal (``HUP``: hermesd reads its configuration again) to the first process."""
    return [manifest.container.backend, "kill", "--signal", name, manifest.container.name]


def remove(manifest: Manifest, name: str) -> list[str]:
    """Remove a stopped container with its writable layer."""
    return [manifest.container.backend, "rm", name]


def rename(manifest: Manifest, old: str) -> list[str]:
    """Give it the name that the manifest has for it."""
    return [manifest.container.backend, "rename", old, manifest.container.name]


def gc_root(manifest: Manifest) -> list[str]:
    """Keep the package from ``nix-collect-garbage``; [] for one that is not in a Nix store."""
    if not manifest.package.startswith("/nix/store/"):
        return []
    root = f"{manifest.state_dir}/.gc-root"
    return ["nix-store", "--realise", manifest.package, "--add-root", root, "--indirect"]


def marker_text(manifest: Manifest) -> str:
    """The home's .container-mode."""
    container = manifest.container
    return (
        "# written by `hermesctl container ensure`: calls of hermesctl on this host go into this container\n"
        f"backend={container.backend}\ncontainer_name={container.name}\nexec_user={container.user}\n"
        f"hermes_bin={PACKAGE}/bin/hermesctl\n"
    )
