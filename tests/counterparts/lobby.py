"""Servers behind Passage that say their names, players who are relayed to them, and what adapters counted."""

from prometheus_client.parser import text_string_to_metric_families

from passage import eventually
from test_admin import Administered
from wire import Target, handshake, login_start, read_packet, until_end

NO_TARGET = "No server is available right now"
UNAVAILABLE = "The search for a server failed"
# What the log says of a service that was away.
CHANGES = ["an adapter's service has begun to fail", "an adapter's service answers again"]


class Lobby(Target):
    """A server that says its name to everybody."""

    def __init__(self, name: str):
        def serve(stream):
            read_packet(stream)
            stream.sendall(name.encode())

        super().__init__(serve)
        self.name = name


def log_in(passage: Administered, name: str = "Alice", host: str = "play.example.net") -> str:
    """The name of the lobby that a player is relayed to, or what the disconnect message says."""
    with passage.connect(timeout=20) as client:
        client.sendall(handshake(host, 2) + login_start(name))
        said = until_end(client)
    return said.decode(errors="replace")


def adapter_errors(passage: Administered, kind: str, name: str = "discovery") -> dict[str, float]:
    """Failed requests of an adapter by `error_type`, those without any left out."""
    return {
        labels["error_type"]: value
        for labels, value in samples(passage, "passage_adapter_errors_total")
        if (labels["adapter_name"], labels["adapter_type"]) == (name, kind) and value
    }


def changes(passage: Administered, kind: str, count: int = 2) -> list[str]:
    """What the log says of an adapter, once it says as much: lines are written beside the work."""

    def told():
        return [record["message"] for record in passage.records() if record.get("adapter_type") == kind]

    eventually(lambda: len(told()) >= count, message=f"the log does not tell {count} changes")
    return told()


def adapter_requests(passage: Administered, kind: str, name: str = "discovery") -> float:
    """Requests of an adapter, failed ones included."""
    return sum(
        value
        for labels, value in samples(passage, "passage_adapter_requests_total")
        if (labels["adapter_name"], labels["adapter_type"]) == (name, kind)
    )


def samples(passage: Administered, name: str):
    """Label sets of a metric with their values."""
    status, text = passage.page("/metrics")
    assert status == 200, text
    for family in text_string_to_metric_families(text):
        yield from ((sample.labels, sample.value) for sample in family.samples if sample.name == name)
