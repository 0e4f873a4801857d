"""Skills are found in their order, read under bounds, and never written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConfigError, NotFoundError
from hermesd.home import Profile
from hermesd.skills import text as texts
from hermesd.skills.library import all_skills, find_skill, read_skills, read_usable
from hermesd.skills.places import VARIABLE

FRONT = "---\nname: {name}\ndescription: {description}\n---\n\n{body}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose bundled skills are an empty directory beside it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "bundled"))
    return tmp_path / "home"


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name / "SKILL.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def described(name: str, description: str, body: str = "Do it.") -> str:
    return FRONT.format(name=name, description=description, body=body)


def test_the_profiles_own_wins_over_the_homes_over_a_bundled_one(home: Path) -> None:
    """Each place is the fallback of the one before; the list shows each name once, as it would be taken."""
    root = home / "profiles" / "coder"
    root.mkdir(parents=True)
    coder = Profile("coder", root)
    bundled = write(home.parent / "bundled", "review", described("review", "ours", "Three."))
    assert find_skill("review", coder)[:3] == ("review", "bundled", bundled)
    own = write(home / "skills", "review", described("review", "the home's", "Two."))
    assert find_skill("review", coder)[:3] == ("review", "home", own)
    own = write(root / "skills", "review", described("review", "the profile's", "One."))
    assert find_skill("review", coder)[:3] == ("review", "profile", own)
    assert [(each.origin, each.description, each.text) for each in all_skills(coder)] == [
        ("profile", "the profile's", "One.")
    ]
    assert find_skill("review", Profile("default", home)).text == "Two."


def test_a_home_in_a_directory_called_profiles_has_no_skills_of_what_is_above(home: Path) -> None:
    """/srv/skills may be anybody's; where a home is above, the home in it is its profile, and has them."""
    root = home / "profiles" / "coder"
    own = write(root / "skills", "mine", "Do it.")
    write(home / "skills", "theirs", "Obey.")
    assert [each[:3] for each in all_skills(Profile("default", root))] == [("mine", "home", own)]
    (home / "state.db").touch()
    assert [each.origin for each in all_skills(Profile("default", root))] == ["profile", "home"]


def test_a_home_can_do_without_bundled_ones(home: Path) -> None:
    """By an empty file, as in a hermes-agent home."""
    write(home.parent / "bundled", "review", "Read.")
    home.mkdir()
    (home / ".no-bundled-skills").touch()
    assert all_skills(Profile("default", home)) == []


def test_looking_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a directory is made."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert {each.origin for each in all_skills(Profile("default", tmp_path / "home"))} == {"bundled"}
    assert find_skill("hermesd", Profile("default", tmp_path / "home")).text
    assert list(tmp_path.iterdir()) == []


def test_a_skill_may_stand_in_a_category_and_one_without_wins(home: Path) -> None:
    """Hidden directories are no places for skills."""
    write(home / "skills" / "research", "arxiv", "Ask the arXiv API.")
    write(home / "skills" / ".archive", "old", "Gone.")
    write(home / "skills" / "research" / "arxiv", "examples", "What lies within a skill is none.")
    assert find_skill("arxiv", Profile("default", home)).text == "Ask the arXiv API."
    assert [each.name for each in all_skills(Profile("default", home))] == ["arxiv"]
    write(home / "skills", "arxiv", "Ask somebody.")
    write(home / "skills" / "arxiv", "notes", "Nor is this.")
    with pytest.raises(NotFoundError):
        find_skill("notes", Profile("default", home))
    assert find_skill("arxiv", Profile("default", home)).text == "Ask somebody."
    assert [each.text for each in all_skills(Profile("default", home))] == ["Ask somebody."]


def test_an_agent_is_given_the_text_without_its_front_matter(home: Path) -> None:
    """In the order of the names."""
    write(home / "skills", "a", described("a", "first", "Do A."))
    write(home / "skills", "b", "# Do B\n\nAnd more.\n")
    assert read_skills(["b", "a"], Profile("default", home)) == "Skill 'b':\n# Do B\n\nAnd more.\n\nSkill 'a':\nDo A."
    assert [each.description for each in all_skills(Profile("default", home))] == ["first", "Do B"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../skills/a", "a/b", "/etc", ".hidden", "a\0b", "x" * 300, "*", "\ud800"]
)
def test_what_is_no_name_is_not_there(home: Path, name: str) -> None:
    """Nothing outside of the directories is ever opened for it."""
    write(home / "skills", "a", "A.")
    with pytest.raises(NotFoundError):
        find_skill(name, Profile("default", home))


def test_a_misspelt_name_gets_the_nearest(home: Path) -> None:
    """Of all places; without one, where to look and where to write."""
    write(home.parent / "bundled", "pr-review", "Read.")
    with pytest.raises(NotFoundError) as caught:
        find_skill("pr-revew", Profile("default", home))
    assert caught.value.next_step == "did you mean 'pr-review'?"
    with pytest.raises(NotFoundError) as caught:
        find_skill("zzz", Profile("default", home))
    assert "hermesctl skills list" in caught.value.next_step
    assert str(home / "skills") in caught.value.next_step


BAD = {
    "no end": ("---\nname: a\nDo it.\n", "has no end"),
    "no YAML": ("---\nname: [\n---\nDo it.\n", "is not YAML"),
    "no mapping": ("---\n- a\n---\nDo it.\n", "is not a mapping"),
    "a tag": ("---\nname: !!python/object/apply:os.system [true]\n---\nDo it.\n", "is not allowed"),
    "an alias of itself": ("---\na: &a [*a]\n---\nDo it.\n", ""),
    "deep": ("---\na: " + "[" * 500 + "]" * 500 + "\n---\nDo it.\n", "levels deep"),
    "long": ("---\na: " + "x" * texts.MAX_FRONT_MATTER + "\n---\nDo it.\n", "characters"),
    "twice": ("---\nname: a\nname: b\n---\nDo it.\n", "set twice"),
    "nothing behind": ("---\nname: a\ndescription: b\n---\n\n", "nothing behind"),
    "empty": (" \n\n", "is empty"),
    "large": ("x" * (texts.MAX_BYTES + 1), "larger than"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_one_is_listed_by_name_and_costs_no_other(home: Path, case: str) -> None:
    """With the reason; who asks for it by name is refused, and is not given the bundled one of that name instead."""
    text, reason = BAD[case]
    write(home.parent / "bundled", "bad", "Ours.")
    write(home / "skills", "bad", text)
    write(home / "skills", "good", "Do it.")
    bad, good = all_skills(Profile("default", home))
    assert (bad.name, bad.origin, bad.text) == ("bad", "home", "")
    assert bad.error
    assert reason in bad.error
    assert (good.name, good.error) == ("good", "")
    with pytest.raises(ConfigError) as caught:
        find_skill("bad", Profile("default", home))
    assert str(home / "skills" / "bad" / "SKILL.md") in caught.value.where
    assert caught.value.next_step
    assert "config edit" not in caught.value.next_step
    said, errors = read_usable(["bad", "good", "none"], Profile("default", home))
    assert said == "Note: the skill 'bad' cannot be used.\n\nSkill 'good':\nDo it.\n\nNote: there is no skill 'none'."
    assert [type(each) for each in errors] == [ConfigError, NotFoundError]


def test_the_line_of_a_mistake_is_the_files(home: Path) -> None:
    """The fence is line 1."""
    path = write(home / "skills", "bad", "---\nname: a\nname: b\n---\nDo it.\n")
    with pytest.raises(ConfigError) as caught:
        find_skill("bad", Profile("default", home))
    assert caught.value.where == f"{path}:3"


def test_a_link_leads_to_a_skill_or_nowhere(home: Path, tmp_path: Path) -> None:
    """A directory kept elsewhere works; a link to a key, a pipe, a device or itself is refused without being read."""
    kept = write(tmp_path / "dotfiles", "mine", "Do it.").parent
    (home / "skills").mkdir(parents=True)
    (home / "skills" / "mine").symlink_to(kept)
    assert find_skill("mine", Profile("default", home)).text == "Do it."
    (home / ".env").write_text("KEY=secret-value\n")
    for name, target in {
        "key": home / ".env",
        "gone": tmp_path / "none",
        "null": "/dev/zero",
        "self": "SKILL.md",
    }.items():
        (home / "skills" / name).mkdir()
        (home / "skills" / name / "SKILL.md").symlink_to(target)
    (home / "skills" / "pipe").mkdir()
    (home / "skills" / "loop").symlink_to("loop")
    os.mkfifo(home / "skills" / "pipe" / "SKILL.md")
    found = {each.name: each for each in all_skills(Profile("default", home))}
    assert {name for name, each in found.items() if each.error} == {"key", "gone", "null", "self", "pipe"}
    assert found["key"].error == "is a link to what is no SKILL.md"
    assert not any("secret-value" in f"{each}" for each in found.values())


def test_of_a_very_large_directory_a_part_is_listed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named is found all the same."""
    monkeypatch.setattr("hermesd.skills.places.MAX_ENTRIES", 3)
    for number in range(5):
        write(home / "skills", f"s{number}", "Do it.")
    assert len(all_skills(Profile("default", home))) == 3
    assert all(find_skill(f"s{number}", Profile("default", home)) for number in range(5))


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda data: b"---\n" + data + b"\n---\nDo it.")))
def test_whatever_the_bytes_there_is_a_text_or_a_reason(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Nothing but ConfigError is raised."""
    path = tmp_path_factory.mktemp("skill") / "SKILL.md"
    path.write_bytes(data)
    try:
        found = texts.read_skill(path)
    except ConfigError:
        return
    assert found.body
    assert len(found.description) <= texts.MAX_DESCRIPTION
