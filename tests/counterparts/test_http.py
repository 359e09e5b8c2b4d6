"""Statuses and targets from a plain HTTP server, through the whole program: up, slow, failing, gone, back."""

import json
import threading

from mcstatus import JavaServer
from prometheus_client.parser import text_string_to_metric_families

from passage import eventually, ping_with
from test_admin import Administered
from web import Web
from wire import Target, echo, exactly, handshake, login_start, read_packet, until_end

LOGIN = handshake("play.example.net", 2) + login_start("Alice")
STEVE = {"name": "Steve", "id": "069a79f4-44e9-4726-a5be-fca90e38aaf5"}
STATUS = {
    "version": {"name": "Over HTTP", "protocol": 767},
    "players": {"max": 500, "online": 42, "sample": [STEVE]},
    "description": {"text": "from ", "extra": [{"text": "the web", "bold": True}]},
}


def status_config(web: Web, more: str = "") -> str:
    return f"""
[authentication]
type = "disabled"
[status]
type = "http"
address = "{web.url("/status")}"
token = "s3cret-of-the-status"
cache_duration = 1
timeout = 0.5
retries = 0
breaker_failures = 0
{more}
[status.offline]
name = "Offline"
description = "back soon"
"""


def targets_config(web: Web, more: str = "") -> str:
    return f"""
[[routes]]
hostname = "play.example.net"
mode = "relay"
authentication.type = "disabled"
[routes.discovery]
type = "http"
address = "{web.url("/targets")}"
refresh_interval = 1
timeout = 0.5
retries = 0
breaker_failures = 0
{more}
"""


def listed(*ports: int) -> dict:
    return {"targets": [{"identifier": f"at-{port}", "address": f"127.0.0.1:{port}"} for port in ports]}


def errors(passage: Administered, name: str, **labels: str) -> float:
    """How often one adapter of type `http` failed."""
    _, text = passage.page("/metrics")
    wanted = {"adapter_name": name, "adapter_type": "http"} | labels
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "passage_adapter_errors_total" and wanted.items() <= sample.labels.items()
    )


def served(passage: Administered) -> bool:
    """Whether a login reaches a target that echoes."""
    with passage.connect() as client:
        client.sendall(LOGIN)
        first = exactly(client, 1)
        return first == LOGIN[:1] and exactly(client, len(LOGIN) - 1) == LOGIN[1:]


def refusal(passage: Administered) -> str:
    """What a login reads that finds no target."""
    with passage.connect() as client:
        client.sendall(LOGIN)
        identifier, body = read_packet(client)
        assert identifier == 0, identifier
        until_end(client)
        return body.decode(errors="replace")


def test_mcstatus_reads_what_the_web_server_says():
    with Web({"/status": STATUS}) as web, Administered(status_config(web)) as passage:
        status = JavaServer("127.0.0.1", passage.port).status(version=767)
        assert (status.version.name, status.version.protocol) == ("Over HTTP", 767)
        assert (status.players.online, status.players.max) == (42, 500)
        assert [player.name for player in status.players.sample] == ["Steve"]
        assert status.motd.to_plain() == "from the web"
        assert web.headers[0]["authorization"] == "Bearer s3cret-of-the-status"
        assert "s3cret" not in passage.log()
        web.pages["/status"] = {"description": "plain"}
        eventually(lambda: ping_with(passage)["description"] in ("plain", {"text": "plain"}))
        assert ping_with(passage)["version"]["protocol"] == 767, "without a version everybody fits"
        assert "players" not in ping_with(passage)


def test_a_flood_of_pings_is_one_question_a_refresh():
    with Web({"/status": STATUS}) as web:
        web.max_age = 3600
        with Administered(status_config(web)) as passage:
            pings = 300

            def flood():
                for _ in range(pings // 10):
                    assert ping_with(passage)["players"]["online"] == 42

            threads = [threading.Thread(target=flood) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert web.asked("/status") == 1
            eventually(lambda: passage.totals()["passage_status_requests_total"] == pings)


def test_the_last_status_is_shown_while_the_web_server_fails_is_slow_or_gone():
    with Web({"/status": STATUS}) as web, Administered(status_config(web)) as passage:
        assert ping_with(passage)["players"]["online"] == 42

        def still_shown_after(change, error_type: str, more: int = 0):
            asked = web.asked("/status") if more else 0
            failed = errors(passage, "status", error_type=error_type)
            change()

            def noticed():
                assert ping_with(passage)["players"]["online"] == 42
                return errors(passage, "status", error_type=error_type) > failed

            # The service may be left alone for a while first.
            eventually(noticed, 40, f"no {error_type} was counted")
            assert web.asked("/status") >= asked + more

        still_shown_after(lambda: setattr(web, "failing", 503), "failed", 1)
        web.failing = None
        still_shown_after(lambda: setattr(web, "delay", 2.0), "timed_out")
        # Still slow, so that no connection is left over that is answered although nobody listens any more.
        still_shown_after(web.stop, "unreachable")
        web.delay = 0.0
        web.pages["/status"] = STATUS | {"players": {"max": 1, "online": 7}}
        web.start()
        eventually(lambda: ping_with(passage)["players"]["online"] == 7, 60, "it is back, but not shown")
        told = [line for line in passage.records() if "begun to fail" in line["message"]]
        assert 1 <= len(told) <= 4, "changes are told, not every failure"


def test_the_offline_status_is_shown_where_there_never_was_another():
    with Web({}) as web, Administered(status_config(web)) as passage:
        assert ping_with(passage)["version"]["name"] == "Offline"
        web.pages["/status"] = STATUS
        eventually(lambda: ping_with(passage)["version"]["name"] == "Over HTTP", 20)


def test_what_cannot_be_shown_is_left_out_and_named():
    page = STATUS | {"favicon": "https://example.net/icon.png"}
    with Web({"/status": page}) as web, Administered(status_config(web)) as passage:
        status = ping_with(passage)
        assert status["players"]["online"] == 42 and "favicon" not in status
        # Lines are written beside the work.
        eventually(lambda: any("favicon" in json.dumps(line) for line in passage.records()))


def test_logins_go_where_the_web_server_says_and_follow_it():
    with Target(echo) as one, Target(echo) as other, Web({"/targets": listed(one.port)}) as web:
        with Administered(targets_config(web)) as passage:
            assert served(passage), "the first answer was there before the first login"
            assert passage.totals()["passage_targets_discovered"] == 1
            web.pages["/targets"] = listed(one.port, other.port)
            eventually(lambda: passage.totals()["passage_targets_discovered"] == 2)
            web.pages["/targets"] = listed()
            eventually(lambda: passage.totals()["passage_targets_discovered"] == 0)
            assert "no" in refusal(passage).lower()
            web.pages["/targets"] = listed(other.port)
            eventually(lambda: passage.totals()["passage_targets_discovered"] == 1)
            assert served(passage)
            eventually(lambda: ("/targets", 304) in web.answers, 20, "no page was confirmed by its ETag")


def test_the_last_targets_serve_while_the_web_server_fails_lies_is_slow_or_gone():
    with Target(echo) as target, Web({"/targets": listed(target.port)}) as web:
        with Administered(targets_config(web)) as passage:

            def still_served_after(change, kind: str):
                def counted() -> float:
                    return errors(passage, "discovery", error_type=kind)

                before = counted()
                change()
                eventually(lambda: counted() > before, 40, f"no error {kind} was counted")
                assert served(passage)

            still_served_after(lambda: setattr(web, "failing", 500), "failed")
            web.failing = None
            nameless = {"targets": [{"address": "10.0.0.1"}]}
            still_served_after(lambda: web.pages.update({"/targets": nameless}), "failed")
            web.pages["/targets"] = listed(target.port)
            still_served_after(lambda: setattr(web, "delay", 2.0), "timed_out")
            web.delay = 0.0
            still_served_after(web.stop, "unreachable")
            web.start()
            with Target(echo) as other:
                web.pages["/targets"] = listed(target.port, other.port)
                eventually(lambda: passage.totals()["passage_targets_discovered"] == 2, 60)
                assert served(passage)


def test_without_a_first_answer_logins_are_refused_until_there_is_one():
    with Target(echo) as target, Web({}) as web, Administered(targets_config(web)) as passage:
        eventually(lambda: any("has not answered yet" in line["message"] for line in passage.records()))
        assert refusal(passage)
        web.pages["/targets"] = listed(target.port)
        eventually(lambda: passage.totals()["passage_targets_discovered"] == 1, 40)
        assert served(passage)
