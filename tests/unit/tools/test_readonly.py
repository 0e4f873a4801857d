"""Which commands run unasked: only those that a strict parse is certain about."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.tools.terminal.command import Terminal
from hermesd.tools.terminal.readonly import COMMANDS, parse

READ_ONLY = """
ls
ls -la src
ls -1 --recursive
pwd
cat a.txt sub/b.txt
head -n 5 a
head -5 a
tail -n20 a
wc -l a
grep -n 'a|b;c' a.txt
grep -i -A 3 word a
du -sh .
date +%F
whoami
git status
git status --short
git log --oneline -n 5
git log -5
git log HEAD~3 src/a.py
git diff --staged
git diff HEAD~1 src
git branch -a
git branch --show-current
git rev-parse --abbrev-ref HEAD
git show HEAD:src/a.py
"""

UNSAFE = """
git log; rm x
git log && rm x
git log | sh
git log > x
git log $(rm x)
git log `rm x`
git log & rm x
git status #; rm x
git -c core.pager=evil log
git log --output=x
git diff --output=x
git diff --no-index /etc/passwd x
git diff --ext-diff
git log --textconv
git branch new
git branch -D main
git remote add x y
git config core.pager evil
git grep -Oevil x
git push
git
ls; rm x
ls *
ls ~
ls ~/x
ls $HOME
ls {a,b}
ls "a b"
ls a\\ b
ls -la > x
cat
cat /etc/passwd
cat ../x
cat a/../../x
cat < x
cat <(ls)
cat -- -x
head -n
head -n x a
tail -f a
tail --follow a
grep -r x .
grep -R x .
grep -f /etc/passwd a
grep --include=x y
date -s 12:00
date 0101
hostname evil
uname evil
find . -delete
find .
env
env ls
printenv
sudo ls
/bin/ls
./ls
X=1 ls
echo a > b
python3 -V
rm x
\tls
ls\t-l
LS
''
'ls' ; x
"""


@pytest.mark.parametrize("command", [line for line in READ_ONLY.strip().splitlines() if line])
def test_plain_reading_is_recognised(command: str) -> None:
    """These are what a model does most, and nobody wants to be asked about them."""
    assert Terminal().effect({"command": command}) == "read_only"


@pytest.mark.parametrize("command", [line for line in UNSAFE.strip("\n").splitlines() if line and line != "cat"])
def test_everything_else_is_unsafe(command: str) -> None:
    """A metacharacter, an unknown option, a path that leads out, or a program that is not listed."""
    assert Terminal().effect({"command": command}) == "unsafe"


@pytest.mark.parametrize("arguments", [{}, {"command": 3}, {"command": ""}, {"command": "ls", "background": True}])
def test_anything_odd_is_unsafe(arguments: dict[str, object]) -> None:
    """The judgement never raises, whatever the arguments are."""
    assert Terminal().effect(arguments) == "unsafe"


@settings(max_examples=500)
@given(
    st.sampled_from([*COMMANDS, "git log", "git status"]),
    st.text(max_size=10),
    st.sampled_from(list(';|&$`<>(){}*?!\\"\n#[]')),
)
def test_a_metacharacter_outside_quotes_is_never_read_only(prefix: str, text: str, metacharacter: str) -> None:
    """Whatever stands before it and after it."""
    assert parse(f"{prefix} {text.replace(chr(39), '')}{metacharacter}rm x") is None


@settings(max_examples=500)
@given(st.text("lscatgi -/.~'=:+nr0", max_size=25))
def test_an_accepted_command_has_only_inside_paths(command: str) -> None:
    """No accepted path is absolute, begins with ~ or climbs."""
    found = parse(command)
    if found:
        for path in found.paths:
            assert not path.startswith(("/", "~"))
            assert ".." not in path.split("/")
