"""Players with a stock client: npm minecraft-protocol, run by Node.js."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
LOGIN_SECONDS_MAX = 40

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


def log_in(port: int, name: str = "Alice", version: str = "1.21.1", host: str = "play.example.net") -> Seen:
    options = {"port": port, "name": name, "version": version, "host": host}
    done = subprocess.run(
        ["node", str(FOLDER / "player.mjs"), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=LOGIN_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    return Seen(tuple(seen["transfer"]) if seen["transfer"] else None, seen["reason"], seen["profile"])


def log_in_together(port: int, count: int) -> list[Seen]:
    """Several players at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda index: log_in(port, f"Player{index}"), range(count)))
