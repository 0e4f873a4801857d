"""The units that Nix renders: the same service as hermesctl's, right for systemd, and as little exposed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermesd.deploy import units
from hermesd.deploy.manager import Installation
from tests.nix.evaluation import NEEDS_NIX, NIX, Nix, as_nix

pytestmark = NEEDS_NIX
NEEDS_SYSTEMD = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
LIBRARY = f"(import {NIX}/lib/unit.nix)"
HOME = "/var/lib/games/.hermes"
SERVICE: dict[str, Any] = {
    "scope": "system",
    "name": "hermes-agent",
    "owner": "games",
    "user": "games",
    "group": "games",
    "package": "/usr",
    "manifest": "/etc/hermes.json",
    "home": HOME,
    "writable": [HOME],
}
Sections = dict[str, dict[str, list[str]]]


def service(nix: Nix, **more: Any) -> str:
    """The text of a service."""
    text = nix.evaluate(f"{LIBRARY}.text ({LIBRARY}.service {as_nix(SERVICE | more)})")
    assert isinstance(text, str)
    return text


def sections(text: str) -> Sections:
    """Section → key → values, as systemd reads them."""
    found: Sections = {}
    inside: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            inside = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            inside.setdefault(key, []).append(value)
    return found


def by_hermesctl(scope: str) -> tuple[Sections, Sections]:
    """The service and the socket that `hermesctl service install` writes for the same."""
    installation = Installation(
        scope="system" if scope == "system" else "user",
        hermesd="/usr/bin/hermesd",
        hermesctl="/usr/bin/hermesctl",
        home=Path(HOME),
        socket=Path(HOME, "hermesd.sock"),
        user="games" if scope == "system" else "",
        group="games" if scope == "system" else "",
    )
    return sections(units.service(installation)), sections(units.socket(installation))


# What the modules have options for, or name otherwise.
OF_OPTIONS = {"Restart", "RestartSec", "Environment", "ExecStartPre", "ExecReload"}
# What follows from the others, and is said for systemd-analyze.
SAID = {"PrivateMounts", "ProtectClock", "ProtectKernelModules", "RestrictNamespaces"}


@pytest.mark.parametrize("scope", ["system", "user"])
def test_the_service_is_hermesctls_line_by_line(nix: Nix, scope: str) -> None:
    """So that what is learned about one is not forgotten in the other; neither has a directive that the other lacks."""
    wanted, _ = by_hermesctl(scope)
    made = sections(service(nix, scope=scope, writable=[HOME] if scope == "system" else []))
    assert made["Service"]["ExecReload"] == ['"/usr/bin/env" "HERMES_DEV=1" "/usr/bin/hermesctl" "reload"']
    assert wanted["Service"]["ExecReload"][0].endswith(" reload")
    for text in (wanted["Service"], made["Service"]):
        for key in OF_OPTIONS:
            text.pop(key, None)
    for key in SAID & made["Service"].keys():
        wanted["Service"].setdefault(key, made["Service"][key])
    assert made["Service"] == wanted["Service"]
    assert made["Unit"]["StartLimitBurst"] == wanted["Unit"]["StartLimitBurst"]
    assert made["Unit"]["StartLimitIntervalSec"] == wanted["Unit"]["StartLimitIntervalSec"]


@pytest.mark.parametrize("scope", ["system", "user"])
def test_the_socket_is_hermesctls_line_by_line(nix: Nix, scope: str) -> None:
    """But for the group, whom the module lets in on demand, and a home that is not there yet."""
    _, wanted = by_hermesctl(scope)
    path = units.SYSTEM_SOCKET if scope == "system" else f"{HOME}/hermesd.sock"
    link = f"{HOME}/hermesd.sock" if scope == "system" else ""
    arguments = {"scope": scope, "owner": "games", "path": path, "link": link, "user": "games", "group": "games"}
    made = sections(nix.evaluate(f"{LIBRARY}.text ({LIBRARY}.socket {as_nix(arguments)})"))
    wanted["Socket"].setdefault("DirectoryMode", ["0700"])
    assert made["Socket"] == wanted["Socket"]
    assert nix.evaluate(f"{LIBRARY}.socketPath") == units.SYSTEM_SOCKET
    shared = nix.evaluate(f"({LIBRARY}.socket {as_nix(arguments | {'shared': True})}).Socket.SocketMode")
    assert shared == "0660"


def verify(place: Path, texts: dict[str, str]) -> list[str]:
    """What systemd finds wrong with units of these names."""
    place.mkdir(exist_ok=True)
    for name, text in texts.items():
        (place / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(place / name for name in texts)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stderr.splitlines() if str(place) in line or "hermes" in line]


def exposure(path: Path) -> float:
    """By systemd-analyze security, which reads the file alone."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", path],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    return float(found[1])


# hermesd's programs are not there: systemd would say so, and of nothing else.
AWKWARD = ["/var/lib/games/.hermes", "/srv/with blanks/x", "/srv/100%h", "/srv/$HOME/it's", '/srv/"ü"\\']


@NEEDS_SYSTEMD
@pytest.mark.parametrize("home", AWKWARD)
def test_systemd_finds_nothing_wrong_whatever_the_home_is_called(nix: Nix, tmp_path: Path, home: str) -> None:
    """Service and socket together."""
    arguments = {"scope": "system", "owner": "games", "path": "/run/hermesd/hermesd.sock", "user": "games"}
    arguments |= {"group": "games", "link": f"{home}/hermesd.sock"}
    text = service(nix, home=home, writable=[home], args=["--log-level", "$debug %h"], variables={"A": "a b %"})
    text = re.sub(r'"/usr/bin/hermes(d|ctl)"', '"/usr/bin/true"', text)
    socket = nix.evaluate(f"{LIBRARY}.text ({LIBRARY}.socket {as_nix(arguments)})")
    assert verify(tmp_path / "units", {"hermes-agent.service": text, "hermes-agent.socket": socket}) == []
    words = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert words == ['ExecStart="/usr/bin/true" "--log-level" "$$debug %%h"']


@NEEDS_SYSTEMD
@pytest.mark.parametrize(
    ("more", "most"),
    [
        ({}, 1.3),
        ({"credentials": {"env-0": "/run/secrets/env"}}, 1.3),
        ({"hardening": {"namespaces": True}}, 2.0),
        ({"writable": ["/home/games/.hermes"], "home": "/home/games/.hermes"}, 2.0),
        ({"hardening": {"directives": {"MemoryMax": "4G"}}}, 1.3),
    ],
    ids=["as shipped", "with secrets", "with namespaces", "in a home", "with more"],
)
def test_the_exposure_is_small(nix: Nix, tmp_path: Path, more: dict[str, Any], most: float) -> None:
    """At most 1.3 where tools need no namespaces, and 2.0 where they do."""
    path = tmp_path / "hermes-agent.service"
    path.write_text(service(nix, **more))
    assert exposure(path) <= most


@NEEDS_SYSTEMD
def test_the_activation_before_a_container_is_hardened_too(nix: Nix, tmp_path: Path) -> None:
    """It reads the secrets as the agent's user, once for each start."""
    arguments = SERVICE | {"credentials": {"env-0": "/run/secrets/env"}}
    text = nix.evaluate(f"{LIBRARY}.text ({LIBRARY}.activation {as_nix(arguments)})")
    made = sections(text)["Service"]
    assert made["Type"] == ["oneshot"]
    assert made["LoadCredential"] == ["env-0:/run/secrets/env"]
    assert made["User"] == ["games"]
    assert "WatchdogSec" not in made
    path = tmp_path / "hermes-agent-activate.service"
    path.write_text(text)
    assert exposure(path) <= 2.0
    keeper = {"name": "hermes-agent", "owner": "games", "package": "/usr", "manifest": "/c.json", "backend": "podman"}
    container = nix.evaluate(f"{LIBRARY}.text ({LIBRARY}.containerService {as_nix(keeper)})")
    texts = {"hermes-agent-activate.service": text, "hermes-agent.service": container}
    right = {name: re.sub(r'"/usr/bin/hermes(d|ctl)"', '"/usr/bin/true"', each) for name, each in texts.items()}
    assert verify(tmp_path / "units", right) == []
    assert sections(container)["Unit"]["Requires"] == ["hermes-agent-activate.service"]


def test_a_directive_of_null_goes_and_others_come(nix: Nix) -> None:
    """hardening.directives."""
    made = sections(service(nix, hardening={"directives": {"PrivateDevices": None, "MemoryMax": "4G"}}))["Service"]
    assert "PrivateDevices" not in made
    assert made["MemoryMax"] == ["4G"]


def test_the_device_of_a_desktop_agent_is_the_only_one(nix: Nix) -> None:
    """/dev/uinput needs no other."""
    directives = nix.evaluate(f"{LIBRARY}.inputDevice")
    made = sections(service(nix, hardening={"directives": directives}))["Service"]
    assert (made["DevicePolicy"], made["DeviceAllow"]) == (["closed"], ["/dev/uinput rw"])
