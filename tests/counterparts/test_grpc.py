"""Services over gRPC, up, slow, failing, gone and back: what players see, and what is counted."""

import pytest
from mcstatus import JavaServer
from prometheus_client.parser import text_string_to_metric_families

from passage import eventually
from player import HOST, PROTOCOL, log_in, log_in_together, needs_node
from services import NAMES, PLAYER_ID, Services, messages
from test_admin import Administered

TABLES = {
    "status": "[status]",
    "authentication": "[authentication]",
    "discovery": "[discovery]",
    "discovery_action": "[[discovery.actions]]",
    "strategy": "[strategy]",
    "localization": "[localization]",
}
# Name, mode of the service, what the player reads, what is counted.
FAULTS = [
    ("authentication", "slow", "disconnect_authentication_timeout", "timed_out"),
    ("authentication", "failing", "disconnect_authentication_unavailable", "failed"),
    ("authentication", "busy", "disconnect_authentication_busy", "rate_limited"),
    ("authentication", "gone", "disconnect_authentication_unavailable", "unreachable"),
] + [
    (name, mode, "disconnect_discovery_unavailable", error)
    for name in ("discovery", "discovery_action", "strategy")
    for mode, error in (
        ("slow", "timed_out"),
        ("failing", "failed"),
        ("busy", "rate_limited"),
        ("gone", "unreachable"),
    )
]


def config(services: Services, other: dict[str, Services] | None = None) -> str:
    """All six adapters ask `services`, but for those that `other` names. Every question is asked once."""
    text = ""
    for name in NAMES:
        address = (other or {}).get(name, services).address
        bounds = "timeout = 1\nretries = 0\nbreaker_failures = 0"
        keys = f'type = "grpc"\naddress = "{address}"\n{bounds}\n'
        if name == "status":
            keys += 'cache_duration = 1\n[status.offline]\ndescription = "offline"\n'
        text += f"{TABLES[name]}\n{keys}"
    return text


class Routed(Administered):
    def asked(self, name: str) -> int:
        """How many questions the adapter has asked."""
        return int(self._sum("passage_adapter_requests_total", name))

    def errors(self) -> dict[tuple[str, str], int]:
        """All errors of adapters, by name and type."""
        found = {}
        for labels, value in self._samples("passage_adapter_errors_total"):
            if value:
                assert labels["adapter_type"] == "grpc", labels
                found[labels["adapter_name"], labels["error_type"]] = int(value)
        return found

    def _sum(self, metric: str, name: str) -> float:
        found = self._samples(metric)
        wanted = {"adapter_name": name, "adapter_type": "grpc"}
        return sum(value for labels, value in found if wanted.items() <= labels.items())

    def _samples(self, metric: str) -> list[tuple[dict, float]]:
        status, text = self.page("/metrics")
        assert status == 200, text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return [(sample.labels, sample.value) for sample in samples if sample.name == metric]

    def log_lines(self, words: str) -> int:
        return sum(words in line for line in list(self.lines))


def description(passage: Routed) -> str:
    return JavaServer("127.0.0.1", passage.port, timeout=10).status().motd.to_plain()


@pytest.fixture
def services():
    with Services() as running:
        yield running


@pytest.fixture
def sick():
    """Services of which one is about to break."""
    with Services() as running:
        yield running


@needs_node
def test_a_player_goes_where_the_services_say(services):
    with Routed(config(services)) as passage:
        seen = log_in(passage.port)
        assert seen.reason is None
        assert seen.transfer == ("127.0.0.1", 1002), "the last one that the action has left"
        assert (seen.profile["name"], seen.profile["id"]) == ("Alice_ok", PLAYER_ID)
        textures = {"name": "textures", "value": "e30=", "signature": "c2ln"}
        assert seen.profile["properties"] == [textures]

        asked = ("authentication", "discovery", "discovery_action", "strategy")
        eventually(lambda: [passage.asked(name) for name in asked] == [1, 1, 1, 1])
        assert passage.errors() == {}
        assert passage.asked("localization") == 0

        [authentication] = services.questions["authentication"]
        assert authentication.client.client_address.hostname == "127.0.0.1"
        assert authentication.client.server_address.hostname == HOST
        assert authentication.client.server_address.port == passage.port
        assert authentication.client.protocol_version == PROTOCOL
        assert authentication.player.name == "Alice"
        assert len(authentication.shared_secret) == 16
        assert authentication.encoded_public.startswith(b"\x30"), "a DER sequence"
        [action] = services.questions["discovery_action"]
        assert (action.player.name, action.player.id) == ("Alice_ok", PLAYER_ID)
        [strategy] = services.questions["strategy"]
        assert (strategy.username, strategy.user_id) == ("Alice_ok", PLAYER_ID)
        assert [target.identifier for target in strategy.targets] == ["first", "second"]
        assert services.metadata["strategy"]["user-agent"].startswith("passage/")


@needs_node
def test_players_at_the_same_time_are_all_served(services):
    with Routed(config(services)) as passage:
        for seen in log_in_together(passage.port, [f"Player{index}" for index in range(12)]):
            assert seen.transfer == ("127.0.0.1", 1002), seen
        eventually(lambda: passage.asked("strategy") == 12)
        assert passage.errors() == {}


@needs_node
@pytest.mark.parametrize("name", ["authentication", "discovery_action"])
def test_a_service_turns_a_player_away_with_the_words_of_another_one(services, sick, name):
    sick.key = "you_are_banned"
    with Routed(config(services, {name: sick})) as passage:
        seen = log_in(passage.port)
        assert (seen.transfer, seen.reason) == (None, "service: you_are_banned")
        eventually(lambda: passage.errors() == {(name, "denied"): 1})
        assert services.questions["localization"][0].key == "you_are_banned"


@needs_node
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("discovery", messages("discovery").TargetsResponse()),
        ("strategy", messages("strategy").SelectResponse()),
    ],
)
def test_no_target_is_an_answer_too(services, sick, name, answer):
    sick.answers[name] = lambda question: answer
    with Routed(config(services, {name: sick})) as passage:
        seen = log_in(passage.port)
        assert (seen.transfer, seen.reason) == (None, "service: disconnect_no_target")
        eventually(lambda: passage.asked(name) == 1)
        assert {error for _, error in passage.errors()} <= {"denied"}


@needs_node
@pytest.mark.parametrize(("name", "mode", "key", "error"), FAULTS)
def test_a_player_reads_what_is_wrong_and_the_next_one_is_served(services, sick, name, mode, key, error):
    with Routed(config(services, {name: sick})) as passage:
        if mode == "gone":
            sick.stop()
        else:
            sick.mode[name] = mode
        seen = log_in(passage.port)
        assert (seen.transfer, seen.reason) == (None, f"service: {key}")
        eventually(lambda: passage.errors() == {(name, error): 1})
        assert passage.asked(name) == 1
        assert passage.log_lines("has begun to fail") == 1, passage.log()

        if mode == "gone":
            sick.start()
        sick.mode[name] = "up"
        # A service that was gone is not connected to again at once.
        eventually(lambda: log_in(passage.port).transfer == ("127.0.0.1", 1002), seconds=30)
        assert passage.log_lines("answers again") == 1, passage.log()


@needs_node
@pytest.mark.parametrize(
    ("mode", "error"),
    [("slow", "timed_out"), ("failing", "failed"), ("busy", "rate_limited"), ("gone", "unreachable")],
)
def test_words_of_our_own_stand_in_for_a_service_without_any(services, sick, mode, error):
    services.targets = []
    with Routed(config(services, {"localization": sick})) as passage:
        if mode == "gone":
            sick.stop()
        else:
            sick.mode["localization"] = mode
        seen = log_in(passage.port)
        assert seen.transfer is None
        assert seen.reason and "service:" not in seen.reason and "disconnect_" not in seen.reason, seen
        eventually(lambda: passage.errors().get(("localization", error)) == 1)

        if mode == "gone":
            sick.start()
        sick.mode["localization"] = "up"
        eventually(lambda: log_in(passage.port).reason == "service: disconnect_no_target", seconds=30)
        # The same words are not asked for again.
        asked = len(sick.questions["localization"])
        assert log_in(passage.port).reason == "service: disconnect_no_target"
        assert len(sick.questions["localization"]) == asked


def test_a_status_is_asked_for_once_and_shown_to_everybody(services):
    with Routed(config(services).replace("cache_duration = 1", "cache_duration = 60")) as passage:
        status = JavaServer("127.0.0.1", passage.port, timeout=10).status(version=767)
        assert status.motd.to_plain() == "for 767"
        assert (status.version.name, status.version.protocol) == ("Services", 767)
        assert (status.players.online, status.players.max) == (5, 50)
        assert [(player.name, player.id) for player in status.players.sample] == [("Alice", PLAYER_ID)]
        assert status.enforces_secure_chat is True
        for _ in range(50):
            assert description(passage)
        # One for each version that was shown: that of the first ping and mcstatus's own.
        versions = [question.protocol for question in services.questions["status"]]
        assert len(versions) == len(set(versions)) <= 2, versions
        eventually(lambda: passage.asked("status") == len(versions))
        assert passage.errors() == {}


@pytest.mark.parametrize(
    ("mode", "error"),
    [("slow", "timed_out"), ("failing", "failed"), ("busy", "rate_limited"), ("gone", "unreachable")],
)
def test_the_last_status_is_shown_while_the_service_is_down(sick, mode, error):
    with Routed(config(sick)) as passage:
        eventually(lambda: description(passage).startswith("for "))
        status = messages("status")
        news = status.StatusData(
            version=status.ProtocolVersion(name="new", protocol=1),
            players=status.Players(online=1, max=2),
            description="news",
        )
        sick.answers["status"] = lambda question: status.StatusResponse(status=news)
        if mode == "gone":
            sick.stop()
        else:
            sick.mode["status"] = mode
        # Pings bring about the questions.
        eventually(lambda: description(passage) and ("status", error) in passage.errors())
        assert set(passage.errors()) <= {("status", error)}
        assert description(passage).startswith("for ")

        if mode == "gone":
            sick.start()
        sick.mode["status"] = "up"
        eventually(lambda: description(passage) == "news", seconds=30)


def test_the_offline_status_is_shown_if_there_has_never_been_another(sick):
    text = config(sick)
    sick.stop()
    with Routed(text) as passage:
        assert description(passage) == "offline"
        eventually(lambda: passage.errors().keys() == {("status", "unreachable")})
        sick.start()
        eventually(lambda: description(passage).startswith("for "), seconds=30)
