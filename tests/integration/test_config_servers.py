"""``hermesctl config set|unset|get|show`` on MCP servers: their secrets go to .env as with ``mcp configure``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers.daemon import MCP, Daemon

pytestmark = pytest.mark.loaded(MCP)

ROOT = Path(__file__).parents[2]
MINIMAL = ROOT / "tests/servers/mcp_minimal.py"
N = "mcp_servers.n"


@pytest.fixture(params=["without a daemon", "with one"])
def either(request: pytest.FixtureRequest, daemon: Daemon) -> Daemon:
    """A home, once with a daemon that watches it."""
    if request.param == "with one":
        daemon.write_config("")
        daemon.start()
    return daemon


def config(daemon: Daemon, *words: str, stdin: str | None = None, status: int = 0) -> str:
    """What it prints, wherever to."""
    done = daemon.ctl("config", *words, stdin=stdin)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def files(daemon: Daemon) -> tuple[str, str]:
    env = daemon.home / ".env"
    return (daemon.home / "config.yaml").read_text(), env.read_text() if env.exists() else ""


def shown(daemon: Daemon) -> str:
    """All that may be asked about the configuration."""
    told = config(daemon, "show") + config(daemon, "show", "--json") + config(daemon, "get", N)
    told += config(daemon, "check")
    if daemon.process is not None:
        done = daemon.ctl("reload")
        assert done.returncode == 0, done.stderr
        told += done.stdout + json.dumps(daemon.call("config.show")) + daemon.ctl("mcp", "show", "n").stdout
        told += json.dumps(daemon.call("mcp.show", name="n"))
    return told


WHOLE = """{command: %s, args: [-c, pass, --token, geheim-1, 'X: ${KEPT}'],
 env: {PIN: 0001234, KEY: geheim-3, OTHER: "${KEPT}"}, enabled: false, timeout: 7}"""


def test_a_whole_server_is_set_and_its_secrets_are_variables(either: Daemon) -> None:
    """As `mcp add` would have put them, a number as it was typed; the rest is what was given."""
    config(either, "set", "KEPT", "geheim-4")
    said = config(either, "set", N, WHOLE % sys.executable)
    text, env = files(either)
    assert "KEY, N_TOKEN, PIN" in ", ".join(sorted(said.partition("; ")[2].partition(" went to")[0].split(", ")))
    assert "geheim-1" not in text + said
    assert "geheim-3" not in text + said
    assert "1234" not in text
    assert all(line in env for line in ("N_TOKEN=geheim-1\n", "KEY=geheim-3\n", "PIN=0001234\n"))
    assert "OTHER: ${KEPT}" in text
    assert "timeout: 7" in text
    told = shown(either)
    assert [secret for secret in ("geheim-1", "geheim-3", "geheim-4", "0001234") if secret in told] == []


def test_a_url_with_a_query_goes_to_env_and_comes_out_with_its_key(either: Daemon) -> None:
    """Set, shown, given anew in place of the old one, and unset: .env has no more than config.yaml needs."""
    config(either, "set", N, "{url: 'https://127.0.0.1:9/mcp?key=geheim-1', enabled: false}")
    assert "url: ${N_URL}" in files(either)[0]
    said = config(either, "set", f"{N}.url", "-", stdin="https://127.0.0.1:9/mcp?key=geheim-2\n")
    assert f"; N_URL went to {either.home / '.env'}\n" in said
    assert files(either)[1] == "N_URL='https://127.0.0.1:9/mcp?key=geheim-2'\n"
    assert config(either, "get", f"{N}.url") == "https://127.0.0.1:9/mcp?***\n"
    assert "geheim" not in shown(either)
    config(either, "set", f"{N}.headers", "{X-One: geheim-3, X-Two: 'Bearer ${N_X_ONE}'}")
    config(either, "set", f"{N}.headers.X-Three", "geheim-4")
    assert "geheim" not in files(either)[0] + shown(either)
    assert "N_X_ONE" not in config(either, "unset", f"{N}.headers.X-One")  # the other header has it too
    said = config(either, "unset", f"{N}.headers")
    assert "removed N_X_ONE, N_X_THREE from" in said
    assert files(either)[1] == "N_URL='https://127.0.0.1:9/mcp?key=geheim-2'\n"
    assert "removed N_URL from" in config(either, "unset", N)
    assert files(either) == ("", "")


def test_several_servers_at_once_do_not_take_each_others_variables(daemon: Daemon) -> None:
    """Two different secrets of one name have two variables, equal ones may share one."""
    text = "{a: {command: x, env: {KEY: geheim-1}}, b: {command: x, env: {KEY: geheim-2}}}"
    config(daemon, "set", "mcp_servers", text)
    found, env = files(daemon)
    assert env == "KEY=geheim-1\nB_KEY=geheim-2\n"
    assert found.count("KEY: ${KEY}") == found.count("KEY: ${B_KEY}") == 1
    assert "removed KEY from" in config(daemon, "unset", "mcp_servers.a")  # b has one of its own by that name
    assert "removed B_KEY from" in config(daemon, "unset", "mcp_servers")
    assert files(daemon) == ("", "")


def test_a_variable_that_something_else_may_need_stays(daemon: Daemon) -> None:
    """Named in config.yaml in any way, in .env itself, read by a provider or a platform, or by a plugin perhaps."""
    names = ("PASSED", "WITHIN", "OPENAI_API_KEY", "GITHUB_TOKEN", "FREE")
    for name in names:
        config(daemon, "set", name, f"geheim-{name}")
    with (daemon.home / ".env").open("a") as file:
        file.write('OUTER="x${WITHIN}"\n')
    config(daemon, "set", "terminal.env_passthrough", "PASSED")
    env = ", ".join(f"{name}: '${{{name}}}'" for name in names)
    server = f"{{command: x, env: {{{env}}}}}"
    config(daemon, "set", N, server)
    said = config(daemon, "unset", N)
    assert "removed FREE from" in said
    assert "GITHUB_TOKEN, OPENAI_API_KEY, WITHIN in " in said
    assert "FREE" not in files(daemon)[1]
    assert all(f"{name}=" in files(daemon)[1] for name in names[:-1])
    config(daemon, "set", "FREE", "geheim")
    config(daemon, "set", N, server)
    config(daemon, "set", f"{N}.url", "https://127.0.0.1:9/?geheim")
    config(daemon, "set", "plugins.enabled", "[some]")
    said = config(daemon, "unset", N)
    assert "removed N_URL from" in said
    assert "FREE, GITHUB_TOKEN" in said


REFUSED = [
    (
        f"{N}.url",
        "https://u:geheim-1@127.0.0.1:9/",
        2,
        "holds a user name or password",
        "headers.Authorization to: Basic",
    ),
    (
        f"{N}.url",
        "https://geheim-1@127.0.0.1:9/?x=geheim-2",
        2,
        "holds a user name or password",
        "headers.Authorization",
    ),
    (N, "{url: 'https://u:geheim-1@127.0.0.1:9/'}", 2, "holds a user name or password", "headers.Authorization"),
    (f"{N}.url", "ftp://127.0.0.1/?geheim-1", 78, "is no http or https URL", "https://host/path"),
    (f"{N}.env", "{KEY: geheim-1, KEY: geheim-2}", 78, "'KEY' is set twice", "quote it"),
    (f"{N}.env", "{KEY: geheim-1", 78, "is not YAML", "quote it"),
    (f"{N}.env", "{KEY: geheim-1}, x: {y: geheim-2}", 78, "is not YAML", "quote it"),
    (f"{N}.env", "{KEY: [geheim-1]}", 78, f"{N}.env.KEY must be", "give"),
    (f"{N}.env", "{A B: geheim-1}", 78, "is not a variable's name", "correct it"),
    (f"{N}.headers", "{'A B': geheim-1}", 78, "cannot be sent as a header", "correct"),
    (f"{N}.nothing", "geheim-1", 2, "there is no key", "did you mean"),
    (f"{N}.env", "geheim-1", 2, "must be", "write it as"),
]


@pytest.mark.parametrize(("key", "value", "status", "what", "step"), REFUSED)
def test_a_refusal_writes_nothing_and_tells_no_secret(
    daemon: Daemon, key: str, value: str, status: int, what: str, step: str
) -> None:
    """What is wrong, and the one next step; both files are as they were."""
    before = "mcp_servers:\n  n:\n    command: x  # mine\n"
    daemon.write_config(before, env="OTHER=1\n")
    said = config(daemon, "set", key, value, status=status)
    assert "geheim" not in said
    assert what in said
    assert step in said.partition("\n  → ")[2]
    assert files(daemon) == (before, "OTHER=1\n")


def test_a_managed_variable_is_not_changed_through_a_server(daemon: Daemon) -> None:
    """Neither given another value nor taken away."""
    daemon.write_config("mcp_servers:\n  n:\n    url: ${N_URL}\n", env="N_URL=https://127.0.0.1:9/?geheim-1\n")
    (daemon.home / ".managed").write_text("NixOS\ndeclared=listed\nkey=default N_URL\n")
    said = config(daemon, "set", f"{N}.url", "https://127.0.0.1:9/?geheim-2", status=78)
    assert "N_URL" in said
    assert "managed by NixOS" in said
    assert "N_URL in " in config(daemon, "unset", N)
    assert files(daemon) == ("", "N_URL=https://127.0.0.1:9/?geheim-1\n")


# -- a program or an address -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["config", "mcp"])
def test_a_server_becomes_an_address_or_a_program_again(daemon: Daemon, by: str) -> None:
    """What it was goes, with the secrets of that, and the output says so."""

    def change(key: str, value: str) -> str:
        words = ["config", "set", f"{N}.{key}", value] if by == "config" else ["mcp", "configure", "n", "--set"]
        done = daemon.ctl(*words, *([f"{key}={value}"] if by == "mcp" else []))
        assert done.returncode == 0, done.stderr
        assert "url is used" not in done.stderr
        return done.stdout

    daemon.write_config(
        "mcp_servers:\n  n:\n    command: x\n    args: [--token, '${N_TOKEN}']\n", env="N_TOKEN=geheim\n"
    )
    said = change("url", "https://127.0.0.1:9/mcp?geheim-1")
    assert f"removed {N}.command, {N}.args: a server is a program or an address\n" in said
    assert f"removed N_TOKEN from {daemon.home / '.env'}\n" in said
    assert files(daemon) == ("mcp_servers:\n  n:\n    url: ${N_URL}\n", "N_URL='https://127.0.0.1:9/mcp?geheim-1'\n")
    said = change("command", "why")
    assert f"removed {N}.url: a server" in said
    assert "removed N_URL from" in said
    assert files(daemon) == ("mcp_servers:\n  n:\n    command: why\n", "")
    assert "removed" not in change("command", "who")


def test_both_at_once_is_a_contradiction(daemon: Daemon) -> None:
    """Refused with what to do; taking one away by an empty value is none."""
    daemon.write_config("mcp_servers:\n  n:\n    command: x\n")
    words = ("mcp", "configure", "n", "--set", "url=https://127.0.0.1:9/", "--set")
    done = daemon.ctl(*words, "command=y")
    assert done.returncode == 2
    assert "would have a command and a url" in done.stderr
    assert "→ set one of them" in done.stderr
    done = daemon.ctl(*words, "command=")
    assert done.returncode == 0, done.stderr
    assert "url: https" in files(daemon)[0]


def test_a_running_daemon_uses_what_was_set_and_shows_none_of_it(daemon: Daemon) -> None:
    """The server gets the value of its variable."""
    daemon.write_config("")
    daemon.start()
    program = f"{{command: {sys.executable}, args: [-I, -S, {MINIMAL}, --api-key, geheim-1]}}"
    config(daemon, "set", N, program)
    assert daemon.ctl("reload").returncode == 0
    done = daemon.ctl("mcp", "test", "n")
    assert done.returncode == 0, done.stderr
    programs = [each.cmdline() for each in psutil.Process(daemon.pid).children(recursive=True)]
    assert any("geheim-1" in words and str(MINIMAL) in words for words in programs)
    assert "geheim" not in shown(daemon)
