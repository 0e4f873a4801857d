"""Questions of a server as a person sees them, and what the server gets for the answers."""

from __future__ import annotations

from typing import Any

import pytest
from mcp_types import ElicitRequestFormParams, ElicitRequestURLParams, ElicitResult, ErrorData

from hermesd.mcp.asking import CallsUnderWay, on_behalf_of
from hermesd.mcp.elicitation import Elicitation
from tests.unit.mcp.conftest import MakeContext, Person

FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "minLength": 2},
        "age": {"type": "integer", "minimum": 0},
        "size": {"type": "string", "enum": ["s", "m"], "enumNames": ["Small", "Medium"], "default": "m"},
    },
    "required": ["name"],
}


class Asked:
    """An elicitation with the events it kept."""

    def __init__(self, scope_of: MakeContext) -> None:
        self.calls = CallsUnderWay()
        self.events: list[tuple[str, dict[str, object]]] = []
        self._scope_of = scope_of

    async def _record(self, kind: str, data: dict[str, object]) -> None:
        self.events.append((kind, data))

    async def __call__(self, person: Person, params: ElicitRequestFormParams | ElicitRequestURLParams) -> Any:
        with on_behalf_of(self._scope_of(person)), self.calls.enter():
            return await Elicitation("shop", self.calls, self._record)(None, params)

    async def form(self, person: Person, schema: dict[str, Any] = FORM, message: str = "Who are you?") -> Any:
        return await self(person, ElicitRequestFormParams(message=message, requested_schema=schema))

    async def url(self, person: Person, url: str) -> Any:
        return await self(person, ElicitRequestURLParams(message="Pay.", url=url, elicitation_id="1"))


@pytest.fixture
def asked(scope_of: MakeContext) -> Asked:
    return Asked(scope_of)


async def test_a_form_is_asked_field_by_field(asked: Asked) -> None:
    """The server is named, its words are marked, and each question says what may be answered."""
    person = Person(["Ada", "36", "Small"])
    found = await asked.form(person, message="Who are you?\nYour assistant needs your password.")
    assert found == ElicitResult(action="accept", content={"name": "Ada", "age": 36, "size": "s"})
    assert person.asked[0].splitlines()[:4] == [
        "The MCP server shop (not your assistant) asks:",
        "> Who are you?",
        "> Your assistant needs your password.",
        "> Name",
    ]
    assert all("Never give passwords" in question for question in person.asked)
    assert "1 of 3. Answer with text of at least 2 characters. `decline` refuses" in person.asked[0]
    assert person.options == [[], [], ["Small", "Medium", "skip", "decline"]]
    assert asked.events == [("mcp.elicitation", {"server": "shop", "mode": "form", "action": "accept"})]


async def test_a_wrong_answer_is_asked_again_twice_at_most(asked: Asked) -> None:
    """With what was wrong; after three of them the form is cancelled."""
    person = Person(["A", "Ada", "skip", "default"])
    found = await asked.form(person)
    assert found.content == {"name": "Ada", "size": "m"}
    assert person.asked[1].startswith("That does not fit: it must be text of at least 2 characters, and this has 1.")
    stubborn = Person(["A", "B", "C", "Ada"])
    assert await asked.form(stubborn) == ElicitResult(action="cancel")
    assert len(stubborn.asked) == 3


@pytest.mark.parametrize(("answer", "action"), [("decline", "decline"), ("/cancel", "cancel"), (None, "cancel")])
async def test_a_form_can_be_refused_and_broken_off_at_any_field(asked: Asked, answer: str | None, action: str) -> None:
    """What was answered before is not sent either; silence breaks it off too."""
    person = Person(["Ada", answer, "5"])
    found = await asked.form(person)
    assert found == ElicitResult.model_validate({"action": action})
    assert len(person.asked) == 2


async def test_a_form_without_fields_is_a_confirmation(asked: Asked) -> None:
    """Accept or decline."""
    person = Person(["what?", "accept"])
    assert await asked.form(person, {"type": "object", "properties": {}}) == ElicitResult(action="accept", content={})
    assert person.options == [["accept", "decline"]] * 2


async def test_nobody_there_is_cancel_at_once(asked: Asked) -> None:
    """Outside a call nobody is asked; the event says so."""
    params = ElicitRequestFormParams(message="Who?", requested_schema=FORM)
    found = await Elicitation("shop", asked.calls, asked._record)(None, params)
    assert found == ElicitResult(action="cancel")
    assert asked.events[-1][1]["action"] == "cancel"


async def test_an_address_is_shown_and_done_or_declined(asked: Asked) -> None:
    """With its host; accept has no content, and nothing is opened."""
    person = Person(["done"])
    assert await asked.url(person, "https://pay.example/cart?id=7") == ElicitResult(action="accept")
    assert "an address of pay.example:\nhttps://pay.example/cart?id=7\n" in person.asked[0]
    assert "Nothing has been opened for you." in person.asked[0]
    assert person.options == [["done", "decline"]]
    assert await asked.url(Person(["decline"]), "https://pay.example/") == ElicitResult(action="decline")
    assert await asked.url(Person(), "https://pay.example/") == ElicitResult(action="cancel")


async def test_a_name_in_foreign_letters_is_pointed_out(asked: Asked) -> None:
    """A Cyrillic а looks like the Latin one; the host is shown as the network has it."""
    person = Person(["decline"])
    await asked.url(person, "https://ex\u0430mple.com/")
    assert "xn--" in person.asked[0]
    assert "foreign letters" in person.asked[0]


@pytest.mark.parametrize("host", ["[::1]:8080", "127.0.0.1", "a_b.example.org", "EXAMPLE.org:443"])
async def test_an_address_of_any_plain_host_is_shown(asked: Asked, host: str) -> None:
    """A name with a port, or a number."""
    person = Person(["done"])
    await asked.url(person, f"https://{host}/x")
    assert f"https://{host}/x" in person.asked[0]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://bank.example@evil.example/",
        "https://evil.example/\u202egro.knab",
        "https:///nohost",
        "https://evil.example\\.bank.example/",
        "https://evil.example%2f.bank.example/",
        "https://[fe80::1%25.bank.example]/",
        "https://e.example/" + "x" * 3000,
        "http://[::1",
    ],
)
async def test_an_address_that_could_deceive_is_refused(asked: Asked, url: str) -> None:
    """Nobody is asked; the server is told why."""
    person = Person(["done"])
    found = await asked.url(person, url)
    assert isinstance(found, ErrorData)
    assert person.asked == []


async def test_a_schema_that_is_none_is_refused(asked: Asked) -> None:
    """-32602, as for any parameters that make no sense."""
    found = await asked.form(Person(["x"]), {"type": "object", "properties": {"a": {"type": "object"}}})
    assert isinstance(found, ErrorData)
    assert found.code == -32602
