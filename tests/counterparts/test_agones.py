"""Agones discovery with a double of the Kubernetes API: up, slow, failing, without free servers, gone."""

import threading

from kubernetes import NEEDED, GameServer, Kubernetes
from lobby import CHANGES, NO_TARGET, UNAVAILABLE, Lobby, adapter_errors, adapter_requests, changes, log_in
from passage import eventually
from test_admin import Administered

pytestmark = NEEDED

# Passage waits this long for a game server, and a slow API server takes longer.
TIMEOUT = 2
DELAY = 6.0


def relay(access: str, more: str = "") -> str:
    return f"""
[[routes]]
hostname = "*"
mode = "relay"
[routes.discovery]
type = "agones"
port = "minecraft"
timeout = {TIMEOUT}
breaker_failures = 0
selectors = [{{ matchLabels = {{ "agones.dev/fleet" = "lobby" }} }}]
{access}
[routes.discovery.metadata.labels]
version = "{{{{ .Client.ProtocolVersion }}}}"
host = "{{{{ .Client.ServerAddress }}}}"
port = "{{{{ .Client.ServerPort }}}}"
client = "{{{{ .Client.Address }}}}"
trace = "{{{{ .Request.TraceId }}}}"
[routes.discovery.metadata.annotations]
"example.net/player" = "{{{{ .Player.Name }}}} logs in"
{more}
"""


def by_kubeconfig(cluster: Kubernetes, more: str = "") -> str:
    return relay(f'kubeconfig = "{cluster.kubeconfig()}"\ncontext = "games"', more)


def told(passage: Administered, text: str) -> bool:
    """Whether the log tells of such a problem, soon: lines are written beside the work."""

    def is_told() -> bool:
        return any(text in record.get("problem", "") for record in passage.records())

    return eventually(is_told, message=f"the log does not tell {text!r}")


def test_every_player_has_a_game_server_that_is_marked_with_the_player():
    with (
        Lobby("A") as a,
        Lobby("B") as b,
        Kubernetes(GameServer("a", a.port), GameServer("b", b.port)) as cluster,
    ):
        with Administered(by_kubeconfig(cluster)) as passage:
            assert log_in(passage, "Alice") == "A"
            assert log_in(passage, "Bob", "Hub_1.example.net.") == "B"
            assert NO_TARGET in log_in(passage, "Carol")
            eventually(lambda: adapter_requests(passage, "agones") == 3)
            assert not adapter_errors(passage, "agones"), "that there is no game server is an answer"
        alice, bob = cluster.game_servers
        assert alice.labels | {"trace": ""} == {
            "agones.dev/fleet": "lobby",
            "version": "767",
            "host": "play.example.net",
            "port": "25565",
            "client": "127.0.0.1",
            "trace": "",
        }
        assert bob.labels["host"] == "hub_1.example.net"
        assert bob.annotations == {"example.net/player": "Bob logs in"}
        assert not cluster.rejected


def test_a_pod_uses_its_service_account():
    with Lobby("A") as a, Kubernetes(GameServer("a", a.port)) as cluster:
        config = relay(f'service_account = "{cluster.service_account()}"')
        pod = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
        with Administered(config, environment=pod) as passage:
            assert log_in(passage) == "A"


def test_waits_for_a_game_server_to_become_free():
    with Lobby("A") as a, Kubernetes() as cluster, Administered(by_kubeconfig(cluster)) as passage:
        cluster.contentions = 1
        later = threading.Timer(1, lambda: cluster.game_servers.append(GameServer("a", a.port)))
        later.start()
        assert log_in(passage) == "A"
        later.join()
        assert len(cluster.allocations) >= 3, "one in contention, one without a server, one with"
        assert not adapter_errors(passage, "agones")


def test_an_answer_that_is_lost_is_not_asked_for_again():
    with Lobby("A") as a, Kubernetes(GameServer("a", a.port)) as cluster:
        with Administered(by_kubeconfig(cluster)) as passage:
            cluster.fault = DELAY
            assert UNAVAILABLE in log_in(passage)
            eventually(lambda: adapter_errors(passage, "agones") == {"timed_out": 1})
            cluster.fault = 500
            assert UNAVAILABLE in log_in(passage)
            eventually(lambda: adapter_errors(passage, "agones") == {"timed_out": 1, "failed": 1})
            assert len(cluster.allocations) == 2, "one attempt a player: more would lose game servers"
            cluster.fault = None
            cluster.game_servers.append(GameServer("again", a.port))
            assert log_in(passage) == "A"


def test_a_cluster_that_is_gone_is_used_again_when_it_is_back():
    with Lobby("A") as a, Kubernetes(GameServer("a", a.port)) as cluster:
        with Administered(by_kubeconfig(cluster)) as passage:
            assert log_in(passage) == "A"
            cluster.stop()
            assert UNAVAILABLE in log_in(passage)
            eventually(lambda: adapter_errors(passage, "agones"))
            cluster.fault = None
            cluster.game_servers.append(GameServer("b", a.port))
            cluster.start()
            eventually(lambda: log_in(passage) == "A", message="the cluster is back, and nobody asked it")
            assert changes(passage, "agones") == CHANGES


def test_says_what_it_may_not_do():
    with Kubernetes() as cluster:
        config = relay(f'kubeconfig = "{cluster.kubeconfig()}"\ncontext = "games"\nnamespace = "x"')
        with Administered(config) as passage:
            assert UNAVAILABLE in log_in(passage)
            assert told(passage, "may not create gameserverallocations.allocation.agones.dev in x"), (
                passage.log()
            )


def test_credentials_that_are_refused_are_read_again():
    with Lobby("A") as a, Kubernetes(GameServer("a", a.port)) as cluster:
        config = by_kubeconfig(cluster)
        cluster.kubeconfig(token="expired")
        with Administered(config) as passage:
            assert UNAVAILABLE in log_in(passage)
            assert told(passage, "does not know these credentials")
            cluster.kubeconfig()
            assert log_in(passage) == "A"


def test_a_server_of_another_authority_is_not_told_the_token():
    with Kubernetes() as cluster, Kubernetes() as other:
        config = by_kubeconfig(cluster)
        path = cluster.kubeconfig()
        path.write_text(path.read_text().replace(f":{cluster.port}", f":{other.port}"))
        with Administered(config) as passage:
            assert UNAVAILABLE in log_in(passage)
            assert told(passage, "certificate"), passage.log()
        assert not other.allocations and not other.rejected
