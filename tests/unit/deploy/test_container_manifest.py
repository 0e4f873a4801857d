"""Manifests: what is read, what is refused, what makes another container, and the words for the backend."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesctl.routing.marker import Marker, parse_marker
from hermesd.deploy.container import commands
from hermesd.deploy.container.entrypoint import DEFAULT
from hermesd.deploy.container.identity import identity
from hermesd.deploy.container.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from hermesd.errors import ConfigError


def declared(**container: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "package": "/nix/store/abc-hermesd",
        "stateDir": "/var/lib/hermes",
        "container": {"image": "ubuntu:24.04", **container},
    }


def parse(raw: object) -> Manifest:
    return parse_manifest(json.dumps(raw).encode(), "m.json")


def test_an_image_a_package_and_a_place_are_enough() -> None:
    """Everything else has the default of the NixOS options."""
    found = parse(declared())
    assert found.home == "/var/lib/hermes/.hermes"
    container = found.container
    assert (container.backend, container.name, container.user) == ("docker", "hermes-agent", "hermes")
    assert (container.network, container.store, container.pull) == ("host", ["/nix/store"], "always")


def test_the_state_directory_follows_from_the_home() -> None:
    """Which lies in it."""
    raw = declared()
    raw["home"] = "/srv/agent/.hermes"
    del raw["stateDir"]
    assert parse(raw).state_dir == "/srv/agent"


def test_names_of_the_options_and_parts_of_activate_are_known() -> None:
    """One manifest serves both verbs."""
    raw = declared(extraVolumes=["/a:/b"], extraOptions=["--gpus", "all"], entrypoint="exec x", hostUsers=["me"])
    raw |= {"config": {"mode": "merge"}, "plugins": [], "managedBy": "nixos", "cron": []}
    container = parse(raw).container
    assert (container.volumes, container.options) == (["/a:/b"], ["--gpus", "all"])
    assert (container.entrypoint_text, container.host_users) == ("exec x", ["me"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 2}, "schema is 2"),
        ({"pakage": "/x"}, "unknown field `pakage`"),
        ({"stateDir": "var/lib"}, "not an absolute path"),
        ({"stateDir": "/"}, "not an absolute path"),
        ({"stateDir": "/var/../etc"}, "not an absolute path"),
        ({"stateDir": "/var/a:b"}, "comma, colon"),
        ({"home": "/home/me/.hermes"}, "does not lie in /var/lib/hermes"),
        ({"env": {"values": {"A B": "x"}}}, "env.values cannot be 'A B'"),
        ({"env": {"files": ["secrets"]}}, "not an absolute path"),
        ({"container": {"image": "x", "imgae": "y"}}, "unknown field `imgae`"),
        ({"container": {}}, "missing required field `image`"),
        ({"container": {"image": "--privileged"}}, "container.image cannot be"),
        ({"container": {"image": "x", "backend": "lxc"}}, "Invalid enum value"),
        ({"container": {"image": "x", "name": "a b"}}, "container.name cannot be"),
        ({"container": {"image": "x", "user": "root:0"}}, "container.user cannot be"),
        ({"container": {"image": "x", "hostUsers": ["../x"]}}, "container.hostUsers cannot be"),
        ({"container": {"image": "x", "uid": 0}}, "container.uid is 0"),
        ({"container": {"image": "x", "uid": "1"}}, "Expected `int`"),
        ({"container": {"image": "x", "network": "--x"}}, "container.network cannot be"),
        ({"container": {"image": "x", "store": ["relative"]}}, "not an absolute path"),
        ({"container": {"image": "x", "options": ["a\0b"]}}, "container.options cannot be"),
        ({"container": {"image": "x", "volumes": [], "extraVolumes": []}}, "'volumes' is given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], why: str) -> None:
    """With the key, the file and a next step."""
    with pytest.raises(ConfigError) as refused:
        parse({**declared(), **change})
    assert why in refused.value.what
    assert refused.value.where == "m.json"
    assert refused.value.next_step


def test_an_unknown_key_is_answered_with_the_nearest_known_one() -> None:
    """As everywhere."""
    with pytest.raises(ConfigError) as refused:
        parse(declared(hostUser=["me"]))
    assert refused.value.next_step == "did you mean hostUsers?"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "is larger than"),
        (b'{"schema": 1, "schema": 1}', "'schema' is given twice"),
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes, why: str) -> None:
    """Never another error."""
    with pytest.raises(ConfigError, match=why):
        parse_manifest(data, "m.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["schema", "package", "stateDir", "home", "env", "container", "other"]), json_values)
def test_any_value_anywhere_is_read_or_refused(key: str, value: object) -> None:
    """By a configuration error and no other."""
    with contextlib.suppress(ConfigError):
        assert parse({**declared(), key: value}).container.image


BAKED_IN = [
    {"image": "ubuntu:26.04"},
    {"backend": "podman"},
    {"volumes": ["/a:/b:rw"]},
    {"options": ["--gpus", "all"]},
    {"args": ["--log-level", "debug"]},
    {"uid": 10001},
    {"gid": 10001},
    {"user": "agent"},
    {"network": "none"},
    {"store": ["/opt"]},
    {"entrypointText": "exec sleep 1"},
]


@pytest.mark.parametrize("change", BAKED_IN, ids=lambda change: next(iter(change)))
def test_what_create_bakes_in_makes_another_identity(change: dict[str, Any]) -> None:
    """And stands in the words for create."""
    one, other = parse(declared()), parse(declared(**change))
    assert identity(one) != identity(other)
    label = len("hermesd.identity=") + 64
    assert [word[:label] for word in commands.create(one, "x")] != [
        word[:label] for word in commands.create(other, "x")
    ]


def test_what_is_looked_up_at_each_start_makes_no_other_identity() -> None:
    """The package, the environment, pulling, people; neither does the order in which keys are written."""
    one = parse(declared())
    for change in ({"package": "/nix/store/def-hermesd"}, {"env": {"values": {"A": "b"}, "files": ["/run/x"]}}):
        assert identity(parse({**declared(), **change})) == identity(one)
    for change in ({"pull": "never"}, {"hostUsers": ["me"]}, {"name": "other"}):
        assert identity(parse(declared(**change))) == identity(one)
    assert identity(parse(dict(reversed(declared().items())))) == identity(one)
    assert identity(parse(declared(entrypointText=DEFAULT))) == identity(one)


def test_the_identity_of_a_manifest_stays_what_it_is() -> None:
    """A release that changed it would cost everybody their writable layer: then IDENTITY_SCHEMA tells it."""
    expected = "9594c83b77aab44548c452607cbd8575039a58c3d147ab4bd87fb8affda91cd5"
    assert identity(parse(declared(entrypointText="exec x"))) == expected


@pytest.mark.parametrize("backend", ["docker", "podman"])
def test_create_word_by_word(backend: str) -> None:
    """The mounts of the seed's table; what is ours comes behind the manifest's options."""
    raw = declared(
        backend=backend, extraVolumes=["/a b:/b:rw"], extraOptions=["--gpus", "all"], args=["--log-level", "debug"]
    )
    manifest = parse(raw)
    assert commands.create(manifest, "hermes-agent") == [
        *(backend, "create", "--gpus", "all"),
        *("--mount", "type=bind,source=/nix/store,target=/nix/store,readonly"),
        *("--mount", "type=bind,source=/var/lib/hermes,target=/data"),
        *("--mount", "type=bind,source=/var/lib/hermes/home,target=/home/hermes"),
        *("--volume", "/a b:/b:rw"),
        *("--env", "HERMES_HOME=/data/.hermes", "--env", "HOME=/home/hermes", "--workdir", "/data/workspace"),
        *("--network", "host", "--init", "--pull", "never", "--label", f"hermesd.identity={identity(manifest)}"),
        *("--name", "hermes-agent", "--entrypoint", "/bin/sh", "ubuntu:24.04", "-c", DEFAULT, "hermesd"),
        *("hermes", "10000", "10000", "/data/current-package/bin/hermesd", "--log-level", "debug"),
    ]


def test_no_value_of_the_environment_stands_in_any_word() -> None:
    """Words are seen by everybody on the host, and by `inspect` for ever."""
    raw = declared()
    raw["env"] = {"values": {"TOKEN": "s3cret"}}
    manifest = parse(raw)
    every = [commands.create(manifest, "x"), commands.start(manifest), commands.stop(manifest), commands.pull(manifest)]
    assert not any("s3cret" in word for words in every for word in words)


def test_the_garbage_collector_is_told_of_packages_in_a_nix_store_only() -> None:
    """By a root beside the state."""
    assert commands.gc_root(parse(declared()))[2:] == [
        *("/nix/store/abc-hermesd", "--add-root", "/var/lib/hermes/.gc-root", "--indirect")
    ]
    assert commands.gc_root(parse({**declared(), "package": "/opt/hermesd"})) == []


def test_the_marker_that_is_written_is_the_marker_that_is_read() -> None:
    """By the same words."""
    text = commands.marker_text(parse(declared(backend="podman", name="agent-1", user="me")))
    expected = Marker("podman", "agent-1", "me", "/data/current-package/bin/hermesctl")
    assert parse_marker(text, "m") == (expected, [])
    assert parse_marker(commands.marker_text(parse(declared())), "m") == (Marker(), [])
