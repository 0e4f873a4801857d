"""Scripts of jobs, really run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermesd.errors import UsageError
from hermesd.tools.environment import child_environment
from hermesd.triggers.script import Said, find_script, run_script


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    return tmp_path / "scripts"


async def ran(scripts: Path, name: str, text: str, *, timeout_s: float = 20.0) -> Said:
    (scripts / name).write_text(text)
    env = child_environment(os.environ)
    return await run_script(scripts / name, cwd=scripts, env=env, tag="test:script", timeout_s=timeout_s)


async def test_what_it_prints_is_what_it_says(scripts: Path) -> None:
    """Python by our interpreter, sh by sh, anything else by itself; stderr is not part of it."""
    python = "import sys; print('from python'); print('noise', file=sys.stderr)"
    assert await ran(scripts, "a.py", python) == Said("from python")
    assert await ran(scripts, "a.sh", "echo from sh; echo noise >&2") == Said("from sh")
    (scripts / "own").write_text("#!/bin/sh\necho own\n")
    (scripts / "own").chmod(0o700)
    assert await ran(scripts, "own", "#!/bin/sh\necho own\n") == Said("own")


async def test_a_failure_is_told_with_its_last_line(scripts: Path) -> None:
    """The status and what stderr ended with."""
    said = await ran(scripts, "a.sh", "echo half; echo why >&2; exit 3")
    assert said == Said("half", "it ended with status 3: why")


async def test_one_that_hangs_is_ended(scripts: Path) -> None:
    """With what it had said."""
    said = await ran(scripts, "a.sh", "echo before; exec sleep 1000", timeout_s=2)
    assert said == Said("before", "it was ended after 2 s")


async def test_one_that_cannot_be_started_is_told(scripts: Path) -> None:
    """No interpreter, no permission."""
    said = await ran(scripts, "a", "#!/no/such/interpreter\n")
    assert "cannot be started" in said.error


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ('{"wakeAgent": false}', Said("line", wake=False)),
        ('{"wakeAgent": true}', Said("line")),
        ('{"wakeAgent": "no"}', Said('line\n{"wakeAgent": "no"}')),
        ("{broken", Said("line\n{broken")),
        ("[1]", Said("line\n[1]")),
    ],
)
async def test_a_last_line_may_leave_the_agent_asleep(scripts: Path, last: str, said: Said) -> None:
    """Only in exactly that shape."""
    assert await ran(scripts, "a.sh", f"echo line\ncat <<'END'\n{last}\nEND\n") == said


async def test_a_flood_is_bounded(scripts: Path) -> None:
    """On both streams."""
    said = await ran(scripts, "a.sh", "yes out | head -c 3000000; yes err | head -c 3000000 >&2; exit 1")
    assert len(said.text) < 70_000
    assert said.error.endswith("err")


async def test_its_streams_block_when_nobody_has_read_them_yet(scripts: Path) -> None:
    """Programs do not expect EAGAIN when they write to stdout or stderr."""
    assert await ran(scripts, "a.py", "import os; print(os.get_blocking(1), os.get_blocking(2))") == Said("True True")


@pytest.mark.parametrize("name", ["../outside.sh", "/bin/true", "nowhere.sh", ".", "", "link.sh"])
def test_nothing_outside_its_directory_is_run(scripts: Path, name: str) -> None:
    """Not by dots, not by an absolute path, not by a link."""
    (scripts.parent / "outside.sh").write_text("")
    (scripts / "link.sh").symlink_to(scripts.parent / "outside.sh")
    with pytest.raises(UsageError) as caught:
        find_script(name, scripts)
    assert caught.value.next_step
