"""Watches in a real daemon: real files and inotify, real commands, questions before anything is done."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.servers import fake_systemd
from tests.servers.daemon import HTTP, Daemon

pytestmark = pytest.mark.loaded(HTTP)

ENDED = ("done", "failed", "dropped", "parked")


@pytest.fixture
def working(daemon: Daemon) -> Daemon:
    daemon.write_config("model: offline\npolicy:\n  tools: {terminal: allow}\n")
    (daemon.home / "scripts").mkdir(mode=0o700)
    daemon.env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={daemon.home}/no-bus"
    return daemon.start()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    directory = tmp_path / "notes"
    directory.mkdir()
    return directory


def added(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    done = daemon.ctl("watch", "add", "--debounce", "0.1", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["watch"]


def runs(daemon: Daemon, watch: dict[str, Any]) -> list[dict[str, Any]]:
    return daemon.call("watch.runs", watch=watch["id"], limit=1000)["runs"]


def until_ended(daemon: Daemon, watch: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Wait until so many runs have ended; all of them, newest first."""

    def ended() -> bool:
        return sum(run["state"] in ENDED for run in runs(daemon, watch)) >= count

    daemon.until(ended)
    return runs(daemon, watch)


def text_of(daemon: Daemon, run: dict[str, Any]) -> str:
    return str(daemon.call("inbox.show", id=run["run"]["inbox_id"])["row"]["text"])


def test_a_changed_file_begins_a_turn_that_names_it_as_text_from_outside(working: Daemon, notes: Path) -> None:
    """Made, shown, fired, tested and removed by the verb."""
    watch = added(working, "--file", f"{notes}/**/*.md", "Look at {path}: it was {event}.", "--act", "--name", "Notes")
    (notes / "deep").mkdir()
    (notes / "deep" / "a.md").write_text("one")
    [run] = until_ended(working, watch, 1)
    assert run["state"] == "done"
    path = f"<untrusted>\n{notes}/deep/a.md\n</untrusted>"
    assert text_of(working, run) == f"Look at {path}: it was created."
    assert "Notes" in working.ctl("watch").stdout
    assert str(notes) in working.ctl("watch", "show", "Notes").stdout
    assert "it sees 1 file, 0 not taken up yet" in working.ctl("watch", "test", "Notes").stdout
    assert "done" in working.ctl("watch", "runs", "Notes").stdout
    assert working.ctl("watch", "remove", "Notes").returncode == 0
    assert "no watches" in working.ctl("watch", "list").stdout
    (notes / "b.md").write_text("two")
    assert "no runs yet" in working.ctl("cron", "runs").stdout


def test_a_burst_of_a_thousand_files_is_one_event_with_a_bounded_list(working: Daemon, notes: Path) -> None:
    """Fifty are named, the others counted."""
    watch = added(working, "--file", str(notes), "--debounce", "0.5", "--act", "Have a look.")
    for number in range(1000):
        (notes / f"{number:04}.txt").write_text("x")
    [run] = until_ended(working, watch, 1)
    text = text_of(working, run)
    assert text.startswith("1000 files created:\n<untrusted>\n")
    assert f"created {notes}/0049.txt\nand 950 more\n" in text
    assert text.endswith("\n\nHave a look.")
    assert working.call("watch.show", watch=watch["id"])["watch"]["fired"] == 1


def test_a_directory_that_is_removed_and_made_again_is_watched_on(working: Daemon, notes: Path) -> None:
    """Its end, and what is in it when it is back, are events; so it is for one that is not there at first."""
    watch = added(working, "--file", f"{notes}/in/deep/*.txt", "--act", "{event}")
    (notes / "in" / "deep").mkdir(parents=True)
    (notes / "in" / "deep" / "a.txt").write_text("one")
    assert text_of(working, until_ended(working, watch, 1)[0]) == "created"
    shutil.rmtree(notes / "in")
    assert text_of(working, until_ended(working, watch, 2)[0]) == "deleted"
    (notes / "in" / "deep").mkdir(parents=True)
    (notes / "in" / "deep" / "a.txt").write_text("again")
    assert text_of(working, until_ended(working, watch, 3)[0]) == "created"
    (notes / "in").rename(notes / "out")
    assert text_of(working, until_ended(working, watch, 4)[0]) == "deleted"


def test_what_changed_while_the_daemon_was_away_counts_once(working: Daemon, notes: Path) -> None:
    """At the next start, and not again at the one after."""
    (notes / "old.md").write_text("old")
    watch = added(working, "--file", f"{notes}/*.md", "--act", "{paths}")
    assert working.stop() == 0
    (notes / "old.md").write_text("older")
    (notes / "new.md").write_text("new")
    working.start()
    [run] = until_ended(working, watch, 1)
    expected = f"<untrusted>\ncreated {notes}/new.md\nchanged {notes}/old.md\n</untrusted>"
    assert text_of(working, run) == expected
    working.kill()
    working.start()
    (notes / "third.md").write_text("x")
    assert f"created {notes}/third.md" in text_of(working, until_ended(working, watch, 2)[0])
    assert len(runs(working, watch)) == 2


def test_what_its_own_turn_writes_does_not_begin_the_next_one(working: Daemon, notes: Path) -> None:
    """The offline model runs the command it is told; only what a person changes afterwards counts."""
    prompt = f"$ echo {{event}} >> {notes}/log.md"
    watch = added(working, "--file", f"{notes}/*.md", "--act", prompt)
    (notes / "a.md").write_text("one")
    until_ended(working, watch, 1)
    assert (notes / "log.md").read_text() == "created\n"
    (notes / "b.md").write_text("two")
    until_ended(working, watch, 2)
    (notes / "c.md").write_text("three")
    assert len(until_ended(working, watch, 3)) == 3
    assert (notes / "log.md").read_text() == "created\n" * 3, "never that log.md had changed"


def test_with_count_its_own_changes_begin_the_next_turn(working: Daemon, notes: Path) -> None:
    """For places where its turn does not write, so that nothing that arrives meanwhile is passed over."""
    prompt = f"$ test -e {notes}/b.md || echo {{event}} > {notes}/b.md"
    watch = added(working, "--file", f"{notes}/*.md", "--act", "--while-running", "count", prompt)
    (notes / "a.md").write_text("one")
    first, second = reversed(until_ended(working, watch, 2))
    assert (first["state"], second["state"]) == ("done", "done")
    (notes / "c.md").write_text("three")
    assert len(until_ended(working, watch, 3)) == 3, "the second turn changed nothing"


def test_it_asks_first_and_goes_on_only_after_a_yes(working: Daemon, notes: Path) -> None:
    """In suggest mode, which is the default; always makes it ask no more; what changed meanwhile is not lost."""
    watch = added(working, "--file", f"{notes}/*.md", "--name", "Ask", f"$ echo {{event}} >> {notes}/did")

    def asked() -> str:
        return str(working.call("watch.show", watch="Ask")["watch"].get("question", ""))

    (notes / "a.md").write_text("one")
    working.until(lambda: bool(asked()))
    assert asked().startswith("a.md created (watch Ask). Shall I do this?\n")
    assert not (notes / "did").exists()
    assert working.ctl("watch", "answer", "Ask", "no").returncode == 0
    [run] = until_ended(working, watch, 1)
    assert (run["state"], run["run"]["error"]) == ("dropped", "not wanted")
    assert not (notes / "did").exists()
    (notes / "b.md").write_text("two")
    working.until(lambda: bool(asked()))
    (notes / "c.md").write_text("while it asks")
    assert "answered always" in working.ctl("watch", "answer", "Ask", "always").stdout
    assert [run["state"] for run in until_ended(working, watch, 3)] == ["done", "done", "dropped"]
    assert (notes / "did").read_text() == "created\ncreated\n", "the third was not asked about"
    assert working.call("watch.show", watch="Ask")["watch"]["fields"]["mode"] == "act"


def test_nobody_answering_in_time_drops_it_and_that_is_recorded(daemon: Daemon, notes: Path) -> None:
    """Also over a restart, during which the question stays open."""
    daemon.write_config("model: offline\npolicy: {ask_timeout_s: 0.5}\n")
    daemon.start()
    watch = added(daemon, "--file", f"{notes}/*.md", "Do something.")
    (notes / "a.md").write_text("one")
    [run] = until_ended(daemon, watch, 1)
    assert (run["state"], run["run"]["error"]) == ("dropped", "nobody answered in time")
    assert run["run"]["inbox_id"]


def test_another_output_of_a_command_begins_a_turn(working: Daemon) -> None:
    """It is looked at when the daemon starts, too; a failing one is no output, and said."""
    script = working.home / "scripts" / "disk.sh"
    script.write_text("echo 10 %; echo . >> ../marks")
    watch = added(working, "--command", "disk.sh", "--every", "1h", "--act", "was {old} is {new}", "--name", "Disk")
    assert watch["what"] == "disk.sh, every 1h"
    assert (working.home / "marks").read_text() == ".\n", "it is run once for the beginning"
    working.stop()
    script.write_text("echo 99 %")
    working.start()
    [run] = until_ended(working, watch, 1)
    assert text_of(working, run) == "was <untrusted>\n10 %\n</untrusted> is <untrusted>\n99 %\n</untrusted>"
    working.stop()
    script.write_text("echo why >&2; exit 3")
    working.start()
    working.until(lambda: bool(working.call("watch.show", watch="Disk")["watch"].get("error")))
    assert "disk.sh failed: it ended with status 3: why" in working.ctl("watch", "show", "Disk").stdout
    assert "failed" in working.ctl("watch", "test", "Disk").stderr


def test_what_could_not_work_is_refused_with_the_reason(working: Daemon, notes: Path) -> None:
    """When the watch is made."""
    (notes / "s.md").touch()

    def refusal(*arguments: str) -> str:
        done = working.ctl("watch", "add", *arguments)
        assert done.returncode != 0
        return done.stderr

    assert "one kind of thing, 0 are given" in refusal("x")
    assert "one kind of thing, 2 are given" in refusal("--unit", "a", "--file", "/b", "x")
    assert "needs a prompt" in refusal("--file", str(notes))
    assert "contains .." in refusal("--file", f"{notes}/../x", "x")
    for place in ("**", "state.db", "logs/*", "profiles/a/*"):
        assert "the daemon itself writes" in refusal("--file", f"{working.home}/{place}", "x")
    assert "all of this machine" in refusal("--file", "/**", "x")
    assert "is not below" in refusal("--command", "/bin/date", "--every", "10m", "x")
    (working.home / "scripts" / "a.sh").write_text("true")
    assert "again and again" in refusal("--command", "a.sh", "x")
    assert "never comes due" in refusal("--command", "a.sh", "--every", "0 0 30 2 *", "x")
    assert "is not a target" in refusal("--file", str(notes), "--deliver", "nowhere", "x")
    assert "no name of a unit" in refusal("--unit", "a b", "x")
    assert "units cannot be watched here" in refusal("--unit", "nginx", "x")
    assert "debounce is 0" in refusal("--file", str(notes), "--debounce", "0", "x")
    assert "only https is posted to" in refusal("--file", str(notes), "--deliver", "webhook:http://a.example/", "x")
    assert "did you mean 'openai'?" in refusal("--file", str(notes), "--provider", "opnai", "x")


def test_what_settings_are_missing_for_is_warned_of_and_the_watch_is_made(working: Daemon, notes: Path) -> None:
    """They may be there when something changes."""
    done = working.ctl("watch", "add", "--file", str(notes), "--deliver", "email:a@b.de", "x")
    assert done.returncode == 0
    assert (
        "hermesctl: warning: deliver email:a@b.de: mail has no server or no sender yet\n  → set platforms"
        in done.stderr
    )
    assert len(working.call("watch.list")["watches"]) == 1


def test_options_of_another_kind_and_names_that_cannot_be_shown_are_refused(working: Daemon, notes: Path) -> None:
    """Nothing that was said is without effect; `/` is told as it was written."""
    for words, said in {
        ("--file", str(notes), "--every", "10m", "x"): "--every is for a watch of a command",
        ("--file", str(notes), "--states", "failed", "x"): "--states is for a watch of a unit",
        ("--file", str(notes), "--user", "x"): "--user is for a watch of a unit",
        ("--file", str(notes), "--name", "a\nb", "x"): "the name holds control characters",
        ("--file", "/", "x"): "'/' is all of this machine",
    }.items():
        done = working.ctl("watch", "add", *words)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
    assert working.call("watch.list")["watches"] == []


def test_a_skill_that_is_not_there_is_refused_and_a_bundled_one_shown(working: Daemon, notes: Path) -> None:
    """With the nearest name."""
    words = ("--file", str(notes), "Say what it means.")
    refused = working.ctl("watch", "add", *words, "--skills", "incident-tirage")
    assert refused.returncode == 1
    assert "no skill 'incident-tirage'\n  → did you mean 'incident-triage'?" in refused.stderr
    watch = added(working, *words, "--skills", "incident-triage", "--name", "Triage")
    assert watch["fields"]["skills"] == ["incident-triage"]
    assert "incident-triage" in working.ctl("watch", "show", "Triage").stdout


def test_runs_are_listed_of_one_watch_or_of_all(working: Daemon, notes: Path) -> None:
    """A watch that sees nothing new is tested without an empty line behind."""
    first = added(working, "--file", str(notes), "--act", "--name", "One", "x")
    assert working.ctl("watch", "runs").stdout == "no runs yet\n"
    assert working.ctl("watch", "test", "One").stdout == "it sees 0 files, 0 not taken up yet\n"
    (notes / "a.md").write_text("a")
    until_ended(working, first, 1)
    assert [run["job_name"] for run in working.call("watch.runs")["runs"]] == ["One"]
    assert working.call("cron.runs")["runs"] == []


def test_a_paused_watch_rests_and_takes_what_changed_meanwhile_as_seen(working: Daemon, notes: Path) -> None:
    """As a job's missed instants are not made up for when it is resumed."""
    watch = added(working, "--file", f"{notes}/*.md", "--act", "{paths}")
    assert working.ctl("watch", "pause", watch["id"]).returncode == 0
    (notes / "a.md").write_text("while it rests")
    assert working.ctl("watch", "resume", watch["id"]).returncode == 0
    (notes / "b.md").write_text("now")
    [run] = until_ended(working, watch, 1)
    assert text_of(working, run) == f"<untrusted>\ncreated {notes}/b.md\n</untrusted>"


def test_the_daemons_own_home_is_left_out_but_not_its_workspace(working: Daemon) -> None:
    """Or every event would be the reason for the next one."""
    everything = added(working, "--file", f"{working.home.parent}/**/*.md", "--act", "{paths}", "--name", "all")
    own = added(working, "--file", f"{working.home}/workspace/*.md", "--act", "{paths}", "--name", "own")
    (working.home / "workspace").mkdir(exist_ok=True)
    (working.home / "workspace" / "a.md").write_text("x")
    until_ended(working, own, 1)
    (working.home.parent / "b.md").write_text("x")
    [run] = until_ended(working, everything, 1)
    assert f"created {working.home.parent}/b.md\n" in text_of(working, run)
    assert str(working.home / "workspace") not in text_of(working, run)


async def test_a_units_state_begins_a_turn(daemon: Daemon, tmp_path: Path) -> None:
    """On a real message bus; the service manager behind it is a fake one."""
    with fake_systemd.bus(tmp_path) as address:
        daemon.env["DBUS_SYSTEM_BUS_ADDRESS"] = address
        daemon.write_config("model: offline\n")
        async with fake_systemd.systemd(address, web="active") as systemd:
            await trio.to_thread.run_sync(daemon.start)
            add = partial(added, daemon, "--unit", "web", "--act", "{old} {state}", "--name", "Web")
            watch = await trio.to_thread.run_sync(add)
            assert watch["what"] == "unit web.service"
            await systemd.set("web.service", "failed")
            [run] = await trio.to_thread.run_sync(until_ended, daemon, watch, 1)
            assert await trio.to_thread.run_sync(text_of, daemon, run) == "active failed"
            await trio.to_thread.run_sync(daemon.stop)
            systemd.states["web.service"] = "active"
            await trio.to_thread.run_sync(daemon.start)
            found = await trio.to_thread.run_sync(until_ended, daemon, watch, 2)
            assert await trio.to_thread.run_sync(text_of, daemon, found[0]) == "failed active"


def test_removing_a_watch_answers_what_it_has_asked_with_no(working: Daemon, notes: Path) -> None:
    """Nobody must be able to begin a turn of a watch that is gone."""
    watch = added(working, "--file", f"{notes}/*.md", "--name", "Ask", f"$ echo {{event}} >> {notes}/did")
    (notes / "a.md").write_text("one")
    working.until(lambda: bool(working.call("watch.show", watch="Ask")["watch"].get("question")))
    [run] = runs(working, watch)
    assert working.ctl("watch", "remove", "Ask").returncode == 0
    working.until(lambda: working.call("inbox.show", id=run["run"]["inbox_id"])["row"]["state"] == "dropped")
    assert working.call("chat.questions")["questions"] == []
    assert not (notes / "did").exists()
