"""Changes are noticed with the real inotify, told once, and compared by section."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from hermesd.config.load import examine_contents
from hermesd.config.reload import ConfigWatcher, diff
from hermesd.config.settings import Settings
from hermesd.home import Profile
from tests.servers.descriptors import open_descriptors
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="inotify is Linux's")

DEBOUNCE_S = 0.02  # real time: the kernel's events do not follow a virtual clock


class Watched:
    """A watcher over real directories, and what it told."""

    def __init__(self) -> None:
        self.told, self.heard = trio.open_memory_channel[str](100)
        self.watcher = ConfigWatcher(self.told.send, debounce_s=DEBOUNCE_S)

    async def next(self) -> str:
        with trio.fail_after(PATIENCE_S):
            return await self.heard.receive()

    async def nothing_but(self, sentinel: Profile) -> None:
        """What comes next is a change made now, so nothing came before it."""
        sentinel.env_path.write_text("SENTINEL=1\n")
        assert await self.next() == sentinel.name
        with pytest.raises(trio.WouldBlock):
            self.heard.receive_nowait()


@asynccontextmanager
async def watching(*profiles: Profile) -> AsyncIterator[Watched]:
    watched = Watched()
    for profile in profiles:
        watched.watcher.add(profile)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watched.watcher.run(task_status=task_status))
        yield watched
        nursery.cancel_scope.cancel()


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    root = tmp_path / "one"
    root.mkdir()
    (root / "config.yaml").write_text("model: a\n")
    return Profile("one", root)


@pytest.fixture
def other(tmp_path: Path) -> Profile:
    (tmp_path / "two").mkdir()
    return Profile("two", tmp_path / "two")


async def test_an_edit_in_place_is_told(profile: Profile) -> None:
    """As nano and `echo >` write."""
    async with watching(profile) as watched:
        profile.config_path.write_text("model: b\n")
        assert await watched.next() == "one"


async def test_a_replaced_file_is_told_again_and_again(profile: Profile) -> None:
    """As vim and our own atomic write do: the directory is watched, so the new inode is not lost."""
    async with watching(profile) as watched:
        for text in ("model: b\n", "model: c\n", "model: d\n"):
            backup = profile.root / "config.yaml~"
            profile.config_path.rename(backup)
            new = profile.root / ".config.yaml.swp"
            new.write_text(text)
            new.rename(profile.config_path)
            backup.unlink()
            assert await watched.next() == "one"
            assert profile.config_path.read_text() == text


async def test_env_removal_and_mode_are_told(profile: Profile) -> None:
    """.env counts as much, and so does chmod, which may be all that was wrong."""
    async with watching(profile) as watched:
        profile.env_path.write_text("A=1\n")
        assert await watched.next() == "one"
        profile.env_path.chmod(0o600)
        assert await watched.next() == "one"
        profile.config_path.unlink()
        assert await watched.next() == "one"


async def test_many_writes_are_told_once(profile: Profile, other: Profile) -> None:
    """What follows within the debounce is one change."""
    async with watching(profile, other) as watched:
        for number in range(50):
            profile.config_path.write_text(f"model: m{number}\n")
        assert await watched.next() == "one"
        await watched.nothing_but(other)


async def test_other_files_of_the_home_wake_nobody(profile: Profile, other: Profile) -> None:
    """The state file, its state and the log are written all the time."""
    async with watching(profile, other) as watched:
        for name in ("state.db", "gateway_state.json", "config.yaml~", ".config.yaml.abc"):
            (profile.root / name).write_text("x")
        await watched.nothing_but(other)


async def test_profiles_come_and_go_while_it_runs(profile: Profile, other: Profile) -> None:
    """One added is watched from then on, one removed no longer, one whose directory vanished is forgotten."""
    async with watching(profile) as watched:
        watched.watcher.add(other)
        other.config_path.write_text("model: b\n")
        assert await watched.next() == "two"
        watched.watcher.remove("one")
        watched.watcher.remove("never there")
        profile.config_path.write_text("model: c\n")
        await watched.nothing_but(other)
        other.config_path.unlink()
        other.env_path.unlink()
        other.root.rmdir()
        assert await watched.next() == "two"
        await trio.testing.wait_all_tasks_blocked()
        watched.watcher.remove("two")
        watched.watcher.add(profile)
        profile.config_path.write_text("model: d\n")
        assert await watched.next() == "one"


async def test_a_change_during_the_call_is_told_after_it(profile: Profile) -> None:
    """Calls never overlap, and nothing that happens during one is lost."""
    release = trio.Event()
    calls: list[str] = []
    started, again = trio.Event(), trio.Event()

    async def on_change(name: str) -> None:
        calls.append(f"begin {name}")
        (started if not started.is_set() else again).set()
        await release.wait()
        calls.append(f"end {name}")

    watcher = ConfigWatcher(on_change, debounce_s=DEBOUNCE_S)
    watcher.add(profile)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watcher.run(task_status=task_status))
        profile.config_path.write_text("model: b\n")
        with trio.fail_after(PATIENCE_S):
            await started.wait()
            profile.config_path.write_text("model: c\n")
            await until(lambda: watcher._calling.statistics().tasks_waiting)  # the second change has come due
            assert calls == ["begin one"]
            release.set()
            await again.wait()
        nursery.cancel_scope.cancel()
    assert calls[:3] == ["begin one", "end one", "begin one"]


async def test_it_leaves_no_descriptor_and_can_run_again(profile: Profile) -> None:
    """A supervisor may restart the same watcher."""
    before = open_descriptors()
    watched = Watched()
    watched.watcher.add(profile)
    for text in ("model: b\n", "model: c\n"):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: watched.watcher.run(task_status=task_status))
            profile.config_path.write_text(text)
            assert await watched.next() == "one"
            nursery.cancel_scope.cancel()
        assert open_descriptors() == before


async def test_an_exception_of_the_callee_ends_the_service(profile: Profile) -> None:
    """The supervisor sees it; nothing is swallowed."""

    async def on_change(name: str) -> None:
        raise RuntimeError(name)

    watcher = ConfigWatcher(on_change, debounce_s=DEBOUNCE_S)
    watcher.add(profile)
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: watcher.run(task_status=task_status))
            profile.config_path.write_text("model: b\n")
            with trio.move_on_after(PATIENCE_S):
                await trio.sleep_forever()
    assert caught.group_contains(RuntimeError, match="one")


def settings_of(text: str, env: str = "") -> Settings:
    found = examine_contents(Profile("one", Path("/nowhere")), text.encode(), env.encode()).settings
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("old", "new", "touched"),
    [
        ("model: a", "model: {default: a}", set()),
        ("model: a", "# other\nmodel: b", {"model"}),
        ("", "agent: {max_turns: 3}\ntoolsets: [files]", {"agent", "toolsets"}),
        ("", "platforms: {telegram: {stream: off}}", {"platforms.telegram"}),
        (
            "platforms: {webhook: {port: 1}}",
            "platforms: {telegram: {stream: off}}",
            {"platforms.telegram", "platforms.webhook"},
        ),
        ("", "display: {compact: true}", set()),
    ],
)
def test_a_difference_is_told_by_section(old: str, new: str, touched: set[str]) -> None:
    """Only what a change touches is to be restarted: not comments, order, or keys without effect."""
    assert diff(settings_of(old), settings_of(new)) == touched


def test_a_changed_secret_touches_what_took_it_over() -> None:
    """And `secrets`, for whoever reads .env itself."""
    assert diff(settings_of("", "TELEGRAM_BOT_TOKEN=1:a"), settings_of("", "TELEGRAM_BOT_TOKEN=1:b")) == {
        "platforms.telegram",
        "secrets",
    }
    assert diff(settings_of("", "OPENAI_API_KEY=a"), settings_of("", "OPENAI_API_KEY=b")) == {"secrets"}
