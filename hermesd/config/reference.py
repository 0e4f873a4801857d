"""What every key is for, in a sentence: for docs/configuration.md and `hermesctl config schema`.

Kept apart from the schema so that the daemon does not load it. A test compares the two.
"""

from __future__ import annotations

from typing import Any

_MODEL = {
    "default": "Name of the model as its provider knows it; `offline` needs no network and no key.",
    "provider": "`auto` decides by base_url, name and keys; else offline, openai, anthropic, openrouter and others.",
    "base_url": "Root of the API; for any OpenAI-compatible server.",
    "api_key": "Key; better in .env, where the provider's usual variable is found without this.",
    "max_output_tokens": "Longest answer in tokens; 0 leaves it to the provider.",
    "reasoning_effort": "How much the model thinks, in the provider's words; empty leaves it to the provider.",
    "connect_timeout_s": "Seconds until a connection must stand.",
    "read_timeout_s": "Seconds that an answer may be silent.",
    "max_attempts": "Tries of one request, the first included.",
}

_MCP_SERVER = {
    "command": "Program to run; it speaks MCP over its standard input and output.",
    "args": "Its arguments. No secrets here: other users of the machine can read them.",
    "env": "Variables it gets besides PATH, HOME and the like; `${NAME}` takes a value from .env.",
    "cwd": "Directory it starts in; empty means the profile's workspace.",
    "url": "Address of a server that is reached by HTTP.",
    "headers": "Headers of every request; `${NAME}` takes a value from .env.",
    "transport": "Streamable HTTP by any of its names, or the older `sse`.",
    "ssl_verify": "Whether certificates are checked, or the file of the authorities to trust.",
    "allow_private": "Whether a name, a redirect or the sign-in may lead to private and loopback addresses.",
    "client_cert": "File of our certificate, for servers that ask for one.",
    "client_key": "File of its private key, when it is not in the same file.",
    "enabled": "Whether it runs.",
    "trusted": "Whether its own hints about what its calls do are believed; without it every call is `unsafe`.",
    "lifecycle": "Start it with the profile, or when it is first called.",
    "era": "Generation of the protocol: found out, with a handshake (to 2025-11-25), or without (from 2026-07-28).",
    "timeout": "Seconds that a call may take.",
    "connect_timeout": "Seconds until it must be ready, and that a call waits for one that is coming back.",
    "keepalive_interval": "Seconds between signs of life on an idle HTTP session.",
    "idle_timeout_seconds": "Seconds without a call after which it is stopped until the next; 0 keeps it running.",
    "max_concurrent_calls": "Calls that it is given at the same time.",
    "max_message_bytes": "Longest message taken from it; a longer one restarts it.",
    "auth": "How it knows us: not at all, by `headers`, or by signing in.",
    "oauth.grant": "How a token is got: a person signs in, or by our credentials alone.",
    "oauth.issuer": "The authorization server that gets our credentials where no person signs in; empty: the first.",
    "oauth.private_key_file": "PEM key (RSA, Ed25519, P-256) that signs instead of a secret, for client_credentials.",
    "oauth.assertion_file": "File with this machine's own token, for jwt_bearer; read at each use.",
    "oauth.id_token_file": "File with a person's ID token from the company's identity provider, for id_jag.",
    "oauth.idp_issuer": "That identity provider, which alone gets the ID token.",
    "oauth.idp_client_id": "Our registration at the identity provider; empty: oauth.client_id.",
    "oauth.idp_client_secret": "Secret of that registration; better in .env.",
    "oauth.dpop": "Whether tokens are bound to a key of ours (RFC 9449); auto: where the server asks for it.",
    "oauth.client_id": "Our registration there; empty means to register by ourselves.",
    "oauth.client_secret": "Secret of the registration; better in .env.",
    "oauth.scope": "What to ask for; empty leaves it to the server.",
    "oauth.redirect_port": "Port on which the answer of the browser is awaited; 0 takes any free one.",
    "oauth.redirect_uri": "Address that stands for that port (behind a proxy), or says port and path on this machine.",
    "oauth.client_name": "Name under which we register.",
    "oauth.timeout": "Seconds a person has for signing in.",
    "oauth.allow_private": "Whether the sign-in may lead to private addresses.",
    "sampling.enabled": "Whether it may ask our model, at our cost.",
    "sampling.ask": "Whether the user whose call is under way allows it first: once a session, each time, or never.",
    "sampling.model": "Model that answers it; empty means the profile's.",
    "sampling.max_tokens_cap": "Longest answer it gets, in tokens.",
    "sampling.timeout": "Seconds that such a request may take.",
    "sampling.max_rpm": "Such requests a minute.",
    "sampling.allowed_models": "Models it may choose from, and no others answer it; none listed means only ours.",
    "sampling.max_tool_rounds": "Rounds of calls of the server's own tools in one exchange; 0 offers none.",
    "elicitation.enabled": "Whether it may put questions to the user.",
    "tools.include": "Its tools that the model gets, by their own names; none listed means all.",
    "tools.exclude": "Its tools that the model does not get; without effect beside `include`.",
    "tools.resources": "Whether its resources can be listed and read by tools.",
    "tools.prompts": "Whether its prompts can be listed and read by tools.",
}

DESCRIPTIONS: dict[str, str] = {
    **{f"model.{name}": text for name, text in _MODEL.items()},
    "isolation": "`process`: a daemon of its own under s6 (docs/s6.md); means nothing for `default`.",
    "timezone": "Time zone (IANA) of schedules; empty means this machine's. HERMES_TIMEZONE in .env.",
    **{f"fallback_providers[].{name}": f"As `model.{name}`." for name in _MODEL},
    "agent.max_turns": "Model requests within one turn before it is ended.",
    "agent.token_budget": "Tokens, in and out of all its requests, after which a turn asks no more; 0: no bound.",
    "agent.max_concurrent_turns": "Sessions of this profile that are answered at the same time.",
    "agent.turn_timeout_s": "Seconds that one turn may take.",
    "agent.busy": "What a new message does to its session's running turn: wait behind it, or interrupt it.",
    "agent.system_prompt": "Instructions before SOUL.md's.",
    "agent.history_messages": "Messages of a session that the model is shown.",
    "toolsets": "Which tools the agent has.",
    "terminal.backend": "Where commands run.",
    "terminal.cwd": "Directory that commands and file tools start in; empty means the profile's workspace.",
    "terminal.timeout": "Seconds that a command may take.",
    "terminal.env_passthrough": "Variables of the daemon's own environment that commands may see.",
    "policy.read_only": "Decision about calls that only look.",
    "policy.idempotent": "Decision about calls that may safely happen twice.",
    "policy.unsafe": "Decision about calls that must not happen twice.",
    "policy.unattended": "Decision in place of `ask` where nobody can be asked.",
    "policy.tools": "Decisions by tool's name, before those above.",
    "policy.ask_timeout_s": "Seconds that a question waits for an answer.",
    "platforms.telegram.enabled": "Whether the bot runs.",
    "platforms.telegram.token": "The bot's token; TELEGRAM_BOT_TOKEN in .env.",
    "platforms.telegram.home_channel": "Chat (`chat` or `chat:thread`) that `deliver: telegram` means; "
    ""
    "TELEGRAM_HOME_CHANNEL (and _THREAD_ID) in .env. Also a mapping of chat_id and thread_id.",
    "platforms.telegram.base_url": "Root of the Bot API, for a server of your own.",
    "platforms.telegram.allowed_users": "Ids or @names that are answered; TELEGRAM_ALLOWED_USERS in .env.",
    "platforms.telegram.allowed_chats": "Groups in which everybody is answered; TELEGRAM_ALLOWED_CHATS in .env.",
    "platforms.telegram.stream": "Whether an answer is shown while it is being written.",
    "platforms.telegram.poll_timeout_s": "Seconds that a poll for messages waits.",
    "platforms.slack.enabled": "Whether anything is sent there.",
    "platforms.slack.token": "The bot's token; SLACK_BOT_TOKEN in .env.",
    "platforms.slack.home_channel": "Channel that `deliver: slack` means; SLACK_HOME_CHANNEL in .env.",
    "platforms.slack.base_url": "Root of the Web API.",
    "platforms.discord.enabled": "Whether anything is sent there.",
    "platforms.discord.token": "The bot's token; DISCORD_BOT_TOKEN in .env.",
    "platforms.discord.home_channel": "Channel that `deliver: discord` means; DISCORD_HOME_CHANNEL in .env.",
    "platforms.discord.base_url": "Root of the REST API.",
    "platforms.sms.enabled": "Whether anything is sent.",
    "platforms.sms.account_sid": "Twilio account; TWILIO_ACCOUNT_SID in .env.",
    "platforms.sms.auth_token": "Its token; TWILIO_AUTH_TOKEN in .env.",
    "platforms.sms.sender": "Number that messages come from; TWILIO_PHONE_NUMBER in .env.",
    "platforms.sms.home_channel": "Number that `deliver: sms` means; SMS_HOME_CHANNEL in .env.",
    "platforms.sms.base_url": "Root of the API.",
    "platforms.github.token": "Token that may comment on issues and pull requests; GITHUB_TOKEN in .env.",
    "platforms.github.base_url": "Root of the REST API, for a server of your own.",
    "platforms.smtp.host": "SMTP server that takes mails to `email:a@b`.",
    "platforms.smtp.port": "Its port.",
    "platforms.smtp.user": "User to log in as; empty: no login.",
    "platforms.smtp.password": "Password; EMAIL_PASSWORD in .env.",
    "platforms.smtp.sender": "Address that mails come from.",
    "platforms.smtp.starttls": "Whether the connection is encrypted by STARTTLS, with the server's name verified.",
    "platforms.webhook.enabled": "Whether events are taken; WEBHOOK_ENABLED in .env.",
    "platforms.webhook.host": "Address to listen on. Anything but loopback needs a secret for every route.",
    "platforms.webhook.port": "Port; 0 takes any free one. WEBHOOK_PORT in .env.",
    "platforms.webhook.deliver_private": "Whether `webhook:URL` may be http, or lead to loopback or private addresses.",
    "platforms.webhook.secret": "Secret of routes that have none of their own; WEBHOOK_SECRET in .env.",
    "platforms.webhook.routes.<name>.scheme": "How its sender signs; `auto` goes by what is present.",
    "platforms.webhook.routes.<name>.header": "Header of the signature, for the scheme `hmac`.",
    "platforms.webhook.routes.<name>.algorithm": "Of the signature, for the scheme `hmac`.",
    "platforms.webhook.routes.<name>.deliver_only": "Send the rendered text itself, without a turn.",
    "platforms.webhook.routes.<name>.skills": "Skills whose texts the agent is given.",
    "platforms.webhook.routes.<name>.model": "Another model than the profile's.",
    "platforms.webhook.routes.<name>.provider": "Another provider than the profile's.",
    "platforms.webhook.routes.<name>.toolsets": "Other toolsets than the profile's.",
    "platforms.webhook.routes.<name>.secret": "What the sender signs with.",
    "platforms.webhook.routes.<name>.prompt": "Template over the payload: `{a.b}`, `{__raw__}`, `{event_type}`.",
    "platforms.webhook.routes.<name>.events": "Types of event that are taken; none listed means all.",
    "platforms.webhook.routes.<name>.filters": "Conditions over the payload that must all hold; see webhooks.md.",
    "platforms.webhook.routes.<name>.deliver_extra": "What targets lack: chat_id, thread_id, repo, pr_number; "
    "`{a.b}` is filled from the payload.",
    "platforms.webhook.routes.<name>.enabled": "Whether it takes events.",
    "platforms.webhook.routes.<name>.description": "For people.",
    "platforms.webhook.routes.<name>.deliver": "Where the answer goes: a target of cron.md, or several "
    "with commas; `github_comment` alone takes issue and repository from the payload.",
    "platforms.webhook.routes.<name>.session": "One session for the whole route, or a new one for each delivery.",
    "platforms.webhook.max_body_bytes": "Largest body that is read.",
    "platforms.webhook.rate_per_minute": "Events a minute that a route takes.",
    **{f"mcp_servers.<name>.{name}": text for name, text in _MCP_SERVER.items()},
    "mcp_serve.enabled": "Whether other agents may use this daemon as an MCP server over HTTP.",
    "mcp_serve.host": "Address to listen on.",
    "mcp_serve.port": "Port; 0 takes any free one.",
    "mcp_serve.token": "Bearer token that they show, at least 16 characters; MCP_SERVE_TOKEN in .env.",
    "mcp_serve.allowed_hosts": "Names in Host besides the address itself, as a proxy passes them on.",
    "mcp_serve.max_body_bytes": "Largest request that is read.",
    "plugins.enabled": "Plugins that are loaded; nothing runs that is not named here. See plugins.md.",
    "plugins.disabled": "Plugins that are not loaded although `enabled` names them.",
    "plugins.timeout": "Seconds that a call of a plugin's tool may take, unless the tool says otherwise.",
    "plugins.load_timeout": "Seconds that a plugin has for being imported and for registering its tools.",
    "rpc.group": "System group whose members may use the socket.",
    "rpc.roles": "What they may do.",
    "rpc.audit": "Whether every change by a client is recorded.",
    "store.path": "State file; empty means state.db in the home.",
    "store.retain_days": "Days that dedupe keys, sent messages and events are kept.",
    "shutdown.drain_s": "Seconds that a planned stop waits for running turns.",
    "shutdown.stop_s": "Seconds that it then waits for everything else.",
}
"""Dotted key → sentence."""


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of config.yaml with descriptions and ranges."""
    import msgspec

    from hermesd.config.schema import Config

    schema: dict[str, Any] = msgspec.json.schema(Config)
    definitions = schema["$defs"]
    for key, text in DESCRIPTIONS.items():
        node = _property(definitions, key)
        if node is not None:
            node.setdefault("description", text)
    _add_ranges(definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hermesd config.yaml", **schema}


def _add_ranges(definitions: dict[str, Any]) -> None:
    from hermesd.config.validate import RANGES

    for key, (least, greatest) in RANGES.items():
        node = _property(definitions, key)
        if node is not None:
            node["exclusiveMinimum" if least == 0.001 else "minimum"] = 0 if least == 0.001 else least
            node["maximum"] = greatest


def _property(definitions: dict[str, Any], key: str) -> dict[str, Any] | None:
    """The schema of a dotted key, by way of ``$defs``."""
    name, node = "Config", None
    for part in key.split("."):
        if part == "<name>":
            continue
        node = definitions[name]["properties"].get(part.removesuffix("[]"))
        if node is None:
            return None
        below = node.get("items") or node.get("additionalProperties") or node
        reference = below.get("$ref") if isinstance(below, dict) else None
        for choice in node.get("anyOf", ()) if reference is None else ():
            reference = reference or choice.get("$ref")
        if reference:
            name = reference.rpartition("/")[2]
    return node
