"""``hermesctl plan`` and ``apply`` against a real daemon."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.daemon import HTTP, Daemon, RpcFailure
from tests.servers.terminal import at_terminal

pytestmark = pytest.mark.loaded(HTTP)

ROOT = Path(__file__).parents[2]

JOBS = """\
version: 1
jobs:
  Digest:
    schedule: every weekday at 09:00
    timezone: Europe/Berlin
    prompt: Write the digest.
  Follow up:
    schedule: every 1h
    prompt: Go on.
    context_from: Digest
    paused: true
"""


@pytest.fixture
def working(daemon: Daemon) -> Daemon:
    daemon.write_config("model: offline\n")
    return daemon.start()


def written(daemon: Daemon, text: str, name: str = "routines.yaml") -> str:
    path = daemon.home.parent / name
    path.write_text(text)
    return str(path)


def plan(daemon: Daemon, file: str, *more: str, status: int = 0) -> dict[str, Any]:
    done = daemon.ctl("plan", "-f", file, "--json", *more)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def applied(daemon: Daemon, file: str, *more: str) -> str:
    done = daemon.ctl("apply", "-f", file, "--yes", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in daemon.call("cron.list", all=True)["jobs"]}


def state_of(home: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but logs, with its time and its contents."""
    return {
        str(path.relative_to(home)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(home.rglob("*"))
        if path.is_file() and "logs" not in path.parts and path.suffix not in (".sock", "-shm")
    }


def test_jobs_are_made_changed_and_removed_as_the_file_says(working: Daemon) -> None:
    """The plan tells what apply then does; a second one finds nothing."""
    file = written(working, JOBS)
    shown = working.ctl("plan", "-f", file)
    assert shown.returncode == 2
    assert "+ job Digest  (profile default)" in shown.stdout
    assert "2 to create" in shown.stdout
    assert jobs(working) == {}
    assert "2 created" in applied(working, file)
    assert jobs(working)["Digest"]["schedule"] == "0 9 * * 1-5"
    assert jobs(working)["Follow up"]["state"] == "paused"
    assert plan(working, file)["pending"] == 0

    written(working, JOBS.replace("Write the digest.", "Write it well."))
    [change] = plan(working, file, status=2)["changes"]
    assert [(field["before"], field["after"]) for field in change["fields"]] == [
        ("Write the digest.", "Write it well.")
    ]
    before = jobs(working)["Digest"]
    applied(working, file)
    assert jobs(working)["Digest"]["fields"]["prompt"] == "Write it well."
    assert jobs(working)["Digest"]["id"] == before["id"]

    written(working, "version: 1\n")
    assert "2 deleted" in applied(working, file)
    assert jobs(working) == {}
    assert plan(working, file)["pending"] == 0


def test_a_second_apply_writes_nothing(working: Daemon) -> None:
    """Not a byte of any file, nor its time."""
    file = written(working, JOBS)
    applied(working, file)
    working.call("events.list", since=0, limit=1)
    before = state_of(working.home)
    assert "nothing to do" in applied(working, file)
    assert state_of(working.home) == before


def test_what_was_changed_by_hand_is_drift_and_is_put_back(working: Daemon) -> None:
    """Named as such, with status 2; what the file does not say is whoever's it is."""
    file = written(working, JOBS)
    applied(working, file)
    working.ctl("cron", "edit", "Digest", "--prompt", "Something else.", "--max-turns", "7")
    [change] = plan(working, file, status=2)["changes"]
    assert [(field["name"], field["by_hand"]) for field in change["fields"]] == [("prompt", True)]
    assert not change.get("conflict")
    assert "# changed by hand" in working.ctl("plan", "-f", file).stdout
    applied(working, file)
    fields = jobs(working)["Digest"]["fields"]
    assert (fields["prompt"], fields["max_turns"]) == ("Write the digest.", 7)
    working.ctl("cron", "remove", "Digest")
    made, follower = plan(working, file, status=2)["changes"]
    assert (made["action"], made["note"]) == ("create", "was removed by hand")
    assert [field["name"] for field in follower["fields"]] == ["context_from"], "it named the job that is gone"
    applied(working, file)
    assert plan(working, file)["pending"] == 0


def test_a_change_on_both_sides_is_refused_until_it_is_forced(working: Daemon) -> None:
    """Nothing of the apply happens, not even its other changes."""
    file = written(working, JOBS)
    applied(working, file)
    working.ctl("cron", "edit", "Digest", "--prompt", "Mine.")
    written(working, JOBS.replace("Write the digest.", "Theirs.").replace("Go on.", "Go further."))
    refused = working.ctl("apply", "-f", file, "--yes")
    assert refused.returncode == 1
    assert "! job Digest" in refused.stdout
    assert "nothing was changed" in refused.stderr
    assert jobs(working)["Follow up"]["fields"]["prompt"] == "Go on."
    applied(working, file, "--force-conflicts")
    assert jobs(working)["Digest"]["fields"]["prompt"] == "Theirs."
    assert plan(working, file)["pending"] == 0


def test_what_no_apply_has_made_is_left_alone(working: Daemon) -> None:
    """It is named only when asked; a file may take it over, and then let go of it again without removing it."""
    working.ctl("cron", "create", "0 9 * * *", "Mine.", "--name", "Own")
    file = written(working, JOBS)
    assert "Own" not in working.ctl("plan", "-f", file).stdout
    assert "jobs/default/Own" in working.ctl("plan", "-f", file, "--verbose").stdout
    written(working, "version: 1\njobs: {Own: {schedule: 0 9 * * *, prompt: Other.}}\n")
    assert plan(working, file, status=2)["conflicts"] == 1
    written(working, "version: 1\njobs: {Own: {schedule: 0 9 * * *, prompt: Mine.}}\n")
    assert "is taken over" in working.ctl("plan", "-f", file).stdout
    applied(working, file)
    written(working, "version: 1\n")
    assert "so it stays" in working.ctl("plan", "-f", file).stdout
    applied(working, file)
    assert "Own" in jobs(working)


def test_at_a_terminal_apply_shows_and_asks(working: Daemon) -> None:
    """In colour; a no changes nothing, a yes applies what was shown."""
    command = [sys.executable, "-m", "hermesctl", "apply", "-f", written(working, JOBS)]
    environment = {**os.environ, "HERMES_HOME": str(working.home), "TERM": "xterm"}
    with at_terminal(command, environment) as terminal:
        terminal.expect("\x1b[32m+ job Digest")
        terminal.expect("apply this? [y/N] ")
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert jobs(working) == {}
    with at_terminal(command, {**environment, "NO_COLOR": "1"}) as terminal:
        shown = terminal.expect("apply this? [y/N] ")
        assert "\x1b" not in shown
        terminal.type("y\n")
        terminal.expect("2 created")
        assert terminal.wait() == 0
    assert len(jobs(working)) == 2


def test_what_somebody_else_declares_is_not_changed(working: Daemon) -> None:
    """Where config.yaml is managed, the plan refuses sections of it; jobs are rows, and go on."""
    (working.home / ".managed").write_text("nixos\n")
    error = refusal(working, "version: 1\nmcp_servers: {a: {command: x}}\n", "a.yaml")
    assert "managed by NixOS" in error["message"]
    applied(working, written(working, JOBS))


def test_the_example_is_the_one_that_its_page_shows() -> None:
    """Under a first line of its own."""
    page, example = (ROOT / "docs/routines.md").read_text(), (ROOT / "examples/routines.yaml").read_text()
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    assert shown == example.partition("\n")[2]


def test_without_a_terminal_apply_wants_yes(working: Daemon) -> None:
    """And changes nothing without it."""
    refused = working.ctl("apply", "-f", written(working, JOBS))
    assert (refused.returncode, jobs(working)) == (2, {})
    assert "give --yes" in refused.stderr


def test_another_plan_than_the_shown_one_is_not_applied(working: Daemon) -> None:
    """The revision is that of the plan."""
    files = [{"name": "a.yaml", "text": JOBS}]
    shown = working.call("routines.plan", files=files)
    working.ctl("cron", "create", "0 9 * * *", "Mine.", "--name", "Digest")
    with pytest.raises(AssertionError, match="since the plan was shown"):
        working.call("routines.apply", files=files, revision=shown["revision"])
    assert list(jobs(working)) == ["Digest"]


WRONG = {
    "jobs: {}\n": "r.yaml:1: this is no manifest of version 1",
    "version: 1\njobs:\n  A:\n    prompts: x\n": "r.yaml:4: unknown key 'prompts' in jobs.A",
    "version: 1\njobs:\n  A:\n    prompt: x\n    schedule: 0 0 31 2 *\n": "r.yaml:5: jobs.A: schedule",
    "version: 1\njobs:\n  A: {prompt: x, schedule: 30m}\n": "r.yaml:3: jobs.A: schedule '30m' would be another",
    "version: 1\njobs:\n  A: {prompt: x, schedule: '@daily', profile: no}\n": "r.yaml:3: jobs.A: no profile 'no'",
    "version: 1\njobs:\n  A: {prompt: x, schedule: '@daily', repeat: many}\n": "r.yaml:3: repeat must be",
    "version: 1\njobs:\n  A: {prompt: x, schedule: '@daily', context_from: B}\n": "there is no other job 'B'",
}


def refusal(daemon: Daemon, text: str, name: str) -> dict[str, Any]:
    with pytest.raises(RpcFailure) as refused:
        daemon.call("routines.plan", files=[{"name": name, "text": text}])
    return refused.value.error


def test_a_file_that_is_wrong_is_refused_with_its_line(working: Daemon) -> None:
    """Status 78, and not the 2 that means a difference."""
    for text, said in WRONG.items():
        error = refusal(working, text, "r.yaml")
        assert error["data"]["exit_status"] == 78
        assert said in f"{error['data']['where']}: {error['message']}"
        assert error["data"]["next_step"]
    refused = working.ctl("plan", "-f", written(working, next(iter(WRONG)), "r.yaml"))
    assert refused.returncode == 78, refused.stdout
    assert "r.yaml:1: this is no manifest" in refused.stderr
    assert working.ctl("plan").returncode == 1
    assert working.ctl("plan", "--nonsense").returncode == 1


ALL = """\
version: 1
profiles:
  team:
    description: The team's agent
    jobs:
      Standup:
        schedule: every weekday at 09:30
        timezone: UTC
        prompt: Ask everybody how it goes.
webhooks:
  deploys:
    prompt: "Deployed: {service}"
    deliver: log
    scheme: github
    secret_env: DEPLOY_SECRET
  alerts:
    prompt: "{text}"
    deliver_only: true
mcp_servers:
  notes:
    command: notes-server
    args: [--root, /srv/notes]
    enabled: false
    env: {NOTES_TOKEN: "${NOTES_TOKEN}", LEVEL: debug}
    tools: {exclude: [remove]}
jobs:
  Tidy:
    schedule: every 6h
    prompt: Tidy up.
"""
CONFIG = """\
# of ours
model: offline  # kept
platforms:
  webhook:
    port: 0
    routes:
      own: {secret: "${OWN}", prompt: mine}  # by hand
"""
ENV = "DEPLOY_SECRET=c2VjcmV0LWRlcGxveQ\nNOTES_TOKEN=n0tes-t0ken\nOWN=0wn-s3cret\n"


@pytest.fixture
def furnished(daemon: Daemon) -> Daemon:
    daemon.write_config(CONFIG, env=ENV)
    return daemon.start()


def test_everything_a_file_may_declare_is_made_and_removed_again(furnished: Daemon) -> None:
    """Of every kind, in one apply; comments and what was made by hand stay, also when all of it goes."""
    file = written(furnished, ALL)
    shown = furnished.ctl("plan", "-f", file).stdout
    assert "6 to create" in shown
    assert "c2VjcmV0LWRlcGxveQ" not in shown
    assert "6 created" in applied(furnished, file)
    assert furnished.call("profile.show", name="team")["name"] == "team"
    assert jobs(furnished)["Standup"]["profile"] == "team"
    routes = {route["name"]: route for route in furnished.call("webhook.list")["routes"]}
    assert sorted(routes) == ["alerts", "deploys", "own"]
    assert routes["alerts"]["has_secret"]
    [server] = furnished.call("mcp.list")["servers"]
    assert server["name"] == "notes"
    config = (furnished.home / "config.yaml").read_text()
    assert "secret: ${DEPLOY_SECRET}" in config
    assert "model: offline  # kept" in config
    before = state_of(furnished.home)
    assert plan(furnished, file)["pending"] == 0
    applied(furnished, file)
    assert state_of(furnished.home) == before

    written(furnished, "version: 1\n")
    assert "6 deleted" in applied(furnished, file)
    assert not (furnished.home / "profiles" / "team").exists()
    assert [route["name"] for route in furnished.call("webhook.list")["routes"]] == ["own"]
    config = (furnished.home / "config.yaml").read_text()
    assert "# by hand" in config
    assert "mcp_servers" not in config
    assert "WEBHOOK_ROUTES_ALERTS_SECRET" not in (furnished.home / ".env").read_text()
    assert plan(furnished, file)["pending"] == 0


ROUTE = """\
version: 1
webhooks:
  pr-review:
    prompt: "Review PR #{pull_request.number}"
    deliver: github_comment
    filters:
      - {field: action, in: [opened, synchronize]}
      - not: {field: pull_request.draft, equals: true}
  one:
    prompt: x
    filters: {field: number, equals: 12}
"""


def test_a_webhook_may_have_filters_and_a_target_that_its_payload_completes(furnished: Daemon) -> None:
    """As `webhook subscribe` makes them; what is exported then plans to nothing."""
    file = written(furnished, ROUTE)
    assert "2 created" in applied(furnished, file)
    routes = {route["name"]: route for route in furnished.call("webhook.list")["routes"]}
    assert routes["pr-review"]["filters"] == [
        {"field": "action", "in": ["opened", "synchronize"]},
        {"not": {"field": "pull_request.draft", "equals": True}},
    ]
    assert routes["one"]["filters"] == [{"field": "number", "equals": 12}]
    assert plan(furnished, file)["pending"] == 0
    exported = furnished.ctl("plan", "--export").stdout
    found = furnished.ctl("plan", "-f", "-", "--json", stdin=exported)
    assert found.returncode == 0, found.stdout + found.stderr


def test_only_declared_keys_of_a_section_are_changed(furnished: Daemon) -> None:
    """What somebody adds to a server by hand stays; what they change of the file's own is drift."""
    file = written(furnished, ALL)
    applied(furnished, file)
    furnished.ctl("config", "set", "mcp_servers.notes.timeout", "7")
    furnished.ctl("config", "set", "mcp_servers.notes.tools.include", "read,write")
    assert plan(furnished, file)["pending"] == 0
    furnished.ctl("config", "set", "mcp_servers.notes.env.LEVEL", "trace")
    [change] = plan(furnished, file, status=2)["changes"]
    kept = "${LEVEL}"  # a server's variable may be a secret: `config set` puts it into .env
    assert [(field["name"], field["before"]) for field in change["fields"]] == [("env.LEVEL", kept)]
    written(furnished, ALL.replace(", LEVEL: debug", "").replace("    tools: {exclude: [remove]}\n", ""))
    refused = furnished.ctl("apply", "-f", file, "--yes")
    assert "! env.LEVEL" in refused.stdout
    applied(furnished, file, "--force-conflicts")
    config = (furnished.home / "config.yaml").read_text()
    assert "LEVEL" not in config
    assert "timeout: 7" in config
    assert "read" in config
    assert "exclude" not in config
    written(furnished, ALL.replace("    secret_env: DEPLOY_SECRET\n", ""))
    applied(furnished, file)
    assert "${WEBHOOK_ROUTES_DEPLOYS_SECRET}" in (furnished.home / "config.yaml").read_text()
    assert plan(furnished, file)["pending"] == 0


def test_a_profile_is_described_and_a_new_one_may_be_cloned(furnished: Daemon) -> None:
    """A changed description is an update; clone_from counts once."""
    file = written(furnished, "version: 1\nprofiles: {team: {description: One, clone_from: default}}\n")
    applied(furnished, file)
    assert "own:" in (furnished.home / "profiles" / "team" / "config.yaml").read_text()
    written(furnished, "version: 1\nprofiles: {team: {description: Two}}\n")
    assert "1 updated" in applied(furnished, file)
    assert plan(furnished, file)["pending"] == 0
    assert "Two" in (furnished.home / "profiles" / "team" / "profile.yaml").read_text()


REFUSED = {
    "webhooks: {a: {secret: hunter2hunter2}}": "webhooks.a: secret is a secret and stands in the file",
    "mcp_servers: {a: {url: https://h/mcp, headers: {Authorization: Bearer abcdefgh}}}": "is a secret",
    "mcp_servers: {a: {command: x, args: [--api-key, abcdefgh]}}": "args is a secret",
    "mcp_servers: {a: {command: x, args: [sk-abcdefghijkl]}}": "args is a secret",
    "webhooks: {a: {secret_env: NOT_THERE}}": "NOT_THERE} is not set",
    "webhooks: {a: {deliver: telegram}}": "webhooks.a: ",
    "mcp_servers: {a: {url: ftp://x}}": "a.yaml:2",
    "mcp_servers: {a: {trusted: perhaps}}": "trusted must be true or false",
    "mcp_servers: {a.b: {command: x}}": "is not a server's name",
    "webhooks: {a-b: {}, a_b: {}}": "would have one secret",
    "webhooks: {a: {filters: [{field: x, like: y}]}}": "filters[0] has an unknown operator 'like'",
    "webhooks: {a: {deliver: sms}}": "deliver 'sms' has no chat to go to",
    "profiles: {root: {}}": "is reserved",
    "jobs: {A: {schedule: '@daily', prompt: x}}\nprofiles: {x: {jobs: [1]}}": "jobs must be a mapping of names",
    "webhooks: {a: {profile: nobody}}": "there is no profile 'nobody'",
}


def test_what_could_not_be_applied_is_refused_by_the_plan(furnished: Daemon) -> None:
    """With its place in the file and no secret in the sentence; nothing has been written."""
    before = state_of(furnished.home)
    for text, said in REFUSED.items():
        error = refusal(furnished, f"version: 1\n{text}\n", "a.yaml")
        assert error["data"]["exit_status"] == 78, text
        assert error["data"]["where"].startswith("a.yaml:"), text
        assert said in f"{error['data']['where']}: {error['message']}", text
        assert "abcdefgh" not in str(error)
        assert "hunter2" not in str(error)
    assert state_of(furnished.home) == before


def test_a_literal_secret_that_is_there_is_not_shown(daemon: Daemon) -> None:
    """Neither as what is, nor as what was."""
    daemon.write_config(
        "platforms: {webhook: {routes: {own: {secret: hunter2hunter2, prompt: mine}}}}\n", env="A=bbbbbbbb\n"
    )
    daemon.start()
    done = daemon.ctl("plan", "-f", written(daemon, "version: 1\nwebhooks: {own: {secret_env: A}}\n"), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["changes"][0]["fields"][0]["before"] == "***"
    assert "hunter2" not in done.stdout


def test_files_are_told_apart_by_their_names_and_a_directory_is_one(furnished: Daemon) -> None:
    """What another name has applied is not deleted, and not taken over."""
    directory = furnished.home.parent / "all"
    directory.mkdir()
    (directory / "a.yaml").write_text(JOBS)
    (directory / "b.yml").write_text("version: 1\njobs: {B: {schedule: '@daily', prompt: x}}\n")
    (directory / "README.md").write_text("no manifest")
    applied(furnished, str(directory))
    other = written(furnished, "version: 1\nname: other\njobs: {C: {schedule: '@daily', prompt: x}}\n", "other.yaml")
    assert "1 created" in applied(furnished, other)
    assert sorted(jobs(furnished)) == ["B", "C", "Digest", "Follow up"]
    taken = written(furnished, "version: 1\nname: other\njobs: {B: {schedule: '@daily', prompt: x}}\n", "other.yaml")
    assert "was applied as part of 'routines'" in furnished.ctl("plan", "-f", taken).stderr
    done = furnished.ctl("plan", "-f", "-", stdin=JOBS)
    assert done.returncode == 2
    assert "- job B" in done.stdout


def test_what_is_there_is_exported_and_plans_to_nothing(furnished: Daemon) -> None:
    """Also what was made by hand, in another profile, and what has ended or is paused; secrets are left out."""
    applied(furnished, written(furnished, ALL + JOBS.partition("jobs:\n")[2]))
    furnished.ctl("profile", "create", "coder", "--description", 'Writes "code": all day')
    furnished.ctl("config", "set", "platforms.webhook.routes.own.prompt", "Two\nlines: {a}\n")
    with (furnished.home / "config.yaml").open("a") as config:
        config.write("  raw: {url: 'https://h/mcp', headers: {Authorization: Bearer abcdefgh}, enabled: false}\n")
    furnished.call("daemon.reload")
    fields = {"schedule": "30m", "prompt": "no", "name": "Once", "repeat": 1, "expires": "30d", "deliver": "local,log"}
    furnished.call("cron.create", fields=fields, profile="coder")
    done = furnished.ctl("plan", "--export")
    assert done.returncode == 0, done.stderr
    assert "# left out: mcp_servers/default/raw: headers.Authorization is a secret" in done.stdout
    assert "abcdefgh" not in done.stdout
    found = furnished.ctl("plan", "-f", "-", "--json", stdin=f"{done.stdout}name: exported\n")
    assert found.returncode == 78, "another name may not take what the first has"
    found = furnished.ctl("plan", "-f", "-", "--json", stdin=done.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    kept = {(change["action"], change["name"]) for change in json.loads(found.stdout)["changes"]}
    assert kept == {("keep", "own"), ("keep", "raw"), ("keep", "coder"), ("keep", "Once")}
    one = furnished.ctl("-p", "coder", "plan", "--export").stdout
    assert one.startswith("version: 1\nprofiles:\n  coder:\n    description: 'Writes \"code\": all day'\n")
