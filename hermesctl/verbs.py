"""Every verb with its one line of help, in the order of ``hermesctl --help``."""

from __future__ import annotations

VERBS = {
    "chat": "talk to an agent (-q TEXT asks one question)",
    "status": "the daemon at a glance",
    "tree": "every service: state, since when, restarts, last error",
    "doctor": "check everything that can be checked, also without a daemon",
    "events": "what happened, and with --follow what happens",
    "logs": "the daemon's log",
    "sessions": "conversations: list, show, search",
    "inbox": "accepted messages, and decisions on parked ones",
    "outbox": "messages on their way out, and dead letters",
    "profile": "agents: list, show, create, use, rename, delete",
    "mcp": "MCP servers: list, show, add, call, approve, restart and more",
    "plugins": "other people's code in the daemon: list, show, enable, disable",
    "skills": "texts that tell an agent how something is done: list, show",
    "cron": "scheduled jobs: create, list, show, runs, pause, run and more",
    "watch": "files, outputs and units that are watched: add, list, show, runs, pause and more",
    "webhook": "signed HTTP requests: subscribe, list, show, test, rotate, remove, import",
    "plan": "what applying a file of jobs, webhooks and more would change",
    "apply": "make jobs, webhooks, watches, MCP servers and profiles what a file says",
    "gateway": "start and stop the chat platforms of a profile",
    "service": "the daemon as a systemd or launchd service, and single services of the tree",
    "setup": "answer the first questions: model, platforms, secrets",
    "config": "read, check and change configuration",
    "reload": "read the configuration again and apply what changed",
    "stop": "stop the daemon in order",
    "activate": "make a home what a manifest declares, before hermesd starts",
    "managed": "who declares what of this home, and where it is changed",
    "container": "hermesd in a container of this host: ensure, start, stop, status, exec, recreate",
    "rpc": "call a method of the socket, or print the protocol",
    "completion": "a completion script for bash, zsh or fish",
    "upgrade-check": "what a restart with this release would do: the state file, and what runs",
    "version": "versions of this client and of the daemon",
}


def module_of(verb: str) -> str:
    """The module of a verb."""
    return f"hermesctl.commands.{verb.replace('-', '_')}"
