"""Players with a stock client: npm minecraft-protocol, run by Node.js."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
LOGIN_SECONDS_MAX = 60
VERSION = "1.21.1"
PROTOCOL = 767
HOST = "play.example.net"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules" / "minecraft-protocol").is_dir(),
    reason="there is no node, or npm minecraft-protocol is not installed",
)


@dataclass(frozen=True)
class Seen:
    """What a player saw until the end of the connection."""

    transfer: tuple[str, int] | None
    reason: str | None
    profile: dict | None


def log_in(port: int, name: str = "Alice") -> Seen:
    [seen] = log_in_together(port, [name])
    return seen


def log_in_together(port: int, names: list[str]) -> list[Seen]:
    """What players saw who logged in at the same time."""
    options = [{"port": port, "name": name, "version": VERSION, "host": HOST} for name in names]
    done = subprocess.run(
        ["node", str(FOLDER / "player.mjs"), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=LOGIN_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    all_seen = json.loads(done.stdout)
    return [
        Seen(tuple(seen["transfer"]) if seen["transfer"] else None, seen["reason"], seen["profile"])
        for seen in all_seen
    ]
