"""Scheduled jobs in a real daemon: made by the verb, run at their instants, delivered, killed and taken up again."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.blackbox import events, log_of
from tests.servers.daemon import HTTP, Daemon

pytestmark = pytest.mark.loaded(HTTP)


@pytest.fixture
def working(daemon: Daemon) -> Daemon:
    daemon.write_config("model: offline\n")
    (daemon.home / "scripts").mkdir(mode=0o700)
    return daemon.start()


def script(daemon: Daemon, name: str, text: str) -> str:
    (daemon.home / "scripts" / name).write_text(text)
    return name


def made(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    done = daemon.ctl("cron", "create", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["job"]


def ran(daemon: Daemon, job: dict[str, Any]) -> dict[str, Any]:
    """Start it by hand and wait for the end of its run."""
    with daemon.connect() as wire:
        since = daemon.call("events.list", since=0, limit=1000)["last_id"]
        wire.send("events.watch", since=since)
        assert daemon.ctl("cron", "run", job["id"]).returncode == 0
        return until_ended(daemon, wire, job)


def until_ended(daemon: Daemon, wire: Any, job: dict[str, Any]) -> dict[str, Any]:
    while True:
        found = runs(daemon, job)
        if found and found[0]["state"] in ("done", "silent", "failed") and sent(found[0]):
            return found[0]
        wire.until("events.event")


def sent(run: dict[str, Any]) -> bool:
    return all(each.endswith(": sent") for each in run.get("deliveries", []))


def runs(daemon: Daemon, job: dict[str, Any]) -> list[dict[str, Any]]:
    return daemon.call("cron.runs", job=job["id"], limit=1000)["runs"]


def delivered(daemon: Daemon) -> list[str]:
    """What came out at the target ``local``, in order."""
    directory = daemon.home / "outbox"
    return [path.read_text() for path in sorted(directory.glob("*.md"))] if directory.is_dir() else []


def test_a_job_is_made_shown_run_and_removed(working: Daemon) -> None:
    """The canonical form and the next five instants are echoed; the answer of its turn is delivered."""
    done = working.ctl(
        "cron", "create", "0 9 * * mon", "Say what week it is.", "--name", "Week", "--tz", "Europe/Berlin"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == "  0 9 * * MON  Europe/Berlin"
    assert len(lines) == 7
    assert all("09:00:00+0" in line for line in lines[2:])
    [job] = json.loads(working.ctl("cron", "list", "--json").stdout)["jobs"]
    run = ran(working, job)
    assert run["state"] == "done"
    assert run["deliveries"] == ["local: sent"]
    assert run["session_id"]
    assert "offline" in delivered(working)[0]
    assert "last run  done, " in working.ctl("cron", "show", "Week").stdout
    assert working.ctl("cron", "remove", "Week").returncode == 0
    assert "no jobs" in working.ctl("cron").stdout


def test_a_job_runs_at_its_instant(working: Daemon) -> None:
    """By the real clock, within a second; the run is at the instant that was announced."""
    with working.connect() as wire:
        wire.send("events.watch", since=0)
        job = made(working, "in 10s", "hello")
        run = until_ended(working, wire, job)
    assert run["run"]["due_at"] == job["next_at"]
    assert 0 <= run["run"]["fired_at"] - job["next_at"] < 1
    assert working.call("cron.show", job=job["id"])["job"]["state"] == "ended"


def test_what_a_script_prints_is_context_or_the_message(working: Daemon) -> None:
    """Before the agent, in its place, and with a last line that leaves the agent asleep."""
    script(working, "watch.py", "print('CHANGE DETECTED')")
    job = made(working, "every 1h", "If CHANGE DETECTED, summarize.", "--script", "watch.py")
    run = ran(working, job)
    event = working.call("inbox.show", id=run["run"]["inbox_id"])["row"]
    assert "<untrusted>\nCHANGE DETECTED\n</untrusted>" in event["text"]
    assert event["text"].endswith("If CHANGE DETECTED, summarize.")

    script(working, "plain.sh", "echo just this")
    job = made(working, "every 1h", "--script", "plain.sh", "--no-agent", "--deliver", "local,log")
    assert ran(working, job)["deliveries"] == ["local: sent", "log: sent"]
    assert delivered(working)[-1] == "just this"

    before = len(delivered(working))
    script(working, "asleep.sh", """echo nothing; echo '{"wakeAgent": false}'""")
    assert ran(working, made(working, "every 1h", "x", "--script", "asleep.sh"))["state"] == "silent"
    script(working, "empty.sh", "true")
    assert ran(working, made(working, "every 1h", "--script", "empty.sh", "--no-agent"))["state"] == "silent"
    assert len(delivered(working)) == before


def test_a_failing_script_is_always_delivered(working: Daemon) -> None:
    """With the reason."""
    script(working, "bad.sh", "echo why >&2; exit 3")
    run = ran(working, made(working, "every 1h", "x", "--script", "bad.sh", "--name", "Bad"))
    assert run["state"] == "failed"
    assert "'Bad' failed: the script bad.sh failed: it ended with status 3: why" in delivered(working)[-1]


def test_a_silent_answer_is_not_sent(working: Daemon) -> None:
    """The offline model repeats what it is told."""
    job = made(working, "every 1h", "--script", script(working, "s.sh", "echo '[SILENT]'"), "--no-agent")
    assert ran(working, job)["state"] == "silent"
    assert delivered(working) == []


def test_skills_and_another_jobs_words_come_before_the_prompt(working: Daemon) -> None:
    """In that order; a skill that is not there is refused when the job is made."""
    skill = working.home / "skills" / "research" / "arxiv"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("Ask the arXiv API.")
    first = made(
        working, "every 1h", "--script", script(working, "a.sh", "echo forty-two"), "--no-agent", "--name", "a"
    )
    ran(working, first)
    job = made(working, "0 8 * * *", "Write the digest.", "--skills", "arxiv", "--context-from", "a")
    run = ran(working, job)
    text = working.call("inbox.show", id=run["run"]["inbox_id"])["row"]["text"]
    assert text.index("Ask the arXiv API.") < text.index("forty-two") < text.index("Write the digest.")
    refused = working.ctl("cron", "create", "0 8 * * *", "x", "--skills", "nope")
    assert refused.returncode == 1
    assert "no skill 'nope'" in refused.stderr


def test_a_bundled_skill_is_given_to_the_agent_unless_the_user_has_one_of_its_name(working: Daemon) -> None:
    """Nothing of it is written into the home, and its user's own counts from the next run on."""
    job = made(working, "0 8 * * *", "What is new?", "--skills", "morning-digest")
    text = working.call("inbox.show", id=ran(working, job)["run"]["inbox_id"])["row"]["text"]
    assert text.startswith("Skill 'morning-digest':\nYou write one message that is read on a phone")
    assert text.endswith("What is new?")
    assert not (working.home / "skills").exists()
    refused = working.ctl("cron", "create", "0 8 * * *", "x", "--skills", "morning-digst")
    assert refused.returncode == 1
    assert "did you mean 'morning-digest'?" in refused.stderr
    own = working.home / "skills" / "morning-digest"
    own.mkdir(parents=True)
    (own / "SKILL.md").write_text("Say good morning.")
    text = working.call("inbox.show", id=ran(working, job)["run"]["inbox_id"])["row"]["text"]
    assert text == "Skill 'morning-digest':\nSay good morning.\n\nWhat is new?"


REFUSED = [
    (["30 2 30 2 *", "x"], "never comes due"),
    (["every 5s", "x"], "out of bounds"),
    (["0 9 * * *"], "needs a prompt"),
    (["0 9 * * *", "--no-agent", "--prompt", "x"], "needs a script"),
    (["0 9 * * *", "x", "--script", "/bin/true"], "not below"),
    (["0 9 * * *", "x", "--deliver", "telegram"], "no home channel"),
    (["0 9 * * *", "x", "--deliver", "origin"], "no chat to go to"),
    (["0 9 * * *", "x", "--tz", "Mars/Olympus"], "not a time zone"),
    (["0 9 * * *", "x", "--toolsets", "fils"], "files"),
    (["0 9 * * *", "x", "--workdir", "/no/such"], "no directory"),
    (["0 9 * * *", "x", "--workdir", "~nobody-of-this-name/x"], "no directory"),
    (["0 9 * * *", "x", "--workdir", "x" * 300], "no directory"),
    (["0 9 * * *", "x", "--max-turns", "12345678"], "max_turns is 12345678"),
    (["0 9 * * *", "x", "--context-from", "nobody"], "no job"),
    (["0 9 * * *", "x", "--repeat", "-1"], "repeat"),
]


def test_what_could_not_run_is_refused(working: Daemon) -> None:
    """With the reason and a next step; nothing is made."""
    for arguments, why in REFUSED:
        refused = working.ctl("cron", "create", *arguments)
        assert refused.returncode != 0
        assert why in refused.stderr
        assert "→" in refused.stderr
    assert working.call("cron.list").get("jobs") == []


def test_settings_of_a_job_hold_for_its_turn_only(working: Daemon, tmp_path: Path) -> None:
    """Its own directory; a toolset that is gone fails that run and no other."""
    (tmp_path / "here.txt").write_text("in the job's directory")
    job = made(working, "every 1h", "read here.txt", "--workdir", str(tmp_path), "--max-turns", "5")
    ran(working, job)
    assert "in the job's directory" in delivered(working)[-1]
    assert working.call("chat.send", text="read here.txt")["text"].count("in the job's directory") == 0


def test_a_script_starts_where_its_turn_would(working: Daemon, tmp_path: Path) -> None:
    """Also in a directory that is named from its user's home."""
    directory = os.path.relpath(tmp_path, Path.home())
    name = script(working, "where.sh", "pwd -P")
    ran(working, made(working, "every 1h", "--script", name, "--no-agent", "--workdir", f"~/{directory}"))
    assert str(tmp_path.resolve()) in delivered(working)[-1]


def test_a_script_that_is_cut_by_a_kill_is_not_run_again(working: Daemon) -> None:
    """Its run ends as failed, and says so once."""
    mark = working.home / "ran.txt"
    job = made(
        working,
        "every 1h",
        "--no-agent",
        "--script",
        script(working, "slow.sh", f"echo once >> {mark}; exec sleep 1000"),
    )
    with events(working) as watch:
        working.ctl("cron", "run", job["id"])
        watch.until("run.script")
    while not mark.exists():
        assert working.process is not None
        assert working.process.poll() is None
    working.kill()
    working.start()
    with working.connect() as wire:
        wire.send("events.watch", since=0)
        run = until_ended(working, wire, job)
    assert run["state"] == "failed"
    assert mark.read_text() == "once\n"
    assert len([text for text in delivered(working) if "killed while the script ran" in text]) == 1


def test_what_was_missed_while_it_was_down_is_made_up_for_once(working: Daemon) -> None:
    """Under the policy of the job; killed, not stopped."""
    job = made(working, "every 10s", "hello", "--grace", "1")
    other = made(working, "every 10s", "hello", "--grace", "1", "--misfire", "skip")
    working.kill()
    due = job["next_at"]
    while time.time() < due + 2.5:
        signal.sigtimedwait([], due + 2.6 - time.time())
    working.start()
    with working.connect() as wire:
        wire.send("events.watch", since=0)
        until_ended(working, wire, job)
    assert [run["run"]["due_at"] for run in runs(working, job)][-1] == due
    assert [run["state"] for run in runs(working, other)][-1] == "skipped"


def test_jobs_come_and_go_as_jobs_json(working: Daemon, tmp_path: Path) -> None:
    """A hermes-agent file is read; what cannot run is left out by name; the export is read back."""
    (tmp_path / "jobs.json").write_text(
        json.dumps(
            {
                "jobs": [
                    {
                        "id": "abc",
                        "name": "Digest",
                        "prompt": "Write it.",
                        "schedule": {"kind": "cron", "expr": "0 9 * * 1", "display": "0 9 * * 1"},
                        "repeat": {"times": None, "completed": 3},
                        "enabled": True,
                        "state": "scheduled",
                        "deliver": "origin",
                        "origin": {"platform": "telegram", "chat_id": "7", "thread_id": None},
                    },
                    {"name": "Every", "prompt": "x", "schedule": {"kind": "interval", "minutes": 30}, "enabled": False},
                    {"name": "Gone", "prompt": "x", "schedule": {"kind": "once", "run_at": "2020-01-01T00:00:00"}},
                    {"name": "Odd", "prompt": "x", "schedule": {"kind": "moon"}},
                    17,
                ]
            }
        )
    )
    done = working.ctl("cron", "import", str(tmp_path / "jobs.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "made 2 jobs"
    assert "left out: Gone" in done.stdout
    assert "left out: Odd" in done.stdout
    jobs = working.call("cron.list")["jobs"]
    assert [(job["name"], job["state"], job["schedule"]) for job in jobs] == [
        ("Digest", "active", "0 9 * * 1"),
        ("Every", "paused", "every 30m"),
    ]
    exported = working.ctl("cron", "export").stdout
    for job in jobs:
        working.ctl("cron", "remove", job["id"])
    assert "made 2 jobs" in working.ctl("cron", "import", "-", stdin=exported).stdout
    assert [job["fields"]["deliver"] for job in working.call("cron.list")["jobs"]] == ["origin", "local"]


WHOLE = (
    *("--tz", "Europe/Berlin", "--toolsets", "files,todo", "--timeout", "90", "--max-turns", "7", "--budget", "5000"),
    *("--misfire", "run_all", "--catch-up", "3", "--grace", "0", "--overlap", "queue", "--jitter", "5"),
    *("--repeat", "4", "--expires", "2060-01-01T00:00", "--context-from", "First"),
)


def test_nothing_of_a_job_is_lost_on_the_way_through_jobs_json(working: Daemon) -> None:
    """Its zone, its bounds, what is done about missed runs, and whose words it begins with; also when that one comes
    later in the file."""
    made(working, "@daily", "one", "--name", "First")
    made(working, "0 9 * * *", "two", "--name", "Second", *WHOLE)
    before = {job["name"]: job for job in working.call("cron.list")["jobs"]}
    exported = json.loads(working.ctl("cron", "export").stdout)
    for job in before.values():
        working.ctl("cron", "remove", job["id"])
    exported["jobs"].reverse()
    said = working.ctl("cron", "import", "-", stdin=json.dumps(exported)).stdout
    assert said == "made 2 jobs\n"
    after = {job["name"]: job for job in working.call("cron.list")["jobs"]}
    assert after["Second"]["fields"].pop("context_from") == after["First"]["id"]
    assert before["Second"]["fields"].pop("context_from") == before["First"]["id"]
    shown = working.ctl("cron", "show", "Second").stdout
    assert "\ngrace         0 s\n" in shown
    assert "\ntimeout       90 s\n" in shown
    for name in ("schedule", "timezone", "next", "fields"):
        assert after["Second"][name] == before["Second"][name]


def test_an_import_names_what_a_job_has_that_is_not_taken_over(working: Daemon) -> None:
    """Fields of hermes-agent's that mean something and have no counterpart, and a second job to begin with."""
    schedule = {"kind": "cron", "expr": "@daily"}
    jobs = [
        {
            "id": "aa",
            "name": "A",
            "prompt": "x",
            "schedule": schedule,
            "last_run_at": "x",
            "context_from": ["bb", "aa"],
        },
        {"id": "bb", "name": "B\u001b[31m\n", "prompt": "x", "schedule": schedule, "base_url": "http://h", "x": None},
    ]
    done = working.ctl("cron", "import", "-", stdin=json.dumps({"jobs": jobs}))
    assert done.stdout.splitlines() == [
        "made 2 jobs",
        "left out: of B [31m : base_url",
        "left out: of A: context_from aa: one job is enough",
    ]
    a, b = working.call("cron.list")["jobs"]
    assert (a["fields"]["context_from"], b["name"]) == (b["id"], "B [31m")


ODD = {
    ("@daily", "x", "--name", "a\x1b[31m"): "the name holds control characters",
    ("@daily", "x", "--name", "n" * 101): "the name has 101 characters",
    ("@daily", "x", "--deliver", "sms:abc"): "'abc' is not a phone number",
    ("@daily", "x", "--grace", "nan"): "NaN and infinity are no numbers here",
    ("@daily", b"\xff"): "what was given is not UTF-8",
    ("0 0 30 2 *", "x"): "never comes due",
}


def test_what_is_wrong_is_said_in_words_for_people(working: Daemon) -> None:
    """With the next step, and nothing is made."""
    for words, said in ODD.items():
        done = working.ctl("cron", "create", *map(os.fsdecode, words))
        assert done.returncode != 0, words
        assert said in done.stderr, done.stderr
        assert "\n  → " in done.stderr, done.stderr
        assert "\x1b" not in done.stderr
    assert working.call("cron.list")["jobs"] == []
    assert "1001 instants cannot be shown" in working.ctl("cron", "next", "@daily", "-n", "1001").stderr


def test_what_could_not_be_delivered_or_answered_is_said_when_a_job_is_made(working: Daemon) -> None:
    """Refused where no setting is missing, warned of where one is: the job is then there."""
    for words, said in {
        ("--deliver", "webhook:http://example.com/x"): "only https is posted to\n  → use an https URL",
        ("--deliver", "webhook:https://169.254.169.254/x"): "169.254.169.254 may not be reached",
        ("--provider", "opnai"): "there is no provider 'opnai'\n  → did you mean 'openai'?",
        ("--toolsets", "fils"): "did you mean 'files'?",
    }.items():
        refused = working.ctl("cron", "create", "@daily", "x", *words)
        assert refused.returncode != 0
        assert said in refused.stderr
    assert working.call("cron.list")["jobs"] == []
    job = working.ctl("cron", "create", "@daily", "x", "--deliver", "email:a@b.de,slack:C1", "--provider", "openai")
    assert job.returncode == 0
    assert job.stderr.splitlines() == [
        "hermesctl: warning: deliver email:a@b.de: mail has no server or no sender yet",
        "  → set platforms.smtp.host and platforms.smtp.sender",
        "hermesctl: warning: deliver slack:C1: Slack has no token yet",
        "  → put SLACK_BOT_TOKEN=xoxb-… into .env",
        "hermesctl: warning: there is no key for openai yet",
        "  → put OPENAI_API_KEY=… into .env",
    ]


def test_a_shell_completes_the_names_of_jobs_watches_and_webhooks(working: Daemon) -> None:
    """What a shell would take apart, or run, is offered by its id."""
    made(working, "every 1h", "x", "--name", "backup")
    odd = made(working, "every 1h", "x", "--name", "$(true) y")
    assert working.ctl("watch", "add", "--file", str(working.home / "workspace/a.md"), "Look.").returncode == 0
    assert working.ctl("webhook", "subscribe", "deploy").returncode == 0
    found = {
        kind: working.ctl("completion", "--names", kind).stdout.split()
        for kind in ("jobs", "watches", "webhooks", "profiles")
    }
    assert found == {
        "jobs": ["backup", odd["id"]],
        "watches": ["a-md"],
        "webhooks": ["deploy"],
        "profiles": ["default"],
    }


def test_a_daemon_without_jobs_has_no_scheduler(working: Daemon) -> None:
    """Nor its modules; the first job brings both, and they are there after a restart."""
    names = working.ctl("tree").stdout
    assert "scheduler" not in names
    made(working, "every 1h", "x")
    assert "1 job waiting" in working.ctl("tree").stdout
    assert working.stop() == 0
    working.start()
    with log_of(working):
        assert "1 job waiting" in working.ctl("tree").stdout


def test_the_agent_makes_a_job_for_this_conversation(working: Daemon) -> None:
    """Its user is asked first; the job is the profile's, and a scheduled run can make none itself."""
    working.write_config("model: offline\npolicy: {tools: {cron: allow}}\n")
    working.ctl("reload")
    answer = working.call("chat.send", text="schedule every 2h: schedule 30m: x")["text"]
    assert "made job" in answer
    assert "every 2h" in answer
    [job] = working.call("cron.list")["jobs"]
    assert job["fields"]["prompt"] == "schedule 30m: x"
    assert job["fields"]["deliver"] == "local"
    run = ran(working, job)
    assert run["state"] == "done"
    assert "a scheduled run must not schedule others" in delivered(working)[-1]
    assert len(working.call("cron.list")["jobs"]) == 1


def test_the_agent_asks_before_it_makes_a_job(working: Daemon) -> None:
    """By default: a job acts later, when nobody is asked."""
    with working.connect() as wire:
        request = wire.send("chat.send", text="schedule 30m: say hello")
        question = wire.until("chat.update", kind="question")["question"]
        assert "cron" in question["text"]
        working.call("chat.answer", question=question["id"], answer="no")
        assert "the user said no" in wire.result(request)["text"]
    assert working.call("cron.list")["jobs"] == []
