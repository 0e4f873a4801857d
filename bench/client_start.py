"""How long hermesctl takes to start, beside bare Python: ``python bench/client_start.py [--json]``.

Builds the wheel and installs it into an environment of its own, as a user has it: an editable installation would
measure its import hooks. A small server stands in for hermesd, so that only the client is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAST_LIMIT = 2.0
PARSER_LIMIT = 7.0


def install(target: Path) -> Path:
    """A fresh environment with the wheel and its dependencies; its bin directory."""
    wheels = target / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(wheels), str(ROOT)], check=True)
    python = os.path.realpath(sys.executable)
    subprocess.run([python, "-m", "venv", str(target / "venv")], check=True)
    (wheel,) = wheels.glob("hermesd-*.whl")
    own_pip = [str(target / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*own_pip, "install", str(wheel)], check=True)
    return target / "venv/bin"


def answer_for_ever(listener: socket.socket) -> None:
    """Answer every connection's first request with one rendered status, in the encoding it came in."""
    import msgspec

    text = "hermesd 0.1.0  pid 1  up 3 h  21 MB\n" * 12
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"status": 0, "text": text}}
    body = msgspec.msgpack.encode(answer)
    framed = len(body).to_bytes(4, "big") + body
    while True:
        connection, _ = listener.accept()
        with connection:
            first = connection.recv(65536)
            connection.sendall(msgspec.json.encode(answer) + b"\n" if first[:1] == b"{" else framed)


def measure(command: list[str], environment: dict[str, str], runs: int) -> dict[str, float]:
    """Wall time of a command in milliseconds: by hyperfine where there is one, else by our own clock."""
    if shutil.which("hyperfine"):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            options = ["-N", "--ignore-failure", "--warmup", "5", "--runs", str(runs), "--export-json", report.name]
            line = " ".join(command)
            subprocess.run(["hyperfine", *options, line], env=environment, check=True, capture_output=True)
            result = json.loads(Path(report.name).read_text())["results"][0]
            return {"median_ms": result["median"] * 1000, "min_ms": result["min"] * 1000}
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        times.append((time.perf_counter() - begin) * 1000)
    return {"median_ms": statistics.median(times), "min_ms": min(times)}


def main() -> int:
    """Print a table, or JSON; status 1 when a limit is exceeded."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true")
    options.add_argument("--runs", type=int, default=100)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        target = Path(name)
        bin_directory = install(target)
        home = target / "home"
        home.mkdir(mode=0o700)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(home / "hermesd.sock"))
        listener.listen(16)
        threading.Thread(target=answer_for_ever, args=(listener,), daemon=True).start()
        environment = {"PATH": "/usr/bin:/bin", "HERMES_HOME": str(home), "HOME": name}
        python = os.path.realpath(sys.executable)
        ctl = str(bin_directory / "hermesctl")
        commands = {
            "bare python": [python, "-I", "-S", "-c", "pass"],
            "status": [ctl, "status"],
            "sessions list --json": [ctl, "sessions", "list", "--json"],
            "gateway start": [ctl, "gateway", "start"],
            "--help": [ctl, "--help"],
            "profile create x": [ctl, "profile", "create", "x"],
            "chat --help": [ctl, "chat", "--help"],
        }
        found = {label: measure(command, environment, args.runs) for label, command in commands.items()}
    return report(found, as_json=args.json)


def report(found: dict[str, dict[str, float]], *, as_json: bool) -> int:
    """Show each figure beside bare Python's."""
    bare = found["bare python"]["median_ms"]
    exceeded = False
    for label, figures in found.items():
        figures["times_bare"] = figures["median_ms"] / bare
        limit = FAST_LIMIT if label in ("status", "sessions list --json") else PARSER_LIMIT
        exceeded |= figures["times_bare"] > limit
        if not as_json:
            print(f"{label:<22} {figures['median_ms']:7.1f} ms   × {figures['times_bare']:.2f}  (limit × {limit:g})")
    if as_json:
        print(json.dumps(found, indent=2))
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
