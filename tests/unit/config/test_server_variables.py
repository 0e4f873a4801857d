"""Which variable of .env takes a secret of a server, and what stays in config.yaml."""

from __future__ import annotations

import pytest

from hermesd.config.server_variables import Keeper, references, variable_name

CLIENT_SECRET = "MCP_SERVERS_NOTES_OAUTH_CLIENT_SECRET"


@pytest.mark.parametrize(
    ("key", "value", "written", "kept"),
    [
        ("env", {"KEY": "a", "OTHER": "${X}"}, {"KEY": "${KEY}", "OTHER": "${X}"}, {"KEY": "a"}),
        ("env.lower", "a", "${LOWER}", {"LOWER": "a"}),
        ("headers", {"X-Api-Key": "a"}, {"X-Api-Key": "${NOTES_X_API_KEY}"}, {"NOTES_X_API_KEY": "a"}),
        ("headers.Authorization", "Bearer ${T}", "Bearer ${T}", {}),
        ("url", "https://h/mcp?key=a", "${NOTES_URL}", {"NOTES_URL": "https://h/mcp?key=a"}),
        ("url", "https://h/mcp", "https://h/mcp", {}),
        ("args", ["-v", "--api-key=a"], ["-v", "--api-key=${NOTES_API_KEY}"], {"NOTES_API_KEY": "a"}),
        ("args", ["--token", "a", "x"], ["--token", "${NOTES_TOKEN}", "x"], {"NOTES_TOKEN": "a"}),
        ("args", ["-e", "GH_TOKEN=a"], ["-e", "GH_TOKEN=${GH_TOKEN}"], {"GH_TOKEN": "a"}),
        ("args", ["pg://u:hunter2@h/db"], ["${NOTES_ARG}"], {"NOTES_ARG": "pg://u:hunter2@h/db"}),
        ("args", ["--token-file", "/run/t"], ["--token-file", "/run/t"], {}),
        ("args", ["--password", "--verbose"], ["--password", "--verbose"], {}),
        ("command", "secret-service", "secret-service", {}),
        ("timeout", 5.0, 5.0, {}),
        ("oauth.client_secret", "a", f"${{{CLIENT_SECRET}}}", {CLIENT_SECRET: "a"}),
        ("oauth", {"client_secret": "a", "scope": "b"}, {"client_secret": f"${{{CLIENT_SECRET}}}", "scope": "b"}, None),
    ],
)
def test_a_secret_is_replaced_by_a_reference(
    key: str, value: object, written: object, kept: dict[str, str] | None
) -> None:
    """And nothing else is touched."""
    keeper = Keeper("notes", {})
    assert keeper.without_secrets(key, value, None) == written
    assert keeper.kept == kept or kept is None
    assert set(keeper.kept) <= set(references(written))


def test_a_variable_that_something_else_uses_keeps_its_value() -> None:
    """Another name is taken, however many are taken already."""
    keeper = Keeper("notes", {"KEY": "1", "NOTES_KEY": "2", "NOTES_KEY_2": "3"}, ["KEY", "NOTES_KEY", "NOTES_KEY_2"])
    assert keeper.without_secrets("env.KEY", "4", None) == "${NOTES_KEY_3}"
    assert keeper.without_secrets("env.KEY2", "5", None) == "${KEY2}"
    assert keeper.kept == {"NOTES_KEY_3": "4", "KEY2": "5"}


def test_a_new_value_of_a_setting_takes_the_place_of_the_old_one() -> None:
    """Unless its variable is used elsewhere too, or is one that hermesd may read for itself."""
    known = {"NOTES_X": "old", "NOTES_Y": "old", "OPENAI_API_KEY": "old"}
    keeper = Keeper("notes", known, ["NOTES_X", "NOTES_Y", "NOTES_Y", "OPENAI_API_KEY"])
    assert keeper.without_secrets("headers.X", "new", "${NOTES_X}") == "${NOTES_X}"
    assert keeper.without_secrets("headers.Y", "new", "${NOTES_Y}") == "${NOTES_Y_2}"
    assert keeper.without_secrets("env.K", "new", "${OPENAI_API_KEY}") == "${K}"
    assert keeper.kept == {"NOTES_X": "new", "NOTES_Y_2": "new", "K": "new"}


@pytest.mark.parametrize(("text", "name"), [("x-api.key", "X_API_KEY"), ("2fa", "MCP_2FA"), ("ä", "MCP_")])
def test_a_variables_name_is_one(text: str, name: str) -> None:
    """Whatever the words are that it is made of."""
    assert variable_name(text) == name
