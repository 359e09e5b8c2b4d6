"""The few bytes of the Minecraft and PROXY protocols that a test writes or reads by hand."""

import json
import socket
import struct
import threading


def varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(text: str) -> bytes:
    raw = text.encode()
    return varint(len(raw)) + raw


def packet(identifier: int, body: bytes = b"") -> bytes:
    frame = varint(identifier) + body
    return varint(len(frame)) + frame


def handshake(host: str, intent: int, protocol: int = 767, port: int = 25565) -> bytes:
    return packet(0, varint(protocol) + string(host) + struct.pack(">H", port) + varint(intent))


def login_start(name: str) -> bytes:
    return packet(0, string(name) + bytes(16))


def exactly(stream: socket.socket, count: int) -> bytes:
    """Reads `count` bytes; fails at an early end."""
    out = b""
    while len(out) < count:
        chunk = stream.recv(count - len(out))
        if not chunk:
            raise EOFError(f"the connection ended after {len(out)} of {count} bytes: {out!r}")
        out += chunk
    return out


def until_end(stream: socket.socket) -> bytes:
    """Reads until the peer closes, however it does that."""
    out = b""
    try:
        while chunk := stream.recv(65536):
            out += chunk
    except ConnectionResetError:
        pass
    return out


def read_varint(stream: socket.socket) -> int:
    value = 0
    for index in range(5):
        byte = exactly(stream, 1)[0]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value
    raise ValueError("a VarInt of more than five bytes")


def read_packet(stream: socket.socket) -> tuple[int, bytes]:
    """The next packet's id (ids of one byte) and body."""
    frame = exactly(stream, read_varint(stream))
    return frame[0], frame[1:]


def ping(stream: socket.socket, host: str = "localhost", protocol: int = 767) -> dict:
    """A whole server-list ping over an open connection: the status, after its pong came back unchanged."""
    token = 0x0102_0304_0506_0708
    stream.sendall(handshake(host, 1, protocol) + packet(0) + packet(1, struct.pack(">q", token)))
    identifier, body = read_packet(stream)
    assert identifier == 0, f"packet {identifier} instead of a status"
    start = next(index for index, byte in enumerate(body) if not byte & 0x80) + 1
    identifier, pong = read_packet(stream)
    assert (identifier, pong) == (1, struct.pack(">q", token)), "the pong differs"
    return json.loads(body[start:])


def proxy_v1(source: tuple[str, int], target: tuple[str, int]) -> bytes:
    return f"PROXY TCP4 {source[0]} {target[0]} {source[1]} {target[1]}\r\n".encode()


def proxy_v2(source: tuple[str, int] | None, target: tuple[str, int]) -> bytes:
    """A version 2 header; of the LOCAL kind without a source."""
    start = b"\r\n\r\n\0\r\nQUIT\n"
    if source is None:
        return start + bytes([0x20, 0]) + struct.pack(">H", 0)
    addresses = (
        socket.inet_aton(source[0]) + socket.inet_aton(target[0]) + struct.pack(">HH", source[1], target[1])
    )
    return start + bytes([0x21, 0x11]) + struct.pack(">H", len(addresses)) + addresses


def read_proxy_v1(stream: socket.socket) -> tuple[str, int]:
    """The source that a version 1 header names."""
    line = b""
    while not line.endswith(b"\r\n"):
        line += exactly(stream, 1)
        assert len(line) <= 107, line
    words = line.decode().split()
    assert words[:2] == ["PROXY", "TCP4"], line
    return words[2], int(words[4])


def read_proxy_v2(stream: socket.socket) -> tuple[str, int]:
    """The source that a version 2 header names."""
    head = exactly(stream, 16)
    assert head[:12] == b"\r\n\r\n\0\r\nQUIT\n", head
    assert head[12:14] == bytes([0x21, 0x11]), head
    body = exactly(stream, struct.unpack(">H", head[14:])[0])
    return socket.inet_ntoa(body[:4]), struct.unpack(">H", body[8:10])[0]


class Target:
    """A server behind Passage that runs `serve(stream)` for every connection, in a thread of its own."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.faults: list[BaseException] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            stream.settimeout(90)
            threading.Thread(target=self._run, args=(stream,), daemon=True).start()

    def _run(self, stream):
        try:
            with stream:
                self.serve(stream)
        except (AssertionError, EOFError, ValueError) as fault:
            self.faults.append(fault)
        except OSError:
            pass

    def __enter__(self):
        return self

    def close(self):
        """Listens no more; who is connected stays so."""
        # Closing alone would leave the socket open as long as a thread waits in `accept`.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __exit__(self, kind, *_):
        if self.listener.fileno() >= 0:
            self.close()
        assert kind is not None or not self.faults, self.faults


def echo(stream: socket.socket):
    """Sends back whatever comes, and passes the end on."""
    while chunk := stream.recv(65536):
        stream.sendall(chunk)


def counted(data: bytes) -> tuple[bytes, bytes]:
    """The bytes behind a VarInt that counts them, and what follows."""
    length, at = 0, 0
    while True:
        length |= (data[at] & 0x7F) << 7 * at
        at += 1
        if not data[at - 1] & 0x80:
            return data[at : at + length], data[at + length :]


def rsa(key: bytes, secret: bytes) -> bytes:
    """PKCS #1 v1.5 encryption with a DER key of 1024 bits and the exponent 65537."""
    assert key.endswith(b"\x02\x03\x01\x00\x01") and len(key) == 162, key.hex()
    modulus = int.from_bytes(key[-133:-5], "big")
    padded = b"\x00\x02" + b"\x5a" * (125 - len(secret)) + b"\x00" + secret
    return pow(int.from_bytes(padded, "big"), 65537, modulus).to_bytes(128, "big")
