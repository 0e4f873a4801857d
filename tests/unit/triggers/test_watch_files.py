"""Files as a watch sees them: real directories, real inotify."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from hermesd.errors import ConfigError
from hermesd.triggers import watch_files
from hermesd.triggers.watch_directories import Directories
from hermesd.triggers.watch_files import FileSource
from hermesd.triggers.watch_pattern import parse_pattern
from tests.waiting import PATIENCE_S

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


class Told:
    """Whether there was a reason to look."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def __call__(self) -> None:
        self.event.set()

    async def wait(self) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.event.wait()
        self.event = trio.Event()


@asynccontextmanager
async def watching(*patterns: str, listen: bool = True) -> AsyncIterator[tuple[FileSource, Told, Directories]]:
    directories = Directories()
    source, told = FileSource([parse_pattern(text) for text in patterns], directories), Told()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run, told)
            if listen:
                nursery.start_soon(directories.run)
            yield source, told, directories
            nursery.cancel_scope.cancel()
    finally:
        directories.close()


async def names(source: FileSource) -> set[str]:
    return {path.rpartition("/")[2] for path in await source.look()}


async def test_every_change_of_a_file_is_a_reason_to_look(tmp_path: Path) -> None:
    """Made, appended to while it stays open, renamed, removed; and in a directory that is made later."""
    async with watching(f"{tmp_path}/**/*.md") as (source, told, _):
        assert await source.look() == {}
        (tmp_path / "a.md").touch()
        await told.wait()
        before = await source.look()
        with (tmp_path / "a.md").open("a") as file:
            file.write("more")
            file.flush()
            await told.wait()
            assert await source.look() != before
        await told.wait()
        (tmp_path / "a.md").rename(tmp_path / "b.md")
        await told.wait()
        assert await names(source) == {"b.md"}
        (tmp_path / "deep" / "er").mkdir(parents=True)
        (tmp_path / "deep" / "er" / "c.md").touch()
        await told.wait()
        while await names(source) != {"b.md", "c.md"}:
            await told.wait()
        (tmp_path / "deep" / "er" / "c.md").unlink()
        await told.wait()
        assert await names(source) == {"b.md"}


async def test_what_no_pattern_means_is_no_reason_to_look(tmp_path: Path) -> None:
    """Otherwise every temporary file of an editor would cost a walk."""
    async with watching(f"{tmp_path}/*.md") as (source, told, _):
        await source.look()
        for number in range(100):
            (tmp_path / f"{number}.tmp").write_text("x")
        (tmp_path / ".a.md.swp").touch()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not told.event.is_set()
        (tmp_path / "a.md").touch()
        await told.wait()


async def test_lost_events_are_a_reason_to_look_at_everything(tmp_path: Path) -> None:
    """The kernel's queue really overflows."""
    size = int(QUEUE.read_text())
    if size > 40_000:
        pytest.skip(f"the queue of this kernel holds {size} events")
    (tmp_path / "noise").mkdir()
    async with watching(f"{tmp_path}/**/*.md", listen=False) as (source, told, directories):
        await source.look()
        while_away = tmp_path / "noise"
        for number in range(size // 2 + 10):  # each is an event of its own: neighbours differ
            os.mknod(while_away / f"{number % 2}.tmp")
            (while_away / f"{number % 2}.tmp").unlink()
        (tmp_path / "last.md").touch()  # this one the kernel did not note
        async with trio.open_nursery() as nursery:
            nursery.start_soon(directories.run)
            await told.wait()
            nursery.cancel_scope.cancel()
        assert await names(source) == {"last.md"}


async def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither out of the pattern's directory nor round in a circle; a link to a file counts as itself."""
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret.md").write_text("x")
    (inside / "there").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "link.md").symlink_to(outside / "secret.md")
    async with watching(str(inside)) as (source, told, _):
        before = await source.look()
        assert await names(source) == {"there", "loop", "link.md"}
        (outside / "secret.md").write_text("changed")
        assert await source.look() == before
        assert not told.event.is_set()


async def test_names_that_are_no_text_are_seen_too(tmp_path: Path) -> None:
    """As \\xNN."""
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md"))).touch()
    async with watching(f"{tmp_path}/*.md") as (source, _, _):
        assert await names(source) == {"caf\\xe9.md"}


async def test_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, or directories, with the step to take."""
    monkeypatch.setattr(watch_files, "MAX_FILES", 10)
    monkeypatch.setattr(watch_files, "MAX_DIRECTORIES", 10)
    for number in range(11):
        (tmp_path / f"d{number}").mkdir()
    async with watching(str(tmp_path)) as (source, _, _):
        with pytest.raises(ConfigError, match="more than 10 directories") as caught:
            await source.look()
        assert caught.value.next_step == "narrow the pattern"
        for number in range(11):
            (tmp_path / f"d{number}").rmdir()
            (tmp_path / f"f{number}").touch()
        with pytest.raises(ConfigError, match="more than 10 files"):
            await source.look()


async def test_directories_that_are_gone_are_not_held_on_to(tmp_path: Path) -> None:
    """Neither when they are removed nor when the watch ends."""
    for number in range(20):
        (tmp_path / f"d{number}").mkdir()
    async with watching(str(tmp_path)) as (source, told, directories):
        await source.look()
        assert len(directories._listeners) == 21
        for number in range(20):
            (tmp_path / f"d{number}").rmdir()
        while len(directories._listeners) > 1:
            await told.wait()
            await source.look()
        directories.keep(source, ())
        assert directories._listeners == {}


async def test_two_watches_of_one_directory_do_not_disturb_each_other(tmp_path: Path) -> None:
    """The kernel gives both the same number."""
    async with watching(f"{tmp_path}/*.md") as (first, told, directories):
        second = FileSource([parse_pattern(f"{tmp_path}/*.txt")], directories)
        await first.look()
        await second.look()
        directories.keep(second, ())
        (tmp_path / "a.md").touch()
        await told.wait()


async def test_what_changed_between_two_instants_is_known(tmp_path: Path) -> None:
    """By the time of its status, which no program can set; of what is gone by its directory's."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "a.md").touch()
    async with watching(f"{tmp_path}/**") as (source, _, _):
        since = time.time()
        (tmp_path / "gone" / "a.md").unlink()
        (tmp_path / "new.md").touch()
        os.utime(tmp_path / "new.md", (1, 1))
        changes = {f"{tmp_path}/gone/a.md": None, f"{tmp_path}/new.md": "0 1"}
        assert await source.own(changes, since, time.time()) == changes
        assert await source.own(changes, since - 60, since - 30) == {}
        assert await source.own(changes, time.time() + 30, time.time() + 60) == {}
