"""Server lists: mcstatus, modern and legacy, and the three legacy pings byte by byte."""

import struct

import pytest
from mcstatus import JavaServer, LegacyServer

from passage import Passage
from wire import exactly, handshake, packet, read_packet

STATUS = """
[status]
type = "fixed"
name = "Counterpart"
description = '{"text":"front ","extra":[{"text":"door","bold":true}]}'
preferred_version = 767
min_version = 766
max_version = 10000

[authentication]
type = "disabled"
"""


@pytest.fixture(scope="module")
def passage():
    with Passage(STATUS) as running:
        yield running


def test_mcstatus_reads_the_status(passage):
    status = JavaServer("127.0.0.1", passage.port).status(version=767)
    assert status.version.name == "Counterpart"
    assert status.version.protocol == 767
    assert status.motd.to_plain() == "front door"
    assert 0 < status.latency < 3000


@pytest.mark.parametrize("version", [4, 47, 765, 766, 775, 9999])
def test_mcstatus_pings_with_every_version(passage, version):
    assert 0 < JavaServer("127.0.0.1", passage.port).ping(version=version) < 3000


@pytest.mark.parametrize(("version", "shown"), [(766, 766), (775, 775), (47, 767)])
def test_shows_the_clients_own_version_where_it_is_supported(passage, version, shown):
    assert JavaServer("127.0.0.1", passage.port).status(version=version).version.protocol == shown


def test_answers_a_ping_without_a_status_request(passage):
    token = struct.pack(">q", -5)
    with passage.connect() as stream:
        stream.sendall(handshake("localhost", 1) + packet(1, token))
        assert exactly(stream, 10) == b"\x09\x01" + token


def test_mcstatus_reads_the_legacy_status(passage):
    status = LegacyServer("127.0.0.1", passage.port).status()
    assert status.version.name == "Counterpart"
    assert status.motd.to_plain() == "front door"


def kick(stream) -> str:
    """The text of a legacy kick packet, after which the connection has to end."""
    head = exactly(stream, 3)
    assert head[0] == 0xFF, head
    text = exactly(stream, 2 * struct.unpack(">H", head[1:])[0]).decode("utf-16-be")
    assert stream.recv(1) == b"", "the connection stayed open"
    return text


def host_ping(host: str) -> bytes:
    """The ping of 1.6, with a plugin message that names the host."""
    channel, name = "MC|PingHost".encode("utf-16-be"), host.encode("utf-16-be")
    data = bytes([74]) + struct.pack(">H", len(host)) + name + struct.pack(">i", 25565)
    return b"\xfe\x01\xfa" + struct.pack(">H", 11) + channel + struct.pack(">H", len(data)) + data


@pytest.mark.parametrize("request_bytes", [b"\xfe\x01", b"\xfe\x01\xfa", host_ping("play.example.net")])
def test_legacy_pings_of_1_4_to_1_6_get_six_fields(passage, request_bytes):
    with passage.connect() as stream:
        stream.sendall(request_bytes)
        fields = kick(stream).split("\0")
    assert fields[0] == "§1"
    assert len(fields) == 6
    assert fields[2:4] == ["Counterpart", "front door"]
    assert int(fields[1]) >= 0 and int(fields[4]) >= 0 and int(fields[5]) >= 0


def test_legacy_ping_of_beta_gets_three_fields(passage):
    with passage.connect() as stream:
        stream.sendall(b"\xfe")
        motd, online, most = kick(stream).split("§")
    assert motd == "front door"
    assert int(online) >= 0 and int(most) >= 0


@pytest.mark.parametrize("request_bytes", [b"\xfe\x01", host_ping("localhost")])
def test_legacy_pings_may_come_byte_by_byte(passage, request_bytes):
    with passage.connect() as stream:
        for byte in request_bytes:
            stream.sendall(bytes([byte]))
        assert kick(stream).startswith("§1\0")


def test_a_modern_ping_may_come_byte_by_byte(passage):
    with passage.connect() as stream:
        for byte in handshake("localhost", 1) + packet(0):
            stream.sendall(bytes([byte]))
        identifier, body = read_packet(stream)
    assert identifier == 0 and b"Counterpart" in body
