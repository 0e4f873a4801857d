"""Well-known servers for ``hermesctl mcp add NAME --preset``: what to run or where to connect, and what they need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """``env`` names variables that must be given; ``rest`` are the words that a person must add to the arguments."""

    description: str
    command: str = ""
    args: tuple[str, ...] = ()
    url: str = ""
    env: tuple[str, ...] = ()
    auth: str = ""
    rest: str = ""

    @property
    def target(self) -> str:
        """What is run, or the address."""
        return self.url or " ".join((self.command, *self.args, self.rest)).strip()


COMES_WITH = {"npx": "Node.js", "uvx": "uv", "docker": "Docker"}
"""Where people get a program that is not there."""


def _npm(package: str, description: str, *env: str, rest: str = "") -> Preset:
    return Preset(description, "npx", ("-y", package), env=env, rest=rest)


def _pypi(package: str, description: str, rest: str = "") -> Preset:
    return Preset(description, "uvx", (package,), rest=rest)


PRESETS: dict[str, Preset] = {
    "filesystem": _npm("@modelcontextprotocol/server-filesystem", "files below directories", rest="DIRECTORY …"),
    "memory": _npm("@modelcontextprotocol/server-memory", "a knowledge graph in a file"),
    "sequential-thinking": _npm("@modelcontextprotocol/server-sequential-thinking", "thinking in steps"),
    "everything": _npm("@modelcontextprotocol/server-everything", "every feature of MCP, for trying out"),
    "playwright": _npm("@playwright/mcp", "a browser"),
    "chrome-devtools": _npm("chrome-devtools-mcp", "a running Chrome"),
    "time": _pypi("mcp-server-time", "times and time zones"),
    "git": _pypi("mcp-server-git", "git repositories", rest="--repository DIRECTORY"),
    "fetch": _pypi("mcp-server-fetch", "web pages as text"),
    "github": Preset("GitHub, signing in", url="https://api.githubcopilot.com/mcp/", auth="oauth"),
    "linear": Preset("Linear, signing in", url="https://mcp.linear.app/mcp", auth="oauth"),
    "notion": Preset("Notion, signing in", url="https://mcp.notion.com/mcp", auth="oauth"),
    "sentry": Preset("Sentry, signing in", url="https://mcp.sentry.dev/mcp", auth="oauth"),
}
