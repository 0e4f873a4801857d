"""Ask an agent from a program: ``python examples/ask.py "read notes.txt"``."""

import sys

from hermesctl.client import Client

with Client.connect() as client:
    answer = client.chat(" ".join(sys.argv[1:]) or "hello")
    print(answer.text)  # noqa: T201 - a program prints
sys.exit(0 if answer.state == "done" else 1)
