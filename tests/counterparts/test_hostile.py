"""Hostile input: malformed frames, garbage, and floods leave Passage alive, small and answering."""

import random
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from passage import Passage, eventually
from wire import handshake, login_start, packet, ping, string, until_end, varint

MIB = 1024 * 1024
MALFORMED = {
    "zero-length frames": b"\0\0",
    "many zero-length frames": b"\0" * 4096,
    "a length of -1": b"\xff\xff\xff\xff\x0f",
    "a length of 2 GiB": b"\xff\xff\xff\xff\x07",
    "a length of five bytes that never ends": b"\xff\xff\xff\xff\xff\xff",
    "a length just above the bound": varint(10_001) + bytes(10_001),
    "an unknown first packet": packet(0x7F, b"x"),
    "a handshake with a negative host length": packet(0, varint(767) + b"\xff\xff\xff\xff\x0f"),
    "a handshake with a host of 2 GiB": packet(0, varint(767) + b"\xff\xff\xff\xff\x07"),
    "a handshake with a host of 256 letters": packet(0, varint(767) + string("a" * 256) + b"\x63\xdd\x01"),
    "a handshake with a host that is no UTF-8": packet(0, varint(767) + b"\x02\xc3\x28\x63\xdd\x01"),
    "a handshake with intent 4": handshake("localhost", 4),
    "a handshake with intent -1": handshake("localhost", -1),
    "a handshake with trailing bytes": packet(0, varint(767) + string("localhost") + b"\x63\xdd\x01trailing"),
    "a truncated handshake": packet(0, varint(767) + string("localhost")),
    "a login with a name of 2 GiB": handshake("localhost", 2) + packet(0, b"\xff\xff\xff\xff\x07"),
    "a login with a name of 17 letters": handshake("localhost", 2) + login_start("a" * 17),
    "a login with an empty name": handshake("localhost", 2) + login_start(""),
    "an encryption response out of turn": handshake("localhost", 2) + packet(1, varint(128) + bytes(128)),
    "a configuration packet out of turn": handshake("localhost", 2) + packet(3),
    "a legacy ping with a host of 65535 letters": b"\xfe\x01\xfa\0\x0b"
    + "MC|PingHost".encode("utf-16-be")
    + b"\xff\xff\x4a\xff\xff",
    "a TLS client hello": bytes.fromhex("160301020001000" + "1fc0303") + bytes(64),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.fixture(scope="module")
def passage():
    with Passage("[limits]\nhandshake = 2\nstep = 2\n") as running:
        yield running


@pytest.mark.parametrize("name", MALFORMED)
def test_ends_a_malformed_conversation(passage, name):
    with passage.connect() as stream:
        stream.sendall(MALFORMED[name])
        assert len(until_end(stream)) < 1024
    with passage.connect() as stream:
        assert ping(stream)["version"]


@pytest.mark.parametrize("keep", [1, 2, 7, 15])
def test_a_conversation_that_stops_in_the_middle_is_ended_in_time(passage, keep):
    with passage.connect(timeout=6) as stream:
        stream.sendall(handshake("localhost", 2)[:keep])
        assert until_end(stream) == b""


def garbage(passage, seed: int):
    """One short conversation of seeded nonsense: bytes, or a proper handshake and then bytes."""
    dice = random.Random(seed)
    nonsense = dice.randbytes(dice.choice([0, 1, 2, 3, 17, 300, 5000]))
    start = dice.choice(
        [b"", b"\xfe", handshake("x", 1), handshake("x", 2), handshake("x", 3) + login_start("Eve")]
    )
    try:
        with passage.connect(source=f"127.0.{dice.randrange(256)}.{dice.randrange(1, 255)}") as stream:
            stream.sendall(start + nonsense)
            if dice.random() < 0.3:
                until_end(stream)
            elif dice.random() < 0.5:
                stream.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER of zero: the close is a reset
    except (ConnectionError, BrokenPipeError):
        pass


@pytest.mark.timeout(300)
def test_ten_thousand_garbage_connections_leave_nothing_behind():
    with Passage("[limits]\nhandshake = 1\nstep = 1\n") as passage, ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda seed: garbage(passage, seed), range(2_000)))
        quiet = eventually(lambda: files_when_idle(passage), 15, "connections did not end")
        before = passage.resident_bytes()
        list(pool.map(lambda seed: garbage(passage, seed), range(2_000, 12_000)))
        after = eventually(
            lambda: passage.open_files() <= quiet and passage.resident_bytes(), 15, "files stay open"
        )
        assert passage.is_alive()
        assert after - before < 8 * MIB, f"grew from {before / MIB:.1f} to {after / MIB:.1f} MiB"
        with passage.connect() as stream:
            assert ping(stream)["version"]
        assert "panicked" not in passage.log()


def files_when_idle(passage) -> int:
    """The number of open files once it has not changed for a while, else 0."""
    from time import sleep

    seen = {passage.open_files() for _ in range(5) if not sleep(0.3)}
    return seen.pop() if len(seen) == 1 else 0
