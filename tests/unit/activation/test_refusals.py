"""What an activation refuses: each refusal says what is wrong, where, and the next step, and changes nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hermesd.activation.manifest import parse
from hermesd.activation.plugins import link_plugins
from hermesd.activation.run import Report, activate
from hermesd.activation.targets import place
from hermesd.deploy.container.files import REMOVE, step_after
from hermesd.errors import ConfigError, DeniedError, HermesError


def run(home: Path, *, dry_run: bool = False, **manifest: Any) -> Report:
    """Activate what is given, by the manifest's own names."""
    text = json.dumps({"schema": 1, "home": str(home), **manifest})
    return activate(parse(text.encode(), "m.json"), "m.json", dry_run=dry_run)


def refusal(home: Path, **manifest: Any) -> ConfigError:
    """What an activation is refused with, which says everything."""
    with pytest.raises(ConfigError) as caught:
        run(home, **manifest)
    error = caught.value
    assert error.what
    assert error.where
    assert error.next_step
    return error


# -- what is no regular file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["SOUL.md", "config.yaml", ".env", "auth.json", ".managed", ".activation/applied.json"]
)
def test_a_directory_in_the_place_of_a_file_is_refused_by_its_name(tmp_path: Path, target: str) -> None:
    """With its path, and not with the number of a descriptor."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / target).mkdir(parents=True, mode=0o700)
    source = tmp_path / "auth.json"
    source.write_text("{}")
    error = refusal(
        home,
        config={"value": {"agent": {"max_turns": 3}}},
        env={"values": {"A": "b"}},
        files=[{"target": "SOUL.md", "text": "a"}],
        auth={"source": str(source)},
    )
    assert (error.what, error.where) == ("is not a regular file", str(home / target))


@pytest.mark.parametrize(
    "declared",
    [
        lambda path: {"files": [{"target": "SOUL.md", "source": path}]},
        lambda path: {"env": {"files": [path]}},
        lambda path: {"auth": {"source": path}},
        lambda path: {"config": {"source": path}},
    ],
)
def test_a_directory_as_a_source_is_refused_by_its_name(tmp_path: Path, declared: Any) -> None:
    """Whatever it was to be read for."""
    source = tmp_path / "source"
    source.mkdir()
    error = refusal(tmp_path / "home", **declared(str(source)))
    assert (error.what, error.where) == ("is not a regular file", str(source))


# -- packages ----------------------------------------------------------------------------------------------------------


def test_a_password_in_a_packages_address_is_not_shown(tmp_path: Path) -> None:
    """Neither by a dry run nor by a refusal."""
    address = "git+https://me:hunter2-hunter2@example.invalid/x"
    [*_, step] = run(tmp_path / "home", dry_run=True, sidecar={"specs": [address]}).changes
    assert [each.text for each in step.details] == ["git+https://example.invalid/x"]
    error = refusal(tmp_path / "home", sidecar={"specs": [f" {address}"]})
    assert "is no package" in error.what
    assert "hunter2" not in str(error)


# -- the ledger of links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ledger",
    ['{"schema":1,"links":{"../../kept":["/nowhere"]}}', '{"schema":2,"links":{}}', "[]", "{"],
    ids=["outside", "schema", "list", "cut"],
)
def test_a_ledger_of_links_that_was_not_written_here_is_refused(tmp_path: Path, ledger: str) -> None:
    """Whoever has the home can write it: a name in it must not lead to a link elsewhere."""
    home = tmp_path / "home"
    (home / "plugins").mkdir(parents=True, mode=0o700)
    kept = tmp_path / "kept"
    kept.symlink_to("/nowhere")
    (home / "plugins/.managed.json").write_text(ledger)
    fd = os.open(home, os.O_RDONLY)
    try:
        with pytest.raises(ConfigError, match="is not what hermesctl wrote") as caught:
            link_plugins(fd, {}, str(home))
    finally:
        os.close(fd)
    assert kept.is_symlink()
    assert caught.value.where == str(home / "plugins/.managed.json")


# -- the manifest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{bad", "[]", "", '{"schema":1,"zz\\n\\u001b[2J":1}', '{"schema":"1"}'])
def test_what_is_no_manifest_is_told_with_the_page_about_activation(text: str) -> None:
    """And not with that of the other verb that reads the file; on one line, whatever its keys are called."""
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "m.json", home="/h")
    assert caught.value.next_step == "see docs/activation.md"
    assert caught.value.what.isprintable()


def test_an_unknown_key_is_not_repeated_in_full() -> None:
    """A manifest may be megabytes."""
    with pytest.raises(ConfigError, match="unknown field") as caught:
        parse(json.dumps({"schema": 1, "k" * 100_000: 1}).encode(), "m.json", home="/h")
    assert len(caught.value.what) < 400


@pytest.mark.parametrize("mode", ["0044", "000", "0377", "0200"])
def test_a_mode_that_its_owner_may_not_read_is_refused(tmp_path: Path, mode: str) -> None:
    """Every later activation would fail at the file, because it could not be compared."""
    error = refusal(tmp_path / "home", documents=[{"target": "a", "text": "x", "mode": mode}])
    assert "its owner may not read" in error.what
    assert not (tmp_path / "home").exists()


def test_the_whole_root_as_a_home_is_refused_for_what_it_is() -> None:
    """It is an absolute path."""
    with pytest.raises(ConfigError, match="home cannot be /"):
        parse(b'{"schema":1,"home":"/"}', "m.json")


def test_a_profiles_name_is_checked_before_it_is_repeated() -> None:
    """A sidecar of one that may not be called so is the second thing that is wrong."""
    with pytest.raises(ConfigError, match="is not a profile name"):
        parse(b'{"schema":1,"home":"/h","profiles":{"a\\n":{"sidecar":{}}}}', "m.json")


def test_a_home_that_is_to_be_made_needs_all_directories_above_it(tmp_path: Path) -> None:
    """One command makes them, however many are missing."""
    error = refusal(tmp_path / "a/b/c/home")
    assert (error.what, error.where) == ("is missing", str(tmp_path / "a"))
    assert error.next_step == f"make it: mkdir -p {tmp_path}/a/b/c"


# -- what the system refuses -------------------------------------------------------------------------------------------


def test_a_place_that_nobody_may_write_to_is_named_in_full() -> None:
    """The system names the last part of a path only. sysfs takes no new names, whoever asks."""
    target = PurePosixPath("hermesd-test")
    with place("/sys/kernel") as found:
        for attempt in (lambda: found.write(target, b"x", mode=0o600), lambda: found.make(target)):
            with pytest.raises(DeniedError, match="cannot be written") as caught:
                attempt()
            assert caught.value.where == "/sys/kernel/hermesd-test"
            assert caught.value.next_step == f"let this user (uid {os.geteuid()}) write there"


def test_a_file_that_does_not_fit_is_named_in_full_and_nothing_is_left(tmp_path: Path) -> None:
    """A full disk is nobody's refusal: it ends with 1, and is to be mended."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with place(str(tmp_path)) as found:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
        try:
            with pytest.raises(HermesError, match="cannot be written") as caught:
                found.write(PurePosixPath("sub/a"), b"x" * 4096, mode=0o600)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.where, caught.value.exit_status) == (str(tmp_path / "sub/a"), 1)
    assert list((tmp_path / "sub").iterdir()) == []


@pytest.mark.parametrize(("number", "step"), [(errno.EACCES, "let this user"), (errno.ENOTDIR, REMOVE)])
def test_nobody_is_told_to_remove_what_is_only_shut(number: int, step: str) -> None:
    """It may be the home."""
    assert step_after(OSError(number, "")).startswith(step)


@pytest.mark.parametrize(
    ("directory", "target", "files"),
    [
        ("", ".env", []),
        ("", ".activation/applied.json", []),
        ("workspace", "a", ["workspace/a"]),
        ("profiles", "x", []),
    ],
)
def test_a_document_that_another_key_writes_is_refused(
    tmp_path: Path, directory: str, target: str, files: list[str]
) -> None:
    """A working directory may lie in the home; two that write one file would each undo the other's, at every run."""
    declared: dict[str, Any] = {
        "workingDirectory": str(tmp_path / "home" / directory),
        "documents": [{"target": target, "text": "x"}],
        "files": [{"target": name, "text": "y"} for name in files],
    }
    assert "documents: " in refusal(tmp_path / "home", **declared).what


@pytest.mark.parametrize(
    "declared",
    [
        {"config": {"value": {"agent": {"max_turns": "many"}}}},
        {"env": {"files": ["/nowhere/secrets"]}},
        {"files": [{"target": "a.md", "source": "/nowhere/a.md"}]},
        {"documents": [{"target": "a.md", "source": "/nowhere/a.md"}]},
        {"auth": {"source": "/nowhere/auth.json"}},
        {"plugins": ["/nowhere/plugin"]},
        {"sidecar": {"specs": ["--index-url=x"]}},
        {"profiles": {"coder": {"config": {"value": {"agent": {"max_turns": "many"}}}}}},
    ],
    ids=lambda declared: next(iter(declared)),
)
def test_a_refused_plan_leaves_no_home_behind(tmp_path: Path, declared: dict[str, Any]) -> None:
    """A first activation makes the home once all of its plan is known; a corrected one begins with nothing there."""
    home = tmp_path / "home"
    with pytest.raises(ConfigError):
        run(home, files=[{"target": "SOUL.md", "text": "a"}, *declared.pop("files", [])], **declared)
    assert list(tmp_path.iterdir()) == []
    run(home, files=[{"target": "SOUL.md", "text": "a"}])
    assert (home / "SOUL.md").read_text() == "a"
