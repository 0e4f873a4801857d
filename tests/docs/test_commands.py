"""Every command that README and docs show works as it stands, or is listed here with the reason why it is not run."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesctl.arguments import Parser
from hermesctl.commands.completion import _actions
from hermesctl.verbs import VERBS, module_of
from tests.docs.commands import PAGES, ROOT, Shown, commands_of
from tests.servers.daemon import Daemon

NOT_RUN = {
    r"make run": "tests/integration/test_first_run.py does",
    r"make (test|check|systemd|bench|kill|format|dist).*": "it would run this test, or run for long",
    r"python3 -m venv ~/hermesd && .*": "tests/integration/test_packaging.py installs the wheel",
    r"docker .*": "there is no registry; tests/deploy/test_image_docker.py builds and runs the image",
    r"hermesctl mcp add .* --preset .*": "it would fetch packages; tests/integration/test_mcp_verbs.py adds presets",
    r"hermesctl (events|logs|tree) .*(--follow|--watch|-f)\b.*": "goes on until Ctrl-C",
    r"(sudo )?hermesctl service (install|restart|status)( --system .*)?": "tests/deploy/test_systemd.py does",
    r"sudo useradd .*": "it would make a user",
    r"hermesctl container .*": "needs an image; tests/deploy/test_container_host_docker.py does it with Docker",
    r"hermesctl (inbox|outbox) (show|retry|resume|drop) .*": "needs a row to decide on; test_step_table.py does",
}
"""Pattern of a whole command → why it is not run here."""

SHOWN = {str(page.relative_to(ROOT)): list(commands_of(page)) for page in PAGES}
WITH_COMMANDS = [page for page, shown in SHOWN.items() if shown]
STATUS = "status-of"
PORTS = {"8644": "platforms.webhook.port", "8765": "mcp_serve.port"}


def why_not(command: str) -> str:
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command, re.DOTALL)), "")


@pytest.fixture
def person() -> Iterator[dict[str, str]]:
    """The environment of someone who has installed hermesd, in a new and short home directory."""
    home = Path(tempfile.mkdtemp(prefix="hd-"))
    programs = Path(sys.executable).parent
    yield {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}", "LANG": "C.UTF-8", "TERM": "dumb"}
    subprocess.run(
        [sys.executable, "-m", "hermesctl", "stop", "--now"],
        env={**os.environ, "HERMES_HOME": str(home / ".hermes")},
        capture_output=True,
        check=False,
        timeout=60,
    )
    shutil.rmtree(home)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_work_in_their_order(page: str, person: dict[str, str]) -> None:
    """One shell runs them from top to bottom, with a daemon running unless the page has started it; each returns 0."""
    shown = [one for one in SHOWN[page] if not why_not(one.command)]
    if not any(one.command.startswith("hermesd ") for one in shown):
        subprocess.run(["hermesd", "--detach"], env=person, check=True, timeout=60, stdin=subprocess.DEVNULL)
    script = "\n".join(_noted(number, one) for number, one in enumerate(shown))
    for port, key in PORTS.items():
        if port in script:
            script = script.replace(port, str(_with_a_free_port(person, key)))
    done = subprocess.run(
        ["bash"], input=script, env=person, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    statuses = dict(re.findall(rf"^{STATUS} (\d+) (\d+)$", done.stderr, re.MULTILINE))
    failed = [one for number, one in enumerate(shown) if statuses.get(str(number)) != "0"]
    assert not failed, f"{failed}\n{done.stdout}\n{done.stderr}"


def _with_a_free_port(person: dict[str, str], key: str) -> int:
    """Let a listener of this home be where nobody else is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    subprocess.run(["hermesctl", "config", "set", key, str(port)], env=person, check=True)
    return port


def _noted(number: int, shown: Shown) -> str:
    """The command with its input closed and its status noted; ``exit`` or a syntax error would leave the rest out."""
    return f"{{ {shown.command}\n}} </dev/null\necho {STATUS} {number} $? >&2"


def test_the_example_client_asks_and_prints_the_answer(daemon: Daemon) -> None:
    """examples/ask.py, as its first lines say."""
    daemon.start()
    command = [sys.executable, str(ROOT / "examples/ask.py"), "write a.txt: hello"]
    environment = {**os.environ, "HERMES_HOME": str(daemon.home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "created a.txt" in done.stdout


def test_every_reason_not_to_run_a_command_is_needed() -> None:
    """A pattern that fits no command any more is a leftover."""
    commands = [one.command for shown in SHOWN.values() for one in shown]
    unused = [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, one, re.DOTALL) for one in commands)]
    assert not unused


def test_the_socket_answers_a_line_from_nc() -> None:
    """README's last example is run, and shows an answer (``nc`` is there, or the test above has failed)."""
    assert any("nc -NU" in one.command for one in SHOWN["README.md"])


def test_the_verbs_in_tables_and_text_exist() -> None:
    """What stands in backquotes as ``hermesctl VERB …`` is a verb, and its action an action of it."""
    actions = {}
    for verb in VERBS:
        parser = Parser(prog=verb)
        importlib.import_module(module_of(verb)).register(parser)
        actions[verb] = set(_actions(parser))
    for page in PAGES:
        for verb, word in re.findall(r"`hermesctl(?: -p \w+)? ([a-z]+)(?: ([a-z-]+))?", page.read_text()):
            assert verb in VERBS, f"{page}: {verb}"
            assert not word or not actions[verb] or word in actions[verb] or verb == "tree", f"{page}: {verb} {word}"


def test_the_picture_of_the_tree_is_what_tree_prints(daemon: Daemon) -> None:
    """README's first picture has the services of such a home, by name and in order."""
    block = re.search(r"^```\n(hermesd .*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert block
    daemon.write_config(
        "platforms:\n"
        "  telegram: {enabled: true, base_url: 'http://127.0.0.1:9', token: '1:a', allowed_users: [1]}\n"
        "  webhook: {enabled: true, port: 0, routes: {deploy: {secret: c2VjcmV0, prompt: hello}}}\n"
    )
    daemon.start()
    assert daemon.ctl("profile", "create", "coder").returncode == 0
    assert daemon.ctl("gateway", "start", "--all").returncode == 0
    printed = [re.sub(r":\d+", ":N", name) for name in _names(daemon.ctl("tree").stdout)]
    coder = next(index for index, name in enumerate(printed) if name.endswith("profile/coder"))
    last = next(index for index, name in enumerate(printed) if "http:" in name)
    expected = [re.sub(r":\d+", ":N", name) for name in _names(block[1])]
    assert expected == [*printed[: coder + 1], "│  └─ …", *printed[last:]]


def _names(tree: str) -> list[str]:
    """The first column: the branches and the name, of each service."""
    return [found[0] for line in tree.splitlines() if (found := re.match(r"[│├└─ ]*[\w/:…-]+", line)) and _is_row(line)]


def _is_row(line: str) -> bool:
    return line.startswith("hermesd") or "─ " in line
