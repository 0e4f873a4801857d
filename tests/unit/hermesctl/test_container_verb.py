"""``hermesctl container`` with a podman that keeps its containers in files and notes how it was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.stand_in import StandIns

PODMAN = r"""
d="${0%/*}"
for last; do :; done
case "$1" in
inspect)
    case "$*" in *Labels*) fields=1- ;; *) fields=1 ;; esac
    [ -f "$d/c.$last" ] && exec cut -d" " -f$fields "$d/c.$last"
    echo "Error: no such container $last" >&2 && exit 125 ;;
image) test -f "$d/i.$last" ;;
pull) touch "$d/i.$last" ;;
create)
    label= name=
    while [ $# -gt 0 ]; do
        case "$1" in
        --label) label="${2#*=}" ;;
        --name) name="$2" ;;
        --bad) echo "unknown flag: --bad" >&2 && exit 125 ;;
        esac
        shift
    done
    echo "created $label" >"$d/c.$name" ;;
start) sed -i 's/^[a-z]*/running/' "$d/c.$last" ;;
stop) sed -i 's/^[a-z]*/exited/' "$d/c.$last" ;;
rm) rm "$d/c.$last" ;;
rename) mv "$d/c.$2" "$d/c.$3" ;;
exec) exit 37 ;;
esac
"""


class Host:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.stand_ins = StandIns(place / "bin")
        self.stand_ins.put("podman", PODMAN)
        self.stand_ins.put("nix-store")
        uid = os.geteuid() or 10000
        self.container: dict[str, Any] = {
            "image": "img",
            "backend": "podman",
            "uid": uid,
            "gid": os.getegid() or 10000,
            "pull": "never",
        }
        self.declared: dict[str, Any] = {
            "schema": 1,
            "package": "/opt/hermesd",
            "stateDir": f"{place}/state",
            "container": self.container,
        }

    def verb(self, action: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        manifest = self.place / "m.json"
        manifest.write_text(json.dumps(self.declared))
        return subprocess.run(
            [sys.executable, "-m", "hermesctl", "container", action, "--manifest", str(manifest), *words],
            env={**os.environ, "PATH": self.stand_ins.path, "HERMES_HOME": str(self.place / "no-home"), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def outcome(self, action: str, *words: str) -> str:
        done = self.verb(action, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    def changes(self) -> list[list[str]]:
        """What was run that changes something, without the words behind the container's name of create."""
        return [call[1:] for call in self.stand_ins.calls() if call[1] not in ("inspect", "image")]

    def verbs(self) -> list[str]:
        return [call[0] if call[0] != "create" else f"create {name_of(call)}" for call in self.changes()]


def name_of(call: list[str]) -> str:
    return call[call.index("--name") + 1]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_ensure_creates_once_and_starts_nothing(host: Host) -> None:
    """start and stop are words of their own, and twice is once."""
    assert host.outcome("ensure") == "hermes-agent: created"
    assert host.outcome("ensure") == "hermes-agent: kept"
    assert host.verbs() == ["create hermes-agent"]
    assert host.outcome("start") == "hermes-agent: started"
    assert host.outcome("start") == "hermes-agent: running"
    assert host.outcome("status") == "hermes-agent: running, as declared"
    assert host.outcome("stop") == "hermes-agent: stopped"
    assert host.outcome("stop") == "hermes-agent: not running"
    assert host.changes()[1:] == [["start", "hermes-agent"], ["stop", "-t", "45", "hermes-agent"]]


def test_another_identity_is_created_before_the_old_container_goes(host: Host) -> None:
    """One that ran runs again; one that did not stays stopped."""
    host.outcome("ensure")
    host.outcome("start")
    host.container["options"] = ["--memory", "1g"]
    done = host.verb("status")
    assert (done.returncode, "not as declared" in done.stdout) == (1, True)
    assert host.outcome("ensure") == "hermes-agent: recreated"
    assert host.verbs()[2:] == ["create hermes-agent.next", "stop", "rm", "rename", "start"]
    assert host.changes()[-2] == ["rename", "hermes-agent.next", "hermes-agent"]
    host.outcome("stop")
    host.container["options"] = []
    host.outcome("ensure")
    assert host.verbs()[-3:] == ["create hermes-agent.next", "rm", "rename"]


def test_recreate_replaces_also_what_is_as_declared(host: Host) -> None:
    """For a fresh writable layer; and creates what is not there."""
    assert host.outcome("recreate") == "hermes-agent: created"
    assert host.outcome("recreate") == "hermes-agent: recreated"
    assert host.verbs() == ["create hermes-agent", "create hermes-agent.next", "rm", "rename"]


def test_what_the_backend_refuses_leaves_the_old_container(host: Host) -> None:
    """And says it in the backend's words."""
    host.outcome("ensure")
    host.outcome("start")
    host.container["options"] = ["--bad"]
    done = host.verb("ensure")
    assert done.returncode == 1
    assert "podman create failed: unknown flag: --bad" in done.stderr
    host.container["options"] = []
    assert host.outcome("status") == "hermes-agent: running, as declared"


def test_what_a_killed_call_has_left_is_cleared_away(host: Host) -> None:
    """The next one creates its own."""
    host.outcome("ensure")
    (host.stand_ins.place / "c.hermes-agent.next").write_text("created x\n")
    assert host.outcome("recreate") == "hermes-agent: recreated"
    assert host.changes()[1] == ["rm", "hermes-agent.next"]


def test_a_container_that_hermesctl_has_not_created_is_left_alone(host: Host) -> None:
    """By every action that would change it."""
    (host.stand_ins.place / "c.hermes-agent").write_text("running <no value>\n")
    for action in ("ensure", "recreate", "start", "stop"):
        done = host.verb(action)
        assert done.returncode == 1
        assert "that hermesctl has not created" in done.stderr
    assert host.verbs() == []


@pytest.mark.parametrize(("pull", "expected"), [("always", ["pull", "pull"]), ("missing", ["pull"]), ("never", [])])
def test_images_are_pulled_as_declared(host: Host, pull: str, expected: list[str]) -> None:
    """By default anew for each container."""
    host.container["pull"] = pull
    host.outcome("ensure")
    host.outcome("recreate")
    assert [verb for verb in host.verbs() if verb == "pull"] == expected


def test_a_dry_run_prints_the_words_and_does_nothing(host: Host) -> None:
    """Each line could be typed into a shell."""
    done = host.verb("ensure", "--dry-run")
    assert done.returncode == 0
    assert "podman create --mount type=bind,source=/nix/store,target=/nix/store,readonly" in done.stdout
    assert done.stdout.endswith("hermes-agent: would be created\n")
    assert not (host.place / "state").exists()
    host.outcome("ensure")
    for action, expected in [
        ("start", "podman start hermes-agent\n"),
        ("recreate", "podman rm hermes-agent\npodman rename hermes-agent.next hermes-agent\n"),
        ("exec", "podman exec -i -u hermes hermes-agent id -u\n"),
    ]:
        words = ("--", "id", "-u") if action == "exec" else ()
        env = dict.fromkeys(("TERM", "COLORTERM", "LANG", "LC_ALL"), "")
        assert expected in host.verb(action, "--dry-run", *words, **env).stdout
    assert host.verb("start", "--dry-run", "--attach").stdout == "podman start --attach hermes-agent\n"
    assert host.verbs() == ["create hermes-agent"]


def test_the_result_as_json_has_changes_and_outcome(host: Host) -> None:
    """Nothing else is printed."""
    found = json.loads(host.verb("ensure", "--json").stdout)
    assert (found["name"], found["outcome"]) == ("hermes-agent", "created")
    assert any("current-package" in change for change in found["changes"])
    found = json.loads(host.verb("status", "--json").stdout)
    assert found["state"] == "created"
    assert found["identity"] == found["declared"] != ""


def test_a_package_in_a_nix_store_is_kept_from_the_collector(host: Host) -> None:
    """Each time, so that a root that went comes back."""
    host.declared["package"] = "/nix/store/abc-hermesd"
    for _ in range(2):
        host.outcome("ensure")
    root = f"{host.place}/state/.gc-root"
    expected = ["nix-store", "--realise", "/nix/store/abc-hermesd", "--add-root", root, "--indirect"]
    assert host.stand_ins.calls("nix-store") == [expected, expected]


def test_start_with_attach_becomes_the_backends_client(host: Host) -> None:
    """Its status is the service's; the mounts are looked at before."""
    host.outcome("ensure")
    host.stand_ins.put("podman", f'case "$2" in --attach) exit 5;; esac\n{PODMAN}')
    assert host.verb("start", "--attach").returncode == 5
    (host.place / "state/home").rename(host.place / "moved")
    (host.place / "state/home").symlink_to("/etc")
    done = host.verb("start", "--attach")
    assert (done.returncode, "is a symbolic link" in done.stderr) == (78, True)
    assert host.verbs() == ["create hermes-agent", "start"]


def test_start_attach_refuses_what_is_absent_or_somebody_elses(host: Host) -> None:
    """As start does without it."""
    assert host.verb("start", "--attach").returncode == 1
    (host.stand_ins.place / "c.hermes-agent").write_text("exited <no value>\n")
    assert "has not created" in host.verb("start", "--attach").stderr


def test_exec_brings_the_status_of_the_program(host: Host) -> None:
    """As the agent or as somebody else; a container that does not run is an error."""
    host.outcome("ensure")
    done = host.verb("exec", "--", "true")
    assert (done.returncode, "is not running (created)" in done.stderr) == (69, True)
    host.outcome("start")
    assert host.verb("exec", "-u", "root", "--", "apt-get", "install", "-y", "x").returncode == 37
    call = [call for call in host.changes() if call[0] == "exec"][-1]
    assert call[:4] == ["exec", "-i", "-u", "root"]
    assert call[-5:] == ["hermes-agent", "apt-get", "install", "-y", "x"]
    assert host.verb("exec", "-u", "-x", "--", "true").returncode != 0


def test_errors_have_the_statuses_of_the_contract(host: Host) -> None:
    """A wrong manifest 78, usage 2, no backend 69, no container 1."""
    host.declared["pakage"] = "x"
    assert host.verb("ensure").returncode == 78
    del host.declared["pakage"]
    assert host.verb("ensure", "--odd").returncode == 2
    assert host.verb("start").returncode == 1
    assert host.verb("ensure", PATH=str(host.place)).returncode == 69
    (host.place / "m.json").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "hermesctl", "container", "status", "--manifest", f"{host.place}/m.json"],
        env={**os.environ, "HERMES_HOME": str(host.place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "cannot be read" in done.stderr) == (78, True)
