"""``hermesctl mcp …`` as a person uses it: with and without a daemon, and with everything that can be typed wrong."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hermesctl.__main__ import main
from hermesd.mcp.presets import PRESETS
from tests.servers.daemon import MCP, Daemon
from tests.servers.terminal import at_terminal

pytestmark = pytest.mark.loaded(MCP)

ROOT = Path(__file__).parents[2]
MINIMAL = ROOT / "tests/servers/mcp_minimal.py"
HERMESCTL = [sys.executable, "-m", "hermesctl", "mcp"]
LISTED = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.servers.mcp_listed import main; main()"


def ctl(daemon: Daemon, *words: str, stdin: str | None = None) -> str:
    """What it prints when it succeeds."""
    done = daemon.ctl("mcp", *words, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(daemon: Daemon) -> dict[str, str]:
    return {**os.environ, **daemon.env, "HERMES_HOME": str(daemon.home)}


def refusal(daemon: Daemon, *words: str, status: int, stdin: str | None = None) -> str:
    """What it prints when it refuses: an error and one next step."""
    done = daemon.ctl("mcp", *words, stdin=stdin)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert done.stderr.startswith("hermesctl: ")
    assert done.stderr.count("\n  → ") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def add_minimal(daemon: Daemon, name: str, *modes: str, options: tuple[str, ...] = ()) -> str:
    program = ("--command", sys.executable, *options, "--args", "-I", "-S", str(MINIMAL), *modes)
    return ctl(daemon, "add", name, *program)


# -- without a daemon --------------------------------------------------------------------------------------------------


def test_the_first_server_may_be_added_before_there_is_a_home(tmp_path: Path) -> None:
    """Home, config.yaml and .env are made, private; what happens next is said."""
    daemon = Daemon(tmp_path / "new" / "home")
    said = ctl(daemon, "add", "s", "--command", sys.executable, "--env", "KEY=geheim-1", "--args", "-V")
    assert "no daemon is running" in said
    assert "KEY went to" in said
    assert "geheim-1" not in (daemon.home / "config.yaml").read_text()
    for path, mode in ((daemon.home, 0o700), (daemon.home / ".env", 0o600), (daemon.home / "config.yaml", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert ctl(daemon, "remove", "s").startswith("removed s from")
    assert (daemon.home / "config.yaml").read_text() == ""


def test_a_secret_comes_from_the_command_line_the_environment_or_the_input(daemon: Daemon) -> None:
    """Each goes to .env and config.yaml refers to it; two servers may have different ones of the same name."""
    daemon.env["FROM_HERE"] = "geheim-2"
    variables = ("--env", "KEY=geheim-1", "--env", "FROM_HERE", "--env", "TYPED")
    ctl(daemon, "add", "one", "--command", sys.executable, *variables, stdin="geheim-3\n")
    headers = ("--header", "Authorization: Bearer geheim-4", "--env", "KEY=geheim-5")
    ctl(daemon, "add", "two", "--url", "http://127.0.0.1:9/mcp?token=geheim-6", *headers)
    config, env = (daemon.home / "config.yaml").read_text(), (daemon.home / ".env").read_text()
    assert "geheim" not in config
    assert [f"geheim-{number}" in env for number in range(1, 7)] == [True] * 6
    shown = daemon.ctl("config", "get", "mcp_servers.two.headers", "--json").stdout
    assert "geheim" not in shown
    assert "FROM_HERE, KEY, TYPED in " in ctl(daemon, "remove", "one")


def test_a_setting_that_is_a_secret_goes_to_env_too(daemon: Daemon) -> None:
    """configure says where."""
    ctl(daemon, "add", "s", "--command", sys.executable)
    said = ctl(daemon, "configure", "s", "--set", "env.API_TOKEN=geheim-1", "--set", "timeout=5", "--trusted")
    assert "set env.API_TOKEN, timeout, trusted of s" in said
    assert "went to" in said
    assert "geheim-1" not in (daemon.home / "config.yaml").read_text()
    assert daemon.ctl("config", "get", "mcp_servers.s.timeout").stdout == "5.0\n"
    assert daemon.ctl("config", "get", "mcp_servers.s.trusted").stdout == "true\n"


SECRET_SETTINGS = [
    "headers.X-Api-Key=geheim-1",
    'headers={"Authorization": "Bearer geheim-2", "X-K": "geheim-3"}',
    "env.SERVICE_PAT=geheim-4",
    "url=http://127.0.0.1:9/mcp?k=geheim-5",
    "args=[--api-key, geheim-6, --password=geheim-7]",
    "oauth.client_secret=geheim-8",
]


def test_no_setting_that_may_be_a_secret_stays_in_the_file_or_is_shown(daemon: Daemon) -> None:
    """Whichever way it is given: headers, variables, a query, arguments; `config set` does the same."""
    ctl(daemon, "add", "s", "--command", sys.executable, "--args", "--token=geheim-0")
    for setting in SECRET_SETTINGS:
        assert "went to" in ctl(daemon, "configure", "s", "--set", setting)
    assert daemon.ctl("config", "set", "mcp_servers.s.headers.Cookie", "geheim-9").returncode == 0
    config, env = (daemon.home / "config.yaml").read_text(), (daemon.home / ".env").read_text()
    assert "geheim" not in config
    assert [f"geheim-{number}" in env for number in range(2, 10)] == [True] * 8
    assert "geheim-0" not in env  # the program's, which went with it when a url took its place
    assert "geheim-1" not in env  # of the headers that others have replaced
    for words in (("get", "mcp_servers.s"), ("get", "mcp_servers.s", "--json"), ("show",)):
        assert "geheim" not in daemon.ctl("config", *words).stdout
    assert daemon.ctl("config", "get", "mcp_servers.s.url").stdout == "http://127.0.0.1:9/mcp?***\n"


def test_a_token_is_asked_for_where_a_header_is_wanted_and_none_is_given(daemon: Daemon) -> None:
    """As hermes-agent does: it is sent as a bearer token, and kept in .env."""
    ctl(daemon, "add", "s", "--url", "http://127.0.0.1:9/", "--auth", "header", stdin="geheim-1\n")
    assert "Authorization: ${S_AUTHORIZATION}\n" in (daemon.home / "config.yaml").read_text()
    assert "S_AUTHORIZATION='Bearer geheim-1'\n" in (daemon.home / ".env").read_text()


def test_settings_are_changed_together_or_not_at_all(daemon: Daemon) -> None:
    """The second of two is wrong: neither is written, nor a secret of the first."""
    daemon.write_config("mcp_servers:\n  s:\n    command: x  # mine\n", env="OTHER=1\n")
    refusal(daemon, "configure", "s", "--set", "env.KEY=geheim-1", "--set", "timeout=soon", status=78)
    assert (daemon.home / "config.yaml").read_text() == "mcp_servers:\n  s:\n    command: x  # mine\n"
    assert (daemon.home / ".env").read_text() == "OTHER=1\n"


def test_a_secret_may_be_given_anew_again_and_again(daemon: Daemon) -> None:
    """configure puts it in the old one's place; a server that comes back takes a variable that is free."""
    for number in range(5):
        ctl(daemon, "add", "s", "--url", "http://127.0.0.1:9/", "--header", f"Authorization: old-{number}")
        ctl(daemon, "configure", "s", "--set", f"headers.Authorization=new-{number}")
        env = (daemon.home / ".env").read_text()
        assert f"new-{number}" in env
        assert "old-" not in env
        ctl(daemon, "remove", "s")


def test_servers_that_are_added_at_the_same_time_are_all_added(daemon: Daemon) -> None:
    """Scripts do that; no change of the files undoes another."""
    ctl(daemon, "add", "first", "--command", sys.executable)
    words = [*HERMESCTL, "add"]
    adding = [
        subprocess.Popen(
            [*words, f"s{number}", "--command", sys.executable, "--env", f"K{number}=geheim-{number}"],
            cwd=ROOT,
            env=environment(daemon),
            stdout=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert [each.wait(60) for each in adding] == [0] * 4
    config, env = (daemon.home / "config.yaml").read_text(), (daemon.home / ".env").read_text()
    assert [f"  s{number}:" in config and f"K{number}=" in env for number in range(4)] == [True] * 4


@pytest.mark.parametrize(
    ("words", "status", "what", "step"),
    [
        (["add", "a b", "--command", "x"], 2, "'a b' is not a server's name", "letters, digits"),
        (["add", "../x", "--command", "x"], 2, "is not a server's name", "letters, digits"),
        (["add", "ñ", "--command", "x"], 2, "is not a server's name", "letters, digits"),
        (["add", "a"], 2, "either a command or a url", "--command PROGRAM | --url URL"),
        (["add", "a", "--command", "x", "--url", "http://x/"], 2, "either a command or a url", "--command"),
        (["add", "a", "--url", "ftp://x/"], 2, "is no http or https URL", "https://host/path"),
        (["add", "a", "--url", "https://u:hunter2@x/"], 2, "holds a user name or password", "--header 'Authorization"),
        (["add", "a", "--command", "x", "--env", "A B=v"], 2, "'A B' is not a variable's name", "--env NAME=VALUE"),
        (["add", "a", "--url", "http://x/", "--header", "K=hunter2"], 2, "cannot be sent as a header", "'NAME: VALUE'"),
        (["add", "a", "--url", "http://x/", "--header", "X-A"], 2, "no value for X-A", "--header 'X-A: VALUE'"),
        (["add", "a", "--url", "http://x/", "--auth", "header"], 2, "no value for token", "type it in"),
        (["add", "a", "--preset", "time", "--url", "http://x/"], 2, "preset time is a program", "leave --preset out"),
        (["add", "git"], 2, "a command, a url or a preset", "mcp add git --preset git --args --repository"),
        (["add", "a", "--preset", "tim"], 2, "there is no preset 'tim'", "one of: filesystem,"),
        (["add", "a", "--preset", "filesystem"], 2, "needs DIRECTORY", "--preset filesystem --args DIRECTORY"),
        (["add", "known", "--command", "x"], 1, "there is an MCP server 'known' already", "mcp configure known"),
        (["add", "a", "--command", "x", "--env", "K"], 2, "there is no value for K", "set K in the environment"),
        (["add", "a", "--command", "x", "--env", "K=${NOT_SET}"], 78, "${NOT_SET} is not set", "set NOT_SET in .env"),
        (["remove", "b"], 1, "there is no MCP server 'b'", "configured: known"),
        (["enable", "b"], 1, "there is no MCP server 'b'", "configured: known"),
        (["configure", "b", "--trusted"], 1, "there is no MCP server 'b'", "configured: known"),
        (["rm", "b"], 1, "there is no MCP server 'b'", "configured: known"),
        (["config", "b", "--trusted"], 1, "there is no MCP server 'b'", "configured: known"),
        (["ls"], 69, "no daemon answers", "hermesd --detach"),
        (["login", "known"], 2, "nothing to sign in to", "hermesctl mcp test known"),
        (["configure", "known"], 2, "nothing to change", "--include"),
        (["configure", "known", "--set", "timeout"], 2, "gives no value", "--set timeout=VALUE"),
        (["configure", "known", "--set", "timeuot=5"], 2, "no key", "did you mean 'timeout'?"),
        (["configure", "known", "--set", "timeout=soon"], 78, "must be a number", "give another value"),
        (["call", "known", "echo", "{text: 1}"], 2, "are no JSON", "in single quotes"),
        (["call", "known", "echo", "[1]"], 2, "no JSON object", '{"name": "value"}'),
        (["list"], 69, "no daemon answers", "hermesd --detach"),
        (["test", "known"], 69, "no daemon answers", "hermesd --detach"),
    ],
)
def test_what_is_typed_wrong_is_refused_with_the_next_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    what: str,
    step: str,
) -> None:
    """And config.yaml stays as it was. In this process, because there are many."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text("mcp_servers:\n  known: {command: x}  # mine\n")
    monkeypatch.setenv("HERMES_HOME", str(home))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["mcp", *words]) == status
    error, _, hint = capsys.readouterr().err.partition("\n")
    assert error.startswith("hermesctl: ")
    assert what in error
    assert hint.startswith("  → ")
    assert step in hint
    assert hint.count("\n") == 1
    assert (home / "config.yaml").read_text() == "mcp_servers:\n  known: {command: x}  # mine\n"
    assert not (home / ".env").exists()


def test_a_server_that_is_refused_leaves_no_secret_behind(daemon: Daemon) -> None:
    """.env would be written first, so what is refused is refused before that."""
    daemon.write_config("", env="OTHER=1\n")
    words = ("--url", "http://localhost:9/", "--header", "Name: ${NOT_SET}", "--env", "KEY=x")
    assert "${NOT_SET} is not set" in refusal(daemon, "add", "s", *words, status=78)
    assert (daemon.home / ".env").read_text() == "OTHER=1\n"


def test_a_server_is_switched_without_a_daemon(daemon: Daemon) -> None:
    """In the file; the comment beside it stays."""
    daemon.write_config("mcp_servers:\n  s:\n    command: x  # mine\n")
    assert "s is disabled\nno daemon is running" in ctl(daemon, "disable", "s")
    assert daemon.ctl("config", "get", "mcp_servers.s.enabled").stdout == "false\n"
    ctl(daemon, "enable", "s")
    assert daemon.ctl("config", "get", "mcp_servers.s.enabled").stdout == "true\n"
    assert "# mine" in (daemon.home / "config.yaml").read_text()


def test_a_broken_server_may_still_be_removed(daemon: Daemon) -> None:
    """What is wrong with it does not stand in the way of being rid of it."""
    daemon.write_config("mcp_servers:\n  s: {timeout: soon}\n  other: {command: x}\n")
    ctl(daemon, "remove", "s")
    assert (daemon.home / "config.yaml").read_text() == "mcp_servers:\n  other: {command: x}\n"


def test_presets_are_listed_and_added(daemon: Daemon) -> None:
    """A program that is not there is noted, not refused: the daemon may find it."""
    daemon.env["PATH"] = str(Path(sys.executable).parent)
    listed = ctl(daemon, "presets")
    assert all(f"\n{name} " in f"\n{listed}" for name in PRESETS)
    said = ctl(daemon, "add", "clock", "--preset", "time")
    assert "note: there is no program uvx on this PATH; it comes with uv" in said
    ctl(daemon, "add", "files", "--preset", "filesystem", "--args", "/srv/a", "/srv/b")
    arguments = json.loads(daemon.ctl("config", "get", "mcp_servers.files.args", "--json").stdout)
    assert arguments == ["-y", "@modelcontextprotocol/server-filesystem", "/srv/a", "/srv/b"]
    assert "sign in with `hermesctl mcp login notion`" in ctl(daemon, "add", "notion", "--preset", "notion")


@pytest.mark.parametrize("words", [["add", "b", "--command", "x"], ["remove", "s"], ["configure", "s", "--trusted"]])
def test_a_declared_configuration_is_not_changed(daemon: Daemon, words: list[str]) -> None:
    """NixOS and the like: the error says where to change it."""
    text = "mcp_servers:\n  s: {command: x, enabled: false}\n"
    daemon.write_config(text)
    daemon.env["HERMES_MANAGED"] = "nixos"
    for each in (words, ["enable", "s"]):
        assert "managed by NixOS" in refusal(daemon, *each, status=78)
    assert (daemon.home / "config.yaml").read_text() == text


def test_a_home_where_some_servers_are_declared_leaves_the_others_to_the_person(daemon: Daemon) -> None:
    """keys= in .managed names what is declared."""
    daemon.write_config("mcp_servers:\n  s: {command: x, enabled: false}\n")
    (daemon.home / ".managed").write_text("NixOS\nkeys=mcp_servers.s\n")
    assert "managed by NixOS" in refusal(daemon, "remove", "s", status=78)
    ctl(daemon, "add", "mine", "--command", sys.executable)


def test_what_was_added_reads_as_if_a_person_had_written_it(daemon: Daemon) -> None:
    """Over several lines, with quotes where a word could mean something else; it comes back as it was given."""
    odd = ["-V", "no", "1.10", "", "a: b # c", "- x", "Grüße", "two\nlines", '"', "'", "{}", "~", "*a"]
    ctl(daemon, "add", "s", "--command", "prog", "--env", "KEY=x", "--args", *odd)
    text = (daemon.home / "config.yaml").read_text()
    assert text.startswith("mcp_servers:\n  s:\n    command: prog\n    args:\n")
    assert "    env:\n      KEY: ${KEY}\n" in text
    assert json.loads(daemon.ctl("config", "get", "mcp_servers.s.args", "--json").stdout) == odd


def test_the_end_of_input_at_a_question_is_a_refusal(daemon: Daemon) -> None:
    """Ctrl-D where a secret is asked for; nothing is added."""
    command = [*HERMESCTL, "add", "s", "--command", "x", "--env", "KEY"]
    with at_terminal(command, environment(daemon)) as terminal:
        terminal.expect("KEY: ")
        terminal.type("\x04")
        terminal.expect("there is no value for KEY")
        assert terminal.wait() == 2
    assert "Traceback" not in terminal.seen
    assert not (daemon.home / "config.yaml").exists()


def test_a_locale_without_our_characters_is_no_reason_to_fail(daemon: Daemon) -> None:
    """They are written as escapes; words that are no UTF-8 are refused, and nothing is written."""
    daemon.env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "\\u2026" in ctl(daemon, "presets")
    assert "\\u2192 hermesctl" not in ctl(daemon, "add", "s", "--command", sys.executable)
    before = (daemon.home / "config.yaml").read_bytes()
    words = ["add", "t", "--command", "x", "--args", b"\xe9"]
    done = subprocess.run([*HERMESCTL, *words], env=environment(daemon), capture_output=True, check=False)
    assert done.returncode == 2
    assert b"hermesctl: what was given is not UTF-8\n" in done.stderr
    assert (daemon.home / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(("redirection", "status"), [(">/dev/full", 1), (">&-", 0)])
def test_an_output_that_takes_nothing_is_told_in_a_line(daemon: Daemon, redirection: str, status: int) -> None:
    """A full disk is an error, a closed output is what was wanted."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *HERMESCTL, "presets"]
    done = subprocess.run(command, env=environment(daemon), capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr == ("hermesctl: standard output cannot be written: No space left on device\n" if status else "")


def test_a_shell_completes_the_names_of_servers(daemon: Daemon) -> None:
    """Without a daemon too; a new name is not completed."""
    daemon.write_config("mcp_servers:\n  b: {command: x}\n  a.c: {url: 'http://127.0.0.1:9/'}\n")
    assert daemon.ctl("completion", "--names", "servers").stdout.split() == ["b", "a.c"]
    script = daemon.ctl("completion", "bash").stdout
    assert all(f'"mcp {verb}") choices=' in script for verb in ("show", "rm", "add"))
    kinds = re.findall(r'"mcp (\w+)"\) choices="[^"]*" kind=servers', script)
    assert {"show", "remove", "rm", "login", "configure", "call", "tools", "reauth"} <= set(kinds)
    assert "add" not in kinds


# -- with a daemon -----------------------------------------------------------------------------------------------------


def test_a_server_that_cannot_run_says_why_and_what_comes_next(daemon: Daemon) -> None:
    """A missing program, one that crashes, an address nobody listens at: in list, show, test, call and doctor."""
    daemon.start()
    short = ("--connect-timeout", "0.5")
    ctl(daemon, "add", "missing", "--command", "no-such-program", *short)
    add_minimal(daemon, "crash", "crash", options=("--connect-timeout", "10"))  # a busy machine is slow to start it
    ctl(daemon, "add", "away", "--url", "http://127.0.0.1:9/mcp", *short)
    why = {
        "missing": "there is no program no-such-program in the daemon's PATH",
        "crash": "the server exited with status 3 (stderr: cannot go on)",
        "away": "the server cannot be reached",
    }
    for name, words in why.items():
        tested = daemon.ctl("mcp", "test", name)
        assert tested.returncode == 1
        assert words in tested.stdout
        assert f"\n  → hermesctl mcp show {name}" in tested.stdout
        assert f"last error  {words}" in ctl(daemon, "show", name)
        assert words in refusal(daemon, "call", name, "x", status=1)
    listed = ctl(daemon, "list")
    assert all(words in listed for words in why.values())
    advice = daemon.ctl("doctor").stdout
    assert why["missing"] in advice
    assert "hermesctl mcp restart missing" in advice


def test_a_test_names_the_tools(daemon: Daemon) -> None:
    """With a line of each; as JSON the server's own names."""
    daemon.start()
    add_minimal(daemon, "s")
    said = ctl(daemon, "test", "s").splitlines()
    assert re.fullmatch(r"s: ready, \d+ tools?, \d+\.\d\d s", said[0])
    names = json.loads(ctl(daemon, "test", "s", "--json"))["tool_names"]
    assert "echo" in names
    assert [line.split()[0] for line in said[1:]] == names
    assert ctl(daemon, "ls") == ctl(daemon, "list")
    assert ctl(daemon, "ls", "--json") == ctl(daemon, "list", "--json")


def test_a_person_who_adds_a_server_sees_its_tools_and_chooses(daemon: Daemon, tmp_path: Path) -> None:
    """At a terminal; no is followed by the choice. One that cannot be reached stays and says why; so after Ctrl-C."""
    daemon.start()
    _, arguments = listed_server(tmp_path, tool("one"), tool("two"))
    command = [*HERMESCTL, "add"]
    program = ["--command", sys.executable, "--args", *arguments]
    with at_terminal([*command, "s", *program], environment(daemon)) as terminal:
        terminal.expect("connecting to s")
        terminal.expect("s: ready")
        terminal.expect("May the model have all of them? [Y/n]")
        terminal.type("n\n")
        terminal.expect("Tools to keep")
        terminal.type("1\n")
        assert terminal.wait() == 0
    assert len(daemon.call("mcp.show", name="s")["left_out"]) == 1
    with at_terminal([*command, "away", "--url", "http://127.0.0.1:9/"], environment(daemon)) as terminal:
        terminal.expect("away: backoff: the server cannot be reached")
        terminal.expect("→ hermesctl mcp show away")
        assert terminal.wait() == 0
    hung = ["hung", "--command", "sleep", "--args", "1000"]
    with at_terminal([*command, *hung], environment(daemon)) as terminal:
        terminal.expect("connecting to hung")
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert {row["name"] for row in daemon.call("mcp.list")["servers"]} == {"s", "away", "hung"}


def test_what_a_person_is_told_to_type_names_the_profile(daemon: Daemon) -> None:
    """Typed as it stands it would otherwise be about another profile's server, or about none."""
    daemon.write_config("{}\n")
    daemon.write_config("mcp_servers: {s: {command: no-such-program, enabled: false}}\n", profile="ada")
    daemon.start()
    ada = ("-p", "ada")
    assert "\n  → hermesctl -p ada mcp enable s" in daemon.ctl("mcp", "test", "s", *ada).stdout
    assert "→ hermesctl -p ada mcp enable s" in refusal(daemon, "restart", "s", *ada, status=1)
    assert "→ hermesctl -p ada mcp enable s" in refusal(daemon, "call", "s", "x", *ada, status=1)
    assert "hermesctl -p ada mcp configure s" in refusal(daemon, "add", "s", "--command", "x", *ada, status=1)
    assert "hermesctl -p ada mcp test t" in ctl(daemon, "add", "t", "--command", "no-such-program", *ada)
    assert "→ hermesctl -p ada mcp show t" in daemon.ctl("mcp", "test", "t", *ada).stdout


def test_calls_name_the_nearest_tool_and_take_their_arguments_from_the_input(daemon: Daemon) -> None:
    """By either name of the tool; a disabled server says how to enable it."""
    daemon.start()
    add_minimal(daemon, "m")
    ctl(daemon, "test", "m")
    assert ctl(daemon, "call", "m", "mcp__m__echo", "-", stdin='{"text": "Grüße"}') == "Grüße\n"
    assert "did you mean 'echo'?" in refusal(daemon, "call", "m", "ech", status=1)
    assert "configured: m" in refusal(daemon, "show", "n", status=1)
    assert "see `hermesctl mcp show m`" in refusal(daemon, "approve", "m", "echo", status=1)
    ctl(daemon, "disable", "m")
    assert "mcp enable m" in refusal(daemon, "call", "m", "echo", status=1)
    assert "mcp enable m" in refusal(daemon, "restart", "m", status=1)
    assert "disabled" in ctl(daemon, "list")
    ctl(daemon, "enable", "m")
    assert ctl(daemon, "restart", "m") == "restarted m\n"


def test_a_filter_shows_what_it_leaves_out(daemon: Daemon) -> None:
    """A tool that the server does not have is noted; nothing chosen is everything again."""
    daemon.start()
    add_minimal(daemon, "m")
    ctl(daemon, "test", "m")
    assert "note: m has no tool ecko" in ctl(daemon, "configure", "m", "--include", "echo,ecko")
    shown = ctl(daemon, "show", "m")
    assert "left out  " in shown
    assert "is left out by the configuration" in refusal(daemon, "call", "m", "pid", status=1)
    assert [row["tool"] for row in daemon.call("mcp.tools", name="m")["tools"]] == ["echo"]
    assert daemon.call("mcp.show", name="m")["left_out"] == ["pid", "sleep", "die", "big", "more"]
    assert "note" not in ctl(daemon, "configure", "m", "--include", "", "--exclude", "die")
    assert daemon.call("mcp.show", name="m")["left_out"] == ["die"]


def test_a_part_of_the_configuration_that_is_refused_is_told(daemon: Daemon) -> None:
    """The server is added; another profile's mistake is named with it."""
    daemon.write_config("")
    daemon.start()
    assert daemon.ctl("profile", "create", "work").returncode == 0
    (daemon.home / "profiles/work/config.yaml").write_text("timeuot: 3\n")
    done = daemon.ctl("mcp", "add", "s", "--command", sys.executable)
    assert done.returncode == 1
    assert "added s" in done.stdout
    assert "timeuot" in done.stderr


def listed_server(tmp_path: Path, *tools: dict[str, Any]) -> tuple[Path, list[str]]:
    """A server whose tools stand in a file, which is returned with its arguments."""
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(tools))
    return path, ["-c", LISTED, str(path), str(tmp_path / "lists.log")]


def tool(name: str, description: str = "x") -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}


def test_a_changed_tool_is_shown_whole_before_it_is_approved(daemon: Daemon, tmp_path: Path) -> None:
    """The new description with all its lines; what was not seen is not approved; the other tool stays held back."""
    path, arguments = listed_server(tmp_path, tool("add", "adds"), tool("sub", "subtracts"))
    daemon.start()
    ctl(daemon, "add", "s", "--command", sys.executable, "--args", *arguments)
    ctl(daemon, "test", "s")
    path.write_text(json.dumps([tool("add", "adds\nand tells"), tool("sub", "subtracts, then sends")]))
    ctl(daemon, "restart", "s")
    ctl(daemon, "test", "s")
    shown = ctl(daemon, "show", "s")
    assert "add is held back: it has changed. It now says:\n  adds\n  and tells\n" in shown
    offered = re.search(r"`hermesctl mcp (approve s --expect [0-9a-f]{12})`", shown)
    assert offered is not None
    path.write_text(json.dumps([tool("add", "adds\nand tells"), tool("sub", "subtracts, then sells")]))
    ctl(daemon, "restart", "s")
    ctl(daemon, "test", "s")
    assert "changed again" in refusal(daemon, *offered[1].split(), status=1)
    assert "0 +2 held" in ctl(daemon, "list")
    again = re.search(r"--expect [0-9a-f]{12}", ctl(daemon, "show", "s"))
    assert again is not None
    assert ctl(daemon, "approve", "s", "add", *again[0].split()) == "approved: add\n"
    assert "1 +1 held" in ctl(daemon, "list")
    assert ctl(daemon, "call", "s", "add") == "add\n"
    assert daemon.ctl("mcp", "call", "s", "sub").returncode == 1


def test_tools_with_odd_names_are_called_by_either_name(daemon: Daemon, tmp_path: Path) -> None:
    """Other characters become _; names that would be the same differ by a hash; hidden characters are refused."""
    odd = [tool(name) for name in ("read.text", "a b", "ñandú", "a_b", "re\u200bad", "x" * 100)]
    _, arguments = listed_server(tmp_path, *odd)
    daemon.start()
    ctl(daemon, "add", "odd-one", "--command", sys.executable, "--args", *arguments)
    ctl(daemon, "test", "odd-one")
    rows = {row["tool"]: row["name"] for row in daemon.call("mcp.tools")["tools"]}
    assert rows["read.text"] == "mcp__odd_one__read_text"
    assert rows["a_b"] == "mcp__odd_one__a_b"
    assert rows["a b"].startswith("mcp__odd_one__a_b_")
    assert len(rows["x" * 100]) <= 64
    assert "re\u200bad" not in rows
    assert "a tool was refused for its name" in ctl(daemon, "show", "odd-one")
    for name in ("a b", "ñandú", "x" * 100):
        assert ctl(daemon, "call", "odd-one", name) == f"{name}\n"
        assert ctl(daemon, "call", "odd-one", rows[name]) == f"{name}\n"


def test_the_list_of_a_lazy_server_follows_its_profile(daemon: Daemon, tmp_path: Path) -> None:
    """After a new name its tools are offered without starting it; that of a removed server is gone."""
    _, arguments = listed_server(tmp_path, tool("add"))
    lazy = {"command": sys.executable, "args": arguments, "lifecycle": "lazy"}
    daemon.start()
    assert daemon.ctl("profile", "create", "work").returncode == 0
    daemon.write_config(json.dumps({"mcp_servers": {"s": lazy}}), profile="work")
    daemon.call("daemon.reload")
    assert daemon.call("mcp.test", name="s", profile="work")["ok"]
    assert daemon.call("mcp.call", name="s", tool="add", profile="work")["text"] == "add"
    assert daemon.ctl("profile", "rename", "work", "office").returncode == 0
    shown = daemon.call("mcp.show", name="s", profile="office")
    assert (shown["server"]["state"], shown.get("pid", 0)) == ("idle", 0)
    assert [row["tool"] for row in shown["tools"]] == ["add"]
