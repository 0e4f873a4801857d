"""GitHub's own JavaScript: npm ``@octokit/webhooks-methods`` signs and verifies, ``webhooks-examples`` are payloads."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers import mcp_real

PACKAGES = ("@octokit/webhooks-methods@6.0.0", "@octokit/webhooks-examples@7.6.1")
_SIGN = """
import { createInterface } from "node:readline";
const { sign, verify } = await import(process.argv[1]);
for await (const line of createInterface({ input: process.stdin })) {
  const { secret, body, signature } = JSON.parse(line);
  console.log(JSON.stringify(signature ? await verify(secret, body, signature) : await sign(secret, body)));
}
"""


@dataclass(frozen=True)
class Delivery:
    """An event of GitHub's as it is posted."""

    event: str
    body: str


def examples() -> list[Delivery]:
    """Every payload of the collection for github.com."""
    index = _modules() / "@octokit/webhooks-examples/api.github.com/index.json"
    return [
        Delivery(kind["name"], json.dumps(payload, ensure_ascii=False))
        for kind in json.loads(index.read_text())
        for payload in kind["examples"]
    ]


def sign(secret: str, bodies: list[str]) -> list[str]:
    """What ``X-Hub-Signature-256`` would be for each."""
    return [str(signature) for signature in _run([{"secret": secret, "body": body} for body in bodies])]


def verify(secret: str, body: str, signature: str) -> bool:
    """Whether octokit takes this signature."""
    return _run([{"secret": secret, "body": body, "signature": signature}]) == [True]


def _run(requests: list[dict[str, str]]) -> list[object]:
    methods = _modules() / "@octokit/webhooks-methods/dist-node/index.js"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", _SIGN, str(methods)],
        input="".join(json.dumps(each) + "\n" for each in requests),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _modules() -> Path:
    return mcp_real.npm_packages("octokit", PACKAGES)
