"""SIGTERM: the listener closes, who is in may finish, relays run until the deadline, the exit code is 0."""

import socket
import threading
import time

import pytest

from passage import Passage, eventually
from test_proxy_protocol import relay
from wire import Target, echo, exactly, handshake, login_start, until_end

LOGIN = handshake("play.example.net", 2) + login_start("Alice")


def is_refused(passage) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(passage.address) != 0


def open_relay(passage):
    client = passage.connect()
    client.sendall(LOGIN)
    assert exactly(client, len(LOGIN)) == LOGIN
    return client


def test_a_relay_runs_on_and_ends_the_process_with_it():
    with Target(echo) as target, Passage(relay(target.port, None)) as passage:
        with open_relay(passage) as client:
            passage.terminate()
            eventually(lambda: is_refused(passage), message="new connections were not refused")
            for number in range(20):
                client.sendall(bytes([number]) * 1000)
                assert exactly(client, 1000) == bytes([number]) * 1000
            assert passage.is_alive()
        assert passage.wait() == 0


def test_the_deadline_cuts_a_relay_that_stays():
    config = relay(0, None) + "\n[limits]\ndrain = 1\n"
    with Target(echo) as target:
        with Passage(config.replace("127.0.0.1:0", f"127.0.0.1:{target.port}")) as passage:
            with open_relay(passage) as client:
                began = time.monotonic()
                passage.terminate()
                assert passage.wait() == 0
                assert time.monotonic() - began >= 0.9, "the relay was cut before its deadline"
                assert until_end(client) == b""


def test_a_login_in_flight_is_served():
    with Target(echo) as target, Passage(relay(target.port, None)) as passage:
        with passage.connect() as client:
            started = len(handshake("play.example.net", 2)) + 3
            client.sendall(LOGIN[:started])
            time.sleep(0.2)  # until the connection is accepted and its handshake is read
            passage.terminate()
            eventually(lambda: is_refused(passage), message="new connections were not refused")
            client.sendall(LOGIN[started:])
            assert exactly(client, len(LOGIN)) == LOGIN
        assert passage.wait() == 0


@pytest.mark.parametrize("signal_twice", [False, True])
def test_an_idle_process_ends_at_once(signal_twice):
    with Passage() as passage:
        passage.terminate()
        if signal_twice:
            passage.terminate()
        assert passage.wait() == 0


def test_a_second_signal_cuts_a_relay_at_once_but_a_burst_is_one_signal():
    with Target(echo) as target, Passage(relay(target.port, None)) as passage:
        with open_relay(passage) as client:
            for _ in range(3):
                passage.terminate()
            time.sleep(1)
            client.sendall(b"still here")
            assert exactly(client, 10) == b"still here"
            passage.terminate()
            assert passage.wait() == 130


class Hung:
    """Whatever is sent to it: it accepts every connection, and never answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked: set[str] = set()
        self.held: list[socket.socket] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.held.append(connection)
            self.asked.add(connection.recv(200).split(b" ")[1].decode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for connection in self.held:
            connection.close()


@pytest.mark.parametrize("signals", [1, 2])
def test_receivers_that_hang_hold_up_no_exit(signals):
    with Hung() as hung, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = relay(closed.getsockname()[1], None)
        config = f"""{gone}
[otel]
metrics_endpoint = "http://127.0.0.1:{hung.port}/v1/metrics"
traces_endpoint = "http://127.0.0.1:{hung.port}/v1/traces"
logs_endpoint = "http://127.0.0.1:{hung.port}/v1/logs"
[sentry]
address = "http://key@127.0.0.1:{hung.port}/1"
"""
        with Passage(config) as passage:
            with passage.connect() as client:
                client.sendall(LOGIN)
                assert until_end(client), "the player was not told"
            paths = {"/v1/metrics", "/v1/traces", "/v1/logs", "/api/1/envelope/"}
            eventually(lambda: hung.asked == paths, 20, "not every signal has a post under way")
            passage.terminate()
            if signals == 2:
                time.sleep(1)  # until nobody is left, and only the receivers are waited for
                assert passage.is_alive()
                passage.terminate()
            # 5 s are the bound of the exit, 10 s that of a post; a second signal ends the process at once.
            assert passage.wait(9) == (0 if signals == 1 else 130)


def test_who_has_not_said_what_it_wants_is_sent_away():
    with Passage() as passage, passage.connect() as client:
        client.sendall(LOGIN[:5])
        time.sleep(0.2)
        passage.terminate()
        assert until_end(client) == b""
        assert passage.wait() == 0
