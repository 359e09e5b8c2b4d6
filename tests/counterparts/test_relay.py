"""Relay, byte by byte: what the target reads, half-closed ends, slow readers, idle relays."""

import hashlib
import random
import socket
import threading
import time

import pytest

from passage import Passage
from test_proxy_protocol import relay
from wire import Target, echo, exactly, handshake, login_start, until_end

LOGIN = handshake("play.example.net", 2) + login_start("Alice")
MIB = 1024 * 1024


def rewriting(port: int, rewrite: str) -> str:
    return relay(port, None).replace('mode = "relay"', f'mode = "relay"\nrewrite_host = "{rewrite}"')


@pytest.mark.parametrize(
    ("rewrite", "shown"), [("keep", "Play.Example.net."), ("target", "127.0.0.1"), ("a.b", "a.b")]
)
@pytest.mark.parametrize("suffix", ["", "\0FML\0", "\0FML2\0", "\0FORGE"])
def test_the_target_reads_the_host_that_the_route_says_and_the_mods_of_the_client(rewrite, shown, suffix):
    expected = handshake(shown + suffix, 2) + login_start("Alice")

    def serve(stream):
        assert exactly(stream, len(expected)) == expected
        stream.sendall(b"!")

    with Target(serve) as target, Passage(rewriting(target.port, rewrite)) as passage:
        with passage.connect() as client:
            client.sendall(handshake("Play.Example.net." + suffix, 2) + login_start("Alice"))
            assert exactly(client, 1) == b"!"


def test_what_the_client_sends_early_reaches_the_target_in_order():
    with Target(echo) as target, Passage(relay(target.port, None)) as passage, passage.connect() as client:
        early = random.Random(1).randbytes(3000)
        client.sendall(LOGIN + early)
        assert exactly(client, len(LOGIN) + len(early)) == LOGIN + early


def test_a_client_that_has_said_everything_still_hears_everything():
    def serve(stream):
        said = until_end(stream)
        stream.sendall(hashlib.sha256(said).digest() * 1000)

    with Target(serve) as target, Passage(relay(target.port, None)) as passage, passage.connect() as client:
        said = LOGIN + random.Random(2).randbytes(MIB)
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        assert until_end(client) == hashlib.sha256(said).digest() * 1000


def test_a_target_that_has_said_everything_still_hears_everything():
    heard = threading.Event()
    digest = hashlib.sha256()

    def serve(stream):
        stream.sendall(b"bye")
        stream.shutdown(socket.SHUT_WR)
        digest.update(until_end(stream))
        heard.set()

    with Target(serve) as target, Passage(relay(target.port, None)) as passage, passage.connect() as client:
        client.sendall(LOGIN)
        assert until_end(client) == b"bye"
        more = random.Random(3).randbytes(MIB)
        client.sendall(more)
        client.shutdown(socket.SHUT_WR)
        assert heard.wait(10)
        assert digest.digest() == hashlib.sha256(LOGIN + more).digest()


def test_a_slow_reader_loses_nothing_and_costs_no_memory():
    size = 64 * MIB
    block = random.Random(4).randbytes(MIB)

    def serve(stream):
        assert exactly(stream, len(LOGIN)) == LOGIN
        for _ in range(size // MIB):
            stream.sendall(block)

    with Target(serve) as target, Passage(relay(target.port, None)) as passage, passage.connect() as client:
        before = passage.resident_bytes()
        client.sendall(LOGIN)
        time.sleep(1)  # the sender runs into the full buffers meanwhile
        assert passage.resident_bytes() - before < 16 * MIB, "the relay buffers what nobody reads"
        read, digest = 0, hashlib.sha256()
        while chunk := client.recv(65536):
            read += len(chunk)
            digest.update(chunk)
        assert read == size
        expected = hashlib.sha256()
        for _ in range(size // MIB):
            expected.update(block)
        assert digest.digest() == expected.digest()


def test_a_relay_without_traffic_is_closed():
    with Target(echo) as target, Passage(relay(target.port, None) + "[limits]\nrelay_idle = 30\n") as passage:
        with passage.connect(timeout=90) as client:
            client.sendall(LOGIN)
            assert exactly(client, len(LOGIN)) == LOGIN
            time.sleep(6)
            client.sendall(b"still here")
            assert exactly(client, 10) == b"still here"
            began = time.monotonic()
            assert until_end(client) == b""
            assert 28 < time.monotonic() - began < 60


def test_a_player_is_told_that_the_target_is_down():
    with Target(echo) as target:
        config = relay(target.port, None)
        target.close()
        with Passage(config) as passage, passage.connect() as client:
            client.sendall(LOGIN)
            answer = until_end(client)
    assert b"cannot be reached" in answer, answer
