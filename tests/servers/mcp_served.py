"""hermesd with what the conformance suite's server scenarios ask for: tools, resources and prompts named ``test_…``.

They are registered as the product's own are, and everything else is the product's. The suite knows no tokens, so one
is put into its requests before they meet the guard.

Run: HERMES_HOME=DIR python -m tests.servers.mcp_served --ready-fd N
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
from typing import TYPE_CHECKING, Any

import trio

from hermesd.errors import HermesError
from hermesd.serving import catalog, endpoint
from hermesd.serving.guard import Guard
from hermesd.serving.registry import Prompt, Registry, Resource, Template, Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.serving.backend import Call, Json
    from hermesd.serving.guard import Receive, Scope, Send

TOKEN = "a-token-of-the-conformance-suite"
CONFIG = f"mcp_serve: {{enabled: true, port: 0, token: {TOKEN}}}\n"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = base64.b64encode(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0\x80>\0\0\2\0\x10\0data\0\0\0\0").decode()
EMPTY: dict[str, object] = {"type": "object", "properties": {}}
KEY = secrets.token_bytes(32)


class TokenGiven(Guard):
    """The guard as it is, for a client that has the token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*scope["headers"], (b"authorization", f"Bearer {TOKEN}".encode())]
        await super().__call__({**scope, "headers": headers}, receive, send)


# -- content ---------------------------------------------------------------------------------------------------------


def said(*blocks: object) -> Any:
    import mcp_types as types

    return types.CallToolResult(
        content=[types.TextContent(text=block) if isinstance(block, str) else block for block in blocks]
    )


def image() -> Any:
    import mcp_types as types

    return types.ImageContent(data=PNG, mime_type="image/png")


def audio() -> Any:
    import mcp_types as types

    return types.AudioContent(data=WAV, mime_type="audio/wav")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> Any:
    import mcp_types as types

    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=text))


async def simple_text(_call: Call, _arguments: Json) -> Any:
    return said("This is a simple text response for testing.")


async def image_content(_call: Call, _arguments: Json) -> Any:
    return said(image())


async def audio_content(_call: Call, _arguments: Json) -> Any:
    return said(audio())


async def embedded_resource(_call: Call, _arguments: Json) -> Any:
    return said(embedded("test://embedded-resource", "This is an embedded resource content."))


async def multiple_content_types(_call: Call, _arguments: Json) -> Any:
    data = embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return said("Multiple content types test:", image(), data)


async def error_handling(_call: Call, _arguments: Json) -> Any:
    raise HermesError("This tool intentionally returns an error for testing")


# -- while it runs -----------------------------------------------------------------------------------------------------


async def with_logging(call: Call, _arguments: Json) -> Any:
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await log(call, text)
        await trio.sleep(0.05)
    return said("Tool with logging executed")


async def logging_tool(call: Call, _arguments: Json) -> Any:
    await log(call, "Diagnostic")
    return said("Logging evaluated")


async def log(call: Call, text: str) -> None:
    """One log message, at level info; the SDK holds it back where the client has not asked for any."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logging is deprecated as of 2026-07-28, and still to be tested
        await call.request.session.send_log_message("info", text, related_request_id=call.request.request_id)


async def with_progress(call: Call, _arguments: Json) -> Any:
    for percent in (0.0, 50.0, 100.0):
        await call.request.session.report_progress(percent, 100.0)
        await trio.sleep(0.05)
    return said("Tool with progress executed")


async def reconnection(call: Call, _arguments: Json) -> Any:
    if call.request.close_sse_stream is not None:
        await call.request.close_sse_stream()
    await trio.sleep(0.1)
    return said("Reconnection test completed")


async def sampling(call: Call, arguments: Json) -> Any:
    import warnings

    import mcp_types as types

    message = types.SamplingMessage(role="user", content=types.TextContent(text=arguments["prompt"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sampling by push is deprecated as of 2026-07-28, and still to be tested
        answer = await call.request.session.create_message(
            [message], max_tokens=100, related_request_id=call.request.request_id
        )
    return said(f"LLM response: {getattr(answer.content, 'text', '')}")


def eliciting(message: str, properties: dict[str, object], required: tuple[str, ...] = ()) -> Any:
    """A handler that asks the user for these properties."""

    async def ask(call: Call, arguments: Json) -> Any:
        schema = {"type": "object", "properties": properties, "required": list(required)}
        answer = await call.request.session.elicit_form(
            str(arguments.get("message", message)), schema, related_request_id=call.request.request_id
        )
        return said(f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}")

    return ask


USER: dict[str, object] = {
    "username": {"type": "string", "description": "User's response"},
    "email": {"type": "string", "description": "User's email address"},
}
DEFAULTS: dict[str, object] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
_TITLED = [{"const": f"value{number}", "title": f"Choice {number}"} for number in (1, 2, 3)]
_PLAIN = ["option1", "option2", "option3"]
ENUMS: dict[str, object] = {
    "untitledSingle": {"type": "string", "enum": _PLAIN},
    "titledSingle": {"type": "string", "oneOf": _TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _PLAIN}},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}


# -- questions in a result (2026-07-28) --------------------------------------------------------------------------------


def question(message: str, name: str, kind: str = "string") -> Any:
    import mcp_types as types

    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str, max_tokens: int = 100) -> Any:
    import mcp_types as types

    message = types.SamplingMessage(role="user", content=types.TextContent(text=text))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def roots() -> Any:
    import mcp_types as types

    return types.ListRootsRequest()


def required(requests: dict[str, Any], state: str | None = None) -> Any:
    import mcp_types as types

    return types.InputRequiredResult(input_requests=requests, request_state=state)


def answers(call: Call) -> dict[str, Any]:
    return dict(getattr(call.params, "input_responses", None) or {})


def asking(requests: Callable[[], dict[str, Any]], *, state: str = "", done: str = "done") -> Any:
    """A handler that is complete once every one of its questions is answered."""

    async def ask(call: Call, _arguments: Json) -> Any:
        wanted = requests()
        if wanted.keys() - answers(call).keys():
            return required(wanted, seal(state) if state else None)
        if state:
            unseal(call)
        return said(f"{done} {answers(call).keys() & wanted.keys()}")

    return ask


def seal(state: str) -> str:
    return f"{state}.{hmac.new(KEY, state.encode(), hashlib.sha256).hexdigest()}"


def unseal(call: Call) -> str:
    """What was sealed; a state that is not ours is an error of the protocol (server/utilities, request state)."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import INVALID_PARAMS

    given = str(getattr(call.params, "request_state", None) or "")
    state = given.rpartition(".")[0]
    if not hmac.compare_digest(seal(state).encode(), given.encode()):
        raise MCPError(INVALID_PARAMS, "the request state is not one of ours")
    return state


async def multi_round(call: Call, _arguments: Json) -> Any:
    given = answers(call)
    if "step2" in given and unseal(call) == "round-2":
        return said("All steps are done")
    if "step1" in given and unseal(call) == "round-1":
        return required({"step2": question("Step 2: What is your favorite color?", "color")}, seal("round-2"))
    return required({"step1": question("Step 1: What is your name?", "name")}, seal("round-1"))


async def capabilities(call: Call, _arguments: Json) -> Any:
    can = call.request.session.client_capabilities
    requests: dict[str, Any] = {}
    if can and can.sampling is not None:
        requests["capital_question"] = sample("What is the capital of France?")
    if can and can.elicitation is not None:
        requests["user_name"] = question("What is your name?", "name")
    if not requests or requests.keys() <= answers(call).keys():
        return said("Nothing more to ask")
    return required(requests)


async def missing_capability(call: Call, _arguments: Json) -> Any:
    from mcp.shared.exceptions import MCPError
    from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY

    can = call.request.session.client_capabilities
    if can is None or can.sampling is None:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "the client does not offer sampling",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return said("Sampling is there")


# -- prompts and resources ---------------------------------------------------------------------------------------------


def prompted(*blocks: object) -> Any:
    import mcp_types as types

    content = [types.TextContent(text=block) if isinstance(block, str) else block for block in blocks]
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=block) for block in content])


async def simple_prompt(_call: Call, _arguments: dict[str, str]) -> Any:
    return prompted("This is a simple prompt for testing.")


async def prompt_with_arguments(_call: Call, arguments: dict[str, str]) -> Any:
    return prompted(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'")


async def prompt_with_resource(_call: Call, arguments: dict[str, str]) -> Any:
    resource = embedded(arguments["resourceUri"], "Embedded resource content for testing.")
    return prompted(resource, "Please process the embedded resource above.")


async def prompt_with_image(_call: Call, _arguments: dict[str, str]) -> Any:
    return prompted(image(), "Please analyze the image above.")


async def prompt_with_question(call: Call, _arguments: dict[str, str]) -> Any:
    if "user_context" not in answers(call):
        return required({"user_context": question("What context should the prompt use?", "context")})
    return prompted("A prompt in the context that was given.")


async def static_text(_call: Call) -> Any:
    import mcp_types as types

    text = "This is the content of the static text resource."
    found = types.TextResourceContents(uri="test://static-text", mime_type="text/plain", text=text)
    return types.ReadResourceResult(contents=[found])


async def static_binary(_call: Call) -> Any:
    import mcp_types as types

    found = types.BlobResourceContents(uri="test://static-binary", mime_type="image/png", blob=PNG)
    return types.ReadResourceResult(contents=[found])


async def watched(_call: Call) -> Json:
    return {"watched": True}


async def templated(_call: Call, variables: dict[str, str]) -> Json:
    return {"id": variables["id"], "templateTest": True, "data": f"Data for ID: {variables['id']}"}


# -- methods of the protocol that the product does not have ------------------------------------------------------------


async def complete(_context: Any, _params: Any) -> Any:
    import mcp_types as types

    return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))


async def nothing(_context: Any, _params: Any) -> Any:
    import mcp_types as types

    return types.EmptyResult()


def add_methods(registry: Registry) -> None:
    import mcp_types as types
    from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged

    bus = InMemorySubscriptionBus()
    registry.handlers.update(
        {
            "completion/complete": (types.CompleteRequestParams, complete),
            "logging/setLevel": (types.SetLevelRequestParams, nothing),
            "resources/subscribe": (types.SubscribeRequestParams, nothing),
            "resources/unsubscribe": (types.UnsubscribeRequestParams, nothing),
            "subscriptions/listen": (types.SubscriptionsListenRequestParams, ListenHandler(bus)),
        }
    )

    def publishing(event: Any) -> Callable[[Call, Json], Awaitable[Any]]:
        async def publish(_call: Call, _arguments: Json) -> Any:
            await bus.publish(event)
            return said("Mutation triggered")

        return publish

    add(registry, "test_trigger_tool_change", publishing(ToolsListChanged()))
    add(registry, "test_trigger_prompt_change", publishing(PromptsListChanged()))


# -- all of it ---------------------------------------------------------------------------------------------------------

JSON_SCHEMA: dict[str, object] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

HEADED: dict[str, object] = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}

TOOLS: dict[str, Callable[[Call, Json], Awaitable[Any]]] = {
    "test_simple_text": simple_text,
    "test_image_content": image_content,
    "test_audio_content": audio_content,
    "test_embedded_resource": embedded_resource,
    "test_multiple_content_types": multiple_content_types,
    "test_error_handling": error_handling,
    "test_tool_with_logging": with_logging,
    "test_logging_tool": logging_tool,
    "test_tool_with_progress": with_progress,
    "test_streaming_elicitation": with_progress,
    "test_reconnection": reconnection,
    "test_elicitation_sep1034_defaults": eliciting("Your details?", DEFAULTS),
    "test_elicitation_sep1330_enums": eliciting("Your choices?", ENUMS),
    "test_missing_capability": missing_capability,
    "test_input_required_result_elicitation": asking(lambda: {"user_name": question("What is your name?", "name")}),
    "test_input_required_result_sampling": asking(
        lambda: {"capital_question": sample("What is the capital of France?")}
    ),
    "test_input_required_result_list_roots": asking(lambda: {"client_roots": roots()}),
    "test_input_required_result_request_state": asking(
        lambda: {"confirm": question("Please confirm", "ok", "boolean")}, state="waiting", done="state-ok"
    ),
    "test_input_required_result_tampered_state": asking(
        lambda: {"confirm": question("Please confirm", "ok", "boolean")}, state="waiting"
    ),
    "test_input_required_result_multiple_inputs": asking(
        lambda: {
            "user_name": question("What is your name?", "name"),
            "greeting": sample("Generate a greeting", 50),
            "client_roots": roots(),
        },
        state="waiting",
    ),
    "test_input_required_result_multi_round": multi_round,
    "test_input_required_result_capabilities": capabilities,
}


def add(registry: Registry, name: str, handler: Any, schema: dict[str, object] = EMPTY) -> None:
    registry.add_tool(Tool(name, "", f"For the conformance suite: {name}", schema, handler))


def text_argument(name: str) -> dict[str, object]:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


def register(registry: Registry) -> None:
    """Everything the suite's server scenarios name."""
    for name, handler in TOOLS.items():
        add(registry, name, handler)
    add(registry, "test_sampling", sampling, text_argument("prompt"))
    add(registry, "test_elicitation", eliciting("?", USER, ("username", "email")), text_argument("message"))
    add(registry, "test_custom_header", simple_text, HEADED)
    add(registry, "json_schema_2020_12_tool", simple_text, JSON_SCHEMA)
    add_methods(registry)
    for resource in (
        Resource("test://static-text", "static-text", "A static text", static_text, "text/plain"),
        Resource("test://static-binary", "static-binary", "A static image", static_binary, "image/png"),
        Resource("test://watched-resource", "watched-resource", "A resource to watch", watched),
    ):
        registry.add_resource(resource)
    registry.templates.append(Template("test://template/{id}/data", "template", "Data by id", templated))
    for prompt in (
        Prompt("test_simple_prompt", "A simple prompt", simple_prompt),
        Prompt("test_prompt_with_arguments", "With arguments", prompt_with_arguments, {"arg1": "One", "arg2": "Two"}),
        Prompt("test_prompt_with_embedded_resource", "With a resource", prompt_with_resource, {"resourceUri": "Which"}),
        Prompt("test_prompt_with_image", "With an image", prompt_with_image),
        Prompt("test_input_required_result_prompt", "With a question", prompt_with_question),
    ):
        registry.add_prompt(prompt)


def main() -> int:
    """hermesd, with the above."""
    from hermesd.__main__ import main as hermesd

    catalog.PARTS.append(register)
    endpoint.Guard = TokenGiven  # in this process only
    return hermesd()


if __name__ == "__main__":
    sys.exit(main())
