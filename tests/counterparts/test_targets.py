"""Targets that come, go, fill up and lie: what the server list shows of them, and where players end up."""

import json
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from mcstatus import JavaServer

from passage import eventually
from test_admin import Administered
from wire import (
    Target,
    counted,
    handshake,
    login_start,
    ping,
    read_packet,
    read_proxy_v2,
    string,
    until_end,
    varint,
)

HOST = "play.example.net"


class Lobby(Target):
    """A server that answers pings with its name and players, and tells everybody who logs in its name."""

    def __init__(self, name: str, players: int = 0, has_header: bool = False):
        self.name, self.players, self.has_header = name, players, has_header
        self.is_broken = False
        self.pinged: list[tuple[str, int]] = []
        self.headers: list[tuple[str, int]] = []
        self.lock = threading.Lock()
        super().__init__(self.talk_to_the_end)

    def talk_to_the_end(self, stream):
        """Whoever has seen enough closes, when that may be."""
        with suppress(EOFError):
            self.talk(stream)

    def talk(self, stream):
        if self.has_header:
            self.headers.append(read_proxy_v2(stream))
        protocol, host, intent = read_handshake(stream)
        if self.is_broken:
            return
        if intent == 2:
            stream.sendall(self.name.encode())
            return
        with self.lock:
            self.pinged.append((host, protocol))
        while True:
            identifier, body = read_packet(stream)
            stream.sendall(packet(identifier, string(json.dumps(self.status())) if identifier == 0 else body))

    def status(self) -> dict:
        return {
            "version": {"name": "Lobby", "protocol": 767},
            "players": {"max": 100, "online": self.players, "sample": []},
            "description": {"text": self.name, "color": "gold"},
            "enforcesSecureChat": True,
            "modinfo": {"type": "FML"},
        }


def packet(identifier: int, body: bytes) -> bytes:
    frame = varint(identifier) + body
    return varint(len(frame)) + frame


def read_handshake(stream) -> tuple[int, str, int]:
    """Protocol, host and intent."""
    identifier, body = read_packet(stream)
    assert identifier == 0, identifier
    protocol, at = 0, 0
    while True:
        protocol |= (body[at] & 0x7F) << 7 * at
        at += 1
        if not body[at - 1] & 0x80:
            break
    host, rest = counted(body[at:])
    assert struct.unpack(">H", rest[:2])[0] > 0
    return protocol - (protocol >> 31 << 32), host.decode(), rest[2]


def config(lobbies: list[Lobby], tables: str = "", route: str = "", priorities: tuple[int, ...] = ()) -> str:
    """Relays everybody to one of the lobbies; `priorities` are theirs, from the first on."""
    ranks = priorities or (0,) * len(lobbies)
    targets = ",\n".join(
        f'{{ identifier = "{lobby.name}", address = "127.0.0.1:{lobby.port}", priority = {rank} }}'
        for lobby, rank in zip(lobbies, ranks, strict=True)
    )
    return f"""
[[routes]]
hostname = "*"
mode = "relay"
{route}
[routes.discovery]
targets = [
{targets}
]
{tables}
"""


def log_in(passage: Administered, name: str = "Alice") -> str:
    """The name of the lobby that a player gets to, or what the player reads instead."""
    with passage.connect(timeout=20) as client:
        client.sendall(handshake(HOST, 2) + login_start(name))
        return until_end(client).decode(errors="replace")


def shown(passage: Administered, protocol: int = 767) -> str:
    with passage.connect(timeout=20) as client:
        return ping(client, HOST, protocol)["description"]["text"]


def failed_dials(passage: Administered, logins: int) -> float:
    """How often a target could not be reached, once this many logins were counted."""
    eventually(lambda: passage.totals().get("passage_login_requests_total", 0) >= logins)
    return passage.totals().get("passage_target_connection_failures_total", 0)


STATUS = '[routes.status]\ntype = "target"\ncache_duration = 1\n'
OFFLINE = STATUS + '[routes.status.offline]\ndescription = \'{"text":"asleep"}\'\n'


def test_the_server_list_shows_what_the_target_says():
    with Lobby("first", 3) as first, Lobby("second") as second:
        with Administered(config([second, first], STATUS, priorities=(1, 0))) as passage:
            status = JavaServer("127.0.0.1", passage.port).status(version=767)
            assert status.motd.to_plain() == "first"
            assert (status.players.online, status.players.max) == (3, 100)
            assert (status.version.name, status.version.protocol) == ("Lobby", 767)
            assert status.raw["enforcesSecureChat"] is True
            assert "modinfo" not in status.raw
            assert first.pinged == [("127.0.0.1", 767)] and not second.pinged


def test_the_target_reads_the_routes_own_proxy_header():
    with Lobby("behind", has_header=True) as lobby:
        with Administered(config([lobby], STATUS, 'send_proxy_protocol = "v2"')) as passage:
            assert shown(passage) == "behind"
            assert lobby.headers[0][0] == "127.0.0.1"


def test_a_flood_of_pings_is_one_ping_a_version_and_refresh():
    with Lobby("lobby") as lobby, Administered(config([lobby], STATUS.replace("= 1", "= 600"))) as passage:
        versions = [47, 767, 775, 9_999, 123_456]
        with ThreadPoolExecutor(32) as pool:
            texts = pool.map(lambda number: shown(passage, versions[number % 5]), range(500))
            assert set(texts) == {"lobby"}
        # Versions that Passage does not know share one status.
        assert sorted(protocol for _, protocol in lobby.pinged) == [-1, 47, 767, 775]


def test_a_status_outlives_its_target_and_offline_stands_in_where_there_never_was_one():
    with Lobby("lobby") as lobby, Administered(config([lobby], OFFLINE)) as passage:
        lobby.is_broken = True
        assert shown(passage) == "asleep"
        lobby.is_broken = False
        eventually(lambda: shown(passage) == "lobby", 30)
        lobby.is_broken = True
        errors = passage.totals()["passage_adapter_errors_total"]

        def fails_again():
            assert shown(passage) == "lobby"
            return passage.totals()["passage_adapter_errors_total"] > errors

        eventually(fails_again, 30)
        lobby.name, lobby.is_broken = "back", False
        eventually(lambda: shown(passage) == "back", 60)


def test_the_next_target_speaks_where_the_first_is_down():
    with Lobby("first") as first, Lobby("second") as second:
        first.is_broken = True
        with Administered(config([first, second], STATUS, priorities=(0, 1))) as passage:
            assert shown(passage) == "second"


def test_a_player_goes_to_the_next_target_where_the_first_does_not_listen():
    with Lobby("gone") as gone, Lobby("reserve") as reserve:
        gone.close()
        ejection = "[routes.discovery.ejection]\nfailures = 2\npause = 600\npause_max = 600\n"
        text = config([gone, reserve], ejection, priorities=(0, 1)) + "[shards]\ncount = 1\n"
        with Administered(text) as passage:
            assert [log_in(passage) for _ in range(6)] == ["reserve"] * 6
            assert failed_dials(passage, 6) == 2, "from then on it rests"


HEALTH = """
[routes.discovery.health]
type = "{kind}"
interval = 1
timeout = 5
failures = 1
successes = 1
"""


@pytest.mark.parametrize("kind", ["status", "tcp"])
def test_nobody_is_sent_to_a_target_that_is_down(kind):
    with Lobby("gone") as gone, Lobby("reserve") as reserve:
        text = config([gone, reserve], HEALTH.format(kind=kind), priorities=(0, 1))
        with Administered(text) as passage:
            assert log_in(passage) == "gone"
            gone.close()
            eventually(lambda: "a target is down" in passage.log(), 30)
            # The news are on their way to the shards for half a second at most.
            time.sleep(1)
            assert [log_in(passage) for _ in range(5)] == ["reserve"] * 5
            assert failed_dials(passage, 6) == 0, "nobody even tries"


def test_a_target_that_shows_no_status_gets_nobody_until_it_does():
    with Lobby("sick") as sick, Lobby("reserve") as reserve:
        sick.is_broken = True
        text = config([sick, reserve], HEALTH.format(kind="status"), priorities=(0, 1))
        with Administered(text) as passage:
            assert log_in(passage) == "reserve"
            sick.is_broken = False
            eventually(lambda: log_in(passage) == "sick", 30)


def test_players_of_the_status_decide_where_discovery_does_not_know_them():
    with Lobby("few", 3) as few, Lobby("many", 40) as many, Lobby("full", 50) as full:
        tables = HEALTH.format(kind="status") + 'players_field = "players"\n[routes.strategy]\n'
        tables += 'type = "player_fill"\nfield = "players"\nmax_players = 50\n'
        with Administered(config([few, full, many], tables)) as passage:
            assert log_in(passage) == "many"
            many.players = 50
            eventually(lambda: log_in(passage) == "few", 30)
            full.players = 49
            eventually(lambda: log_in(passage) == "full", 30)


def test_players_keep_their_target_as_long_as_there_is_one():
    with Lobby("a") as a, Lobby("b") as b, Lobby("c") as c:
        tables = '[routes.strategy]\ntype = "hash"\n'
        names = [f"Player{number}" for number in range(30)]
        with Administered(config([a, b, c], tables)) as passage:
            before = {name: log_in(passage, name) for name in names}
            assert set(before.values()) == {"a", "b", "c"}
            assert {name: log_in(passage, name) for name in names} == before
            b.close()
            after = {name: log_in(passage, name) for name in names}
            assert {name for name in names if before[name] != after[name]} == {
                name for name in names if before[name] == "b"
            }


def test_filters_keep_players_out_with_words_and_let_pings_in():
    with Lobby("lobby") as lobby:
        actions = """
[[routes.discovery.actions]]
type = "player_block_filter"
usernames = ["Eve"]
username = "^Bot_.*"
"""
        with Administered(config([lobby], actions + STATUS)) as passage:
            assert log_in(passage, "Alice") == "lobby"
            for name in ["Eve", "eVe", "Bot_17", "bot_x"]:
                assert "lobby" not in log_in(passage, name)
            assert shown(passage) == "lobby"
            kinds = passage.page("/metrics")[1]
            assert 'adapter_type="player_block_filter"' in kinds
