"""config.yaml as types. Names and meaning are those of a hermes-agent home where it has them.

Durations are seconds, sizes bytes. Unknown keys are refused by ``config.load`` with the nearest name.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Base of every section."""


class ModelConfig(Section, frozen=True, kw_only=True):
    """Which model answers. ``provider``: offline, openai (any OpenAI-compatible endpoint), anthropic, auto."""

    default: str = "offline"
    provider: str = "auto"
    base_url: str = ""
    api_key: str = ""
    max_output_tokens: int = 0
    reasoning_effort: str = ""
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 120.0
    max_attempts: int = 4


class AgentConfig(Section, frozen=True, kw_only=True):
    """Bounds of a turn (``token_budget`` 0: none). ``busy``: what a new message does to a running turn."""

    max_turns: int = 90
    token_budget: int = 0
    max_concurrent_turns: int = 16
    turn_timeout_s: float = 3600.0
    busy: Literal["queue", "interrupt"] = "interrupt"
    system_prompt: str = ""
    history_messages: int = 200


class TerminalConfig(Section, frozen=True, kw_only=True):
    """Where commands run."""

    backend: Literal["local"] = "local"
    cwd: str = ""
    timeout: float = 180.0
    env_passthrough: list[str] = []


Decision = Literal["allow", "ask", "deny"]


class PolicyConfig(Section, frozen=True, kw_only=True):
    """Who decides about a tool call, by its effect class; ``tools`` overrides by tool name.

    ``unattended`` is the decision in place of ``ask`` where nobody can be asked (webhooks).
    """

    read_only: Decision = "allow"
    idempotent: Decision = "allow"
    unsafe: Decision = "ask"
    unattended: Decision = "deny"
    tools: dict[str, Decision] = {}
    ask_timeout_s: float = 600.0


class RpcConfig(Section, frozen=True, kw_only=True):
    """Who besides the owner may use the socket: members of ``group`` get ``roles``."""

    group: str = ""
    roles: list[Literal["read", "chat", "operate"]] = []
    audit: bool = True


WebhookScheme = Literal["auto", "standard", "slack", "stripe", "github", "gitlab", "v2", "plain", "hmac", "bearer"]


class WebhookRoute(Section, frozen=True, kw_only=True):
    """One route. ``prompt`` is a template over the payload; an empty one passes the payload as JSON.

    ``scheme`` is how its sender signs; ``auto`` goes by what is present. ``header`` and ``algorithm`` are those of
    ``hmac``. ``deliver_only`` sends the rendered text without a turn. ``filters`` are conditions that must hold
    (``triggers.filters``); ``deliver_extra`` completes targets, by templates over the payload too.
    """

    scheme: WebhookScheme = "auto"
    header: str = "X-Webhook-Signature"
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    deliver_only: bool = False
    skills: list[str] = []
    model: str = ""
    provider: str = ""
    toolsets: list[str] = []
    secret: str = ""
    prompt: str = ""
    events: list[str] = []
    filters: list[Any] = []  # Any: conditions within conditions
    enabled: bool = True
    description: str = ""
    deliver: str = "log"
    deliver_extra: dict[str, str] = {}
    session: Literal["route", "delivery"] = "delivery"


class WebhookConfig(Section, frozen=True, kw_only=True):
    """Signed HTTP events. ``max_body_bytes`` and ``rate_per_minute`` (a route) bound what is taken.

    ``deliver_private``: answers may also be posted to http, loopback and private addresses.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = 8644
    secret: str = ""
    routes: dict[str, WebhookRoute] = {}
    max_body_bytes: int = 1024 * 1024
    rate_per_minute: int = 30
    deliver_private: bool = False


class TelegramConfig(Section, frozen=True, kw_only=True):
    """A bot. ``token`` usually stands in .env as TELEGRAM_BOT_TOKEN. Nobody but ``allowed_users`` is answered.

    ``home_channel`` is the chat (``chat`` or ``chat:thread``) that ``deliver: telegram`` means.
    """

    enabled: bool = False
    token: str = ""
    home_channel: int | str = ""
    base_url: str = "https://api.telegram.org"
    allowed_users: list[int | str] = []
    allowed_chats: list[int | str] = []
    stream: bool = True
    poll_timeout_s: int = 50


class EmailConfig(Section, frozen=True, kw_only=True):
    """The SMTP server that takes what is delivered to ``email:a@b``; ``sender`` is the address it comes from."""

    host: str = ""
    port: int = 587
    user: str = ""
    password: str = ""
    sender: str = ""
    starttls: bool = True


class SlackConfig(Section, frozen=True, kw_only=True):
    """Where ``slack[:<channel>[:<thread>]]`` goes. ``token`` (xoxb-…) stands in .env as SLACK_BOT_TOKEN."""

    enabled: bool = True
    token: str = ""
    home_channel: str = ""
    base_url: str = "https://slack.com/api"


class DiscordConfig(Section, frozen=True, kw_only=True):
    """Where ``discord[:<channel>[:<thread>]]`` goes. ``token`` stands in .env as DISCORD_BOT_TOKEN."""

    enabled: bool = True
    token: str = ""
    home_channel: int | str = ""
    base_url: str = "https://discord.com/api/v10"


class SmsConfig(Section, frozen=True, kw_only=True):
    """The Twilio account that sends ``sms:+<number>``; ``sender`` is its number."""

    enabled: bool = True
    account_sid: str = ""
    auth_token: str = ""
    sender: str = ""
    home_channel: str = ""
    base_url: str = "https://api.twilio.com"


class GithubConfig(Section, frozen=True, kw_only=True):
    """Who comments on issues and pull requests. ``base_url`` is the root of the REST API, for a server of your own."""

    token: str = ""
    base_url: str = "https://api.github.com"


class PlatformsConfig(Section, frozen=True, kw_only=True):
    """Chat platforms by name; smtp, slack, discord and sms only send."""

    telegram: TelegramConfig = TelegramConfig()
    webhook: WebhookConfig = WebhookConfig()
    smtp: EmailConfig = EmailConfig()
    slack: SlackConfig = SlackConfig()
    discord: DiscordConfig = DiscordConfig()
    sms: SmsConfig = SmsConfig()
    github: GithubConfig = GithubConfig()


class McpOAuthConfig(Section, frozen=True, kw_only=True):
    """Sign-in to one server. ``redirect_port`` 0 takes a free one; ``timeout`` is what a person has for signing in.

    ``client_id`` may be the https URL of a client id metadata document. ``allow_private`` lets the authorization
    server be on a private address that the MCP server itself is not on. Grants other than authorization_code need no
    person. ``id_token_file`` and ``idp_…`` are for the grant id_jag.
    """

    grant: Literal["authorization_code", "client_credentials", "jwt_bearer", "id_jag"] = "authorization_code"
    issuer: str = ""
    private_key_file: str = ""
    assertion_file: str = ""
    id_token_file: str = ""
    idp_issuer: str = ""
    idp_client_id: str = ""
    idp_client_secret: str = ""
    dpop: Literal["auto", "always", "never"] = "auto"
    client_id: str = ""
    client_secret: str = ""
    scope: str = ""
    redirect_port: int = 0
    redirect_uri: str = ""
    client_name: str = "hermesd"
    timeout: float = 300.0
    allow_private: bool = False


class McpSamplingConfig(Section, frozen=True, kw_only=True):
    """What a server may ask of our model. Switched off, the capability is not even announced.

    ``ask`` the user whose call is under way: once a session, for each request, or never. Where nobody can be asked,
    ``enabled`` is the permission.
    """

    enabled: bool = False
    ask: Literal["session", "each", "never"] = "session"
    model: str = ""
    max_tokens_cap: int = 4096
    timeout: float = 30.0
    max_rpm: int = 10
    allowed_models: list[str] = []
    max_tool_rounds: int = 5


class McpElicitationConfig(Section, frozen=True, kw_only=True):
    """Whether a server may put questions to the user whose call is under way."""

    enabled: bool = True


class McpToolsConfig(Section, frozen=True, kw_only=True):
    """Which of a server's tools the model gets, by the server's own names; ``include`` beats ``exclude``.

    ``resources`` and ``prompts``: whether those are tools too, where the server has any.
    """

    include: list[str] = []
    exclude: list[str] = []
    resources: bool = True
    prompts: bool = True


class McpServerConfig(Section, frozen=True, kw_only=True):
    """One MCP server: a program (``command``) or an address (``url``, which wins where both are given).

    ``trusted`` believes the server's own hints about what its calls do. ``timeout`` bounds a call, ``connect_timeout``
    the way to a session. ``idle_timeout_seconds`` 0 keeps an idle server running. ``allow_private`` lets a ``url``, a
    redirect and the authorization server lead to private and loopback addresses that the ``url`` does not spell itself.
    """

    command: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    transport: Literal["streamable", "streamable_http", "streamable-http", "http", "sse"] = "streamable"
    ssl_verify: bool | str = True
    allow_private: bool = False
    client_cert: str = ""
    client_key: str = ""
    enabled: bool = True
    trusted: bool = False
    lifecycle: Literal["eager", "lazy"] = "eager"
    era: Literal["auto", "legacy", "modern"] = "auto"
    timeout: float = 120.0
    connect_timeout: float = 60.0
    keepalive_interval: float = 180.0
    idle_timeout_seconds: float = 0.0
    max_concurrent_calls: int = 16
    max_message_bytes: int = 64 * 1024 * 1024
    auth: Literal["none", "header", "oauth"] = "none"
    oauth: McpOAuthConfig = McpOAuthConfig()
    sampling: McpSamplingConfig = McpSamplingConfig()
    elicitation: McpElicitationConfig = McpElicitationConfig()
    tools: McpToolsConfig = McpToolsConfig()


class McpServeConfig(Section, frozen=True, kw_only=True):
    """This daemon as an MCP server for other agents, at ``http://host:port/mcp``; only the default profile's counts.

    ``token`` is what they show, usually MCP_SERVE_TOKEN in .env. ``allowed_hosts`` is what Host may say besides the
    address itself, for instance the name of a proxy in front.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = 8765
    token: str = ""
    allowed_hosts: list[str] = []
    max_body_bytes: int = 1024 * 1024


class PluginsConfig(Section, frozen=True, kw_only=True):
    """Code of others that runs in the daemon: only what ``enabled`` names, and ``disabled`` beats it.

    ``timeout`` bounds a call of a plugin's tool, ``load_timeout`` its import and registration.
    """

    enabled: list[str] = []
    disabled: list[str] = []
    timeout: float = 120.0
    load_timeout: float = 10.0


class StoreConfig(Section, frozen=True, kw_only=True):
    """The state file. ``retain_days`` bounds dedupe keys, sent messages and events."""

    path: str = ""
    retain_days: float = 7.0


class ShutdownConfig(Section, frozen=True, kw_only=True):
    """How long a planned stop may wait for running turns, then for everything else."""

    drain_s: float = 20.0
    stop_s: float = 5.0


class Config(Section, frozen=True, kw_only=True):
    """A profile's whole configuration. ``timezone`` (IANA) is that of its schedules; empty: this machine's.

    ``isolation``: task (of the one daemon), or process (a daemon of its own under s6; means nothing for default).
    """

    isolation: Literal["task", "process"] = "task"
    model: ModelConfig = ModelConfig()
    timezone: str = ""
    fallback_providers: list[ModelConfig] = []
    agent: AgentConfig = AgentConfig()
    toolsets: list[str] = msgspec.field(default_factory=lambda: ["files", "terminal", "todo", "clarify", "cron"])
    terminal: TerminalConfig = TerminalConfig()
    policy: PolicyConfig = PolicyConfig()
    platforms: PlatformsConfig = PlatformsConfig()
    mcp_servers: dict[str, McpServerConfig] = {}
    mcp_serve: McpServeConfig = McpServeConfig()
    plugins: PluginsConfig = PluginsConfig()
    rpc: RpcConfig = RpcConfig()
    store: StoreConfig = StoreConfig()
    shutdown: ShutdownConfig = ShutdownConfig()
