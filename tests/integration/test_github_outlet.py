"""Answers as comments on issues, against an HTTP server that behaves as GitHub's documented API does."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from hermesd.config.schema import GithubConfig
from hermesd.gateway.http_sending import MAX_RETRY_AFTER_S
from hermesd.gateway.outlets_github import CUT, MAX_COMMENT_CHARS, GithubOutlet, marker_of
from hermesd.gateway.platform import PlatformError
from hermesd.store.records import Address, OutboxRow
from tests.faults.blackbox import events
from tests.servers.daemon import Daemon
from tests.servers.github import TOKEN, Github, as_github_documents

NOW = 1_800_000_000.0
ISSUE = "octo/parrot#7"


@pytest.fixture
def github() -> Iterator[Github]:
    with as_github_documents() as server:
        yield server


def row(*, repeat: bool = False, text: str = "Grüße ✓", issue: str = ISSUE, key: str = "turn:1:reply") -> OutboxRow:
    return OutboxRow(
        id=1,
        profile="default",
        address=Address(platform="github_comment", chat=issue),
        text=text,
        idempotency_key=key,
        state="pending",
        created_at=time.time(),
        repeat=repeat,
    )


def outlet(github: Github, *, token: str = TOKEN, base_url: str = "") -> GithubOutlet:
    config = GithubConfig(token=token, base_url=base_url or github.base_url)
    return GithubOutlet(lambda: config, now=lambda: NOW)


async def ignore(ref: str) -> None:
    """Nobody is shown the progress."""


async def fails(sender: GithubOutlet, message: OutboxRow) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await sender.send(message, progress=ignore)
    return caught.value


async def test_an_answer_becomes_a_comment_with_a_hidden_marker(github: Github) -> None:
    """The text as it is, then an HTML comment, which GitHub does not show."""
    sent = await outlet(github).send(row(), progress=ignore)
    assert github.bodies() == [f"Grüße ✓\n\n{marker_of('turn:1:reply')}"]
    assert sent.ref == "1"
    assert github.requests == [("POST", "/repos/octo/parrot/issues/7/comments")]


async def test_a_repeat_finds_its_comment_and_makes_no_other(github: Github) -> None:
    """Also on the second page of a busy issue; the comment of another message is not taken for it."""
    github.add(ISSUE, f"another\n\n{marker_of('turn:0:reply')}")
    for number in range(110):
        github.add(ISSUE, f"people talk {number}")
    first = await outlet(github).send(row(), progress=ignore)
    again = await outlet(github).send(row(repeat=True), progress=ignore)
    assert first == again
    assert len(github.bodies()) == 112
    assert [method for method, _ in github.requests] == ["POST", "GET", "GET"]


async def test_a_repeat_of_what_never_came_through_is_commented(github: Github) -> None:
    """Looked for, not found, made."""
    await outlet(github).send(row(repeat=True), progress=ignore)
    assert len(github.bodies()) == 1


RATE = [
    (403, {"retry-after": "120"}, "You have exceeded a secondary rate limit.", 120.0),
    (429, {"retry-after": "30"}, "", 30.0),
    (403, {}, "You have exceeded a secondary rate limit. Please wait a few minutes.", 60.0),
    (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 900)}, "API rate limit exceeded", 900.0),
    (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 11}, "", MAX_RETRY_AFTER_S),
]


@pytest.mark.parametrize(("status", "headers", "message", "pause"), RATE)
async def test_a_rate_limit_is_waited_for(
    github: Github, status: int, headers: dict[str, str], message: str, pause: float
) -> None:
    """As long as Retry-After or the reset says, else a minute; a day at most."""
    github.answers = [(status, headers, message)]
    error = await fails(outlet(github), row())
    assert (error.permanent, error.certainty, error.retry_after_s) == (False, "not_sent", pause)


REFUSED = [
    (401, "Bad credentials", True, "not_sent"),
    (403, "Resource not accessible by personal access token", True, "not_sent"),
    (404, "Not Found", True, "not_sent"),
    (410, "Issues are disabled for this repo", True, "not_sent"),
    (422, "Validation Failed", True, "not_sent"),
    (502, "", False, "unknown"),
]


@pytest.mark.parametrize(("status", "message", "permanent", "certainty"), REFUSED)
async def test_a_refusal_is_final_and_says_what_github_said(
    github: Github, status: int, message: str, permanent: bool, certainty: str
) -> None:
    """A failing server may have taken the comment: the next try looks for it first."""
    github.answers = [(status, {}, message)]
    error = await fails(outlet(github), row())
    assert (error.permanent, error.certainty) == (permanent, certainty)
    assert f"{status}" in error.what
    assert message in error.what


async def test_a_renamed_repository_is_followed_on_the_same_host_only(github: Github) -> None:
    """307 keeps the method; another host gets neither the text nor the token."""
    github.issues.add("octo/budgie#7")
    github.answers = [(307, {"location": f"{github.base_url}/repos/octo/budgie/issues/7/comments"}, "Moved")]
    await outlet(github).send(row(), progress=ignore)
    assert len(github.bodies("octo/budgie#7")) == 1
    with as_github_documents() as other:
        github.answers = [(307, {"location": f"{other.base_url}/repos/octo/parrot/issues/7/comments"}, "Moved")]
        assert (await fails(outlet(github), row())).permanent
        assert other.requests == []


async def test_a_text_that_is_too_long_is_cut_and_keeps_its_marker(github: Github) -> None:
    """65,536 characters are taken."""
    await outlet(github).send(row(text="ü" * 70_000), progress=ignore)
    [body] = github.bodies()
    assert len(body) == MAX_COMMENT_CHARS
    assert CUT in body
    assert body.endswith(marker_of("turn:1:reply"))


async def test_a_token_is_neither_missing_nor_sent_in_clear_nor_shown(github: Github) -> None:
    """http is for loopback; refusals name the place and hold no secret."""
    missing = await fails(outlet(github, token=""), row())
    clear = await fails(outlet(github, base_url="http://github.example.com"), row())
    wrong = await fails(outlet(github, token="ghp_wrong"), row())
    assert [error.permanent for error in (missing, clear, wrong)] == [True] * 3
    assert missing.next_step == "put GITHUB_TOKEN=… into .env"
    assert "https" in clear.next_step
    assert "ghp_" not in f"{missing}{clear}{wrong}"
    assert github.bodies() == []


async def test_a_server_that_is_down_did_not_get_it() -> None:
    """A refused connection is certain."""
    with as_github_documents() as gone:
        pass
    error = await fails(outlet(gone), row())
    assert (error.permanent, error.certainty) == (False, "not_sent")


@pytest.fixture
def working(daemon: Daemon, github: Github) -> Daemon:
    text = f"model: offline\nplatforms: {{github: {{base_url: '{github.base_url}'}}}}\n"
    daemon.write_config(text, env=f"GITHUB_TOKEN={TOKEN}\n")
    return daemon


def made(daemon: Daemon, target: str) -> str:
    done = daemon.ctl("cron", "create", "every 1d", "Say hello.", "--deliver", target, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["job"]["id"])


def test_a_comment_cut_between_sending_and_recording_is_made_once(working: Daemon, github: Github) -> None:
    """SIGKILL there: the next daemon finds the comment by its marker and records it as sent."""
    working.start(HERMESD_FAILPOINT="outbox.after_send")
    working.ctl("cron", "run", made(working, f"github_comment:{ISSUE}"))  # its answer may be lost with the daemon
    assert working.wait() == -signal.SIGKILL
    working.start()
    assert github.looked.acquire(timeout=30)
    assert working.stop() == 0  # drains: what was found is recorded
    working.start()
    [sent] = working.call("outbox.list", states=["sent"])["rows"]
    assert len(github.bodies()) == 1
    assert sent["ref"] == str(github.comments[ISSUE][0]["id"])


def test_what_github_refuses_becomes_a_dead_letter_with_the_reason(working: Daemon) -> None:
    """Another target of the same answer is not held up; a mended setting lets it be sent by hand."""
    working.start()
    with events(working) as watch:
        working.ctl("cron", "run", made(working, "github_comment:octo/nothing#1,local"))
        dead = watch.until("outbox.dead", platform="github_comment")
    assert "GitHub answered 404: Not Found" in dead["data"]["error"]
    assert "check the repository" in dead["data"]["error"]
    assert [path.name for path in (working.home / "outbox").iterdir()]
