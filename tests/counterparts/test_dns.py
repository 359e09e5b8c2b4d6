"""DNS discovery with Debian's dnsmasq: changing records, a server that is slow, fails, goes, comes back."""

from dnsmasq import NEEDED, ZONE, Dnsmasq, Front, srv
from lobby import (
    CHANGES,
    NO_TARGET,
    UNAVAILABLE,
    Lobby,
    adapter_errors,
    adapter_requests,
    changes,
    log_in,
    samples,
)
from passage import eventually
from test_admin import Administered

pytestmark = NEEDED

# Passage waits this long for an answer, and a slow one takes longer.
TIMEOUT = 0.5
DELAY = 2


def relay(port: int, discovery: str) -> str:
    return f"""
[[routes]]
hostname = "*"
mode = "relay"
[routes.discovery]
type = "dns"
resolver = "127.0.0.1:{port}"
refresh_interval = 1
timeout = {TIMEOUT}
retries = 0
breaker_failures = 0
{discovery}
"""


SRV = f'domain = "_minecraft._tcp.{ZONE}"'


def test_players_follow_srv_records_that_change():
    with Lobby("A") as a, Lobby("B") as b, Dnsmasq(srv(a.port, 1), srv(b.port, 2)) as dns:
        with Administered(relay(dns.port, SRV)) as passage:
            eventually(lambda: log_in(passage) == "A", message="nobody reached A")
            dns.serve(srv(a.port, 3), srv(b.port, 2))
            eventually(lambda: log_in(passage) == "B", message="nobody reached B")
            dns.serve(srv(a.port, 3))
            eventually(lambda: log_in(passage) == "A", message="B is gone, and nobody reached A")
            eventually(lambda: adapter_requests(passage, "dns") >= 3, message="questions are not counted")


def test_targets_stay_while_the_server_is_away_and_follow_it_when_it_is_back():
    with Lobby("A") as a, Lobby("B") as b, Dnsmasq(srv(a.port)) as dns:
        with Administered(relay(dns.port, SRV)) as passage:
            eventually(lambda: log_in(passage) == "A")
            dns.stop()
            failed = eventually(lambda: adapter_errors(passage, "dns"), message="nobody noticed")
            assert set(failed) <= {"timed_out", "unreachable"}, failed
            assert log_in(passage) == "A"
            dns.serve(srv(b.port))
            eventually(lambda: log_in(passage) == "B", message="the server is back, and nobody asked it")
            # Each change once, however often it was asked meanwhile.
            assert changes(passage, "dns") == CHANGES


def test_targets_stay_while_the_server_is_slow_or_fails():
    with Lobby("A") as a, Lobby("B") as b, Dnsmasq(srv(a.port)) as dns, Front(dns.port, DELAY) as front:
        with Administered(relay(front.port, SRV)) as passage:
            eventually(lambda: log_in(passage) == "A")
            for mode, error in [("slow", "timed_out"), ("servfail", "failed"), ("silent", "timed_out")]:
                before = adapter_errors(passage, "dns").get(error, 0)
                front.mode = mode
                eventually(lambda: adapter_errors(passage, "dns").get(error, 0) > before, message=mode)
                assert log_in(passage) == "A", mode
            front.mode = "pass"
            dns.serve(srv(b.port))
            eventually(lambda: log_in(passage) == "B")


def test_a_player_is_told_as_long_as_nobody_has_ever_answered():
    with Lobby("A") as a, Dnsmasq(srv(a.port)) as dns, Front(dns.port, DELAY) as front:
        front.mode = "servfail"
        with Administered(relay(front.port, SRV)) as passage:
            assert UNAVAILABLE in log_in(passage)
            front.mode = "pass"
            eventually(lambda: log_in(passage) == "A")


def test_a_name_that_has_lost_its_records_keeps_its_targets_for_a_moment_only():
    with Lobby("A") as a, Dnsmasq(srv(a.port)) as dns, Administered(relay(dns.port, SRV)) as passage:
        eventually(lambda: log_in(passage) == "A")
        dns.serve()
        missing = "the name has no records; its targets go if that stays so"
        eventually(lambda: any(record["message"] == missing for record in passage.records()))
        assert log_in(passage) == "A", "zones are empty for a moment while they are replaced"
        eventually(lambda: NO_TARGET in log_in(passage), seconds=40, message="the targets stayed")
        assert not adapter_errors(passage, "dns").get("failed"), "an answer is no failure"
        dns.serve(srv(a.port))
        eventually(lambda: log_in(passage) == "A")


def discovered(passage: Administered) -> list[float]:
    """How many targets there are, as the gauge says."""
    return [value for _, value in samples(passage, "passage_targets_discovered")]


def test_addresses_are_targets_with_one_port():
    with Lobby("A") as a, Dnsmasq(f"--host-record={ZONE},127.0.0.1") as dns:
        discovery = f'domain = "{ZONE}"\nrecord = ["a", "aaaa"]\nport = {a.port}'
        with Administered(relay(dns.port, discovery)) as passage:
            eventually(lambda: log_in(passage) == "A")
            assert eventually(lambda: discovered(passage)) == [1]
            dns.serve(f"--host-record={ZONE},127.0.0.1", f"--host-record={ZONE},::1")
            eventually(lambda: discovered(passage) == [2], message="the IPv6 address is no target")


def test_as_upstream_writes_it():
    with Lobby("A") as a, Dnsmasq(f"--host-record={ZONE},127.0.0.1") as dns:
        discovery = f'domain = "{ZONE}"\nrecord_type = "a"\nport = {a.port}'
        config = relay(dns.port, discovery).replace('"dns"', '"dns_discovery"')
        with Administered(config) as passage:
            eventually(lambda: log_in(passage) == "A")


def test_more_records_than_a_datagram_holds_come_over_tcp():
    with Lobby("A") as a:
        spare = [srv(1, 9, 0, f"a-server-with-a-rather-long-name-{n}.{ZONE}") for n in range(100)]
        with Dnsmasq(srv(a.port, 1), *spare) as dns, Administered(relay(dns.port, SRV)) as passage:
            eventually(lambda: log_in(passage) == "A")
            eventually(lambda: discovered(passage) == [101], message="some of 101 targets are missing")
