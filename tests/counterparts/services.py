"""The six services of the gRPC contract, built with grpcio from the .proto files, as their authors do it."""

import importlib
import json
import sys
import tempfile
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "src" / "adapters" / "grpc" / "proto"
NAMES = ("status", "authentication", "discovery", "discovery_action", "strategy", "localization")
PLAYER_ID = "11111111-2222-4333-8444-555555555555"
# Longer than any deadline of a test; a call that is given up ends sooner.
SLOW_SECONDS = 60


def compiled() -> dict[str, tuple]:
    """The messages and the gRPC classes of every service, compiled from the .proto files of this checkout."""
    folder = tempfile.mkdtemp(prefix="contract-")
    files = [f"adapter/{path.name}" for path in sorted((PROTO / "adapter").glob("*.proto"))]
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(arguments + files) == 0, "the .proto files do not compile"
    sys.path.insert(0, folder)
    modules = ("pb2", "pb2_grpc")
    return {
        name: tuple(importlib.import_module(f"adapter.{name}_{module}") for module in modules)
        for name in NAMES
    }


CONTRACT = compiled()
COMMON = importlib.import_module("adapter.adapter_pb2")


def messages(service: str):
    return CONTRACT[service][0]


def target(identifier: str, port: int, **meta: str):
    return COMMON.Target(
        identifier=identifier,
        address=COMMON.Address(hostname="127.0.0.1", port=port),
        meta=[COMMON.MetaEntry(key=key, value=value) for key, value in meta.items()],
    )


class Services:
    """A server with all six services. `answers[name]` is called with every question.

    `mode[name]` says how that goes: `up`, `slow` (no answer before the deadline), `failing` (INTERNAL),
    `busy` (RESOURCE_EXHAUSTED).
    """

    def __init__(self):
        self.answers = {
            "status": self._status,
            "authentication": self._profile,
            "discovery": lambda question: messages("discovery").TargetsResponse(targets=self.targets),
            "discovery_action": self._left,
            "strategy": lambda question: messages("strategy").SelectResponse(target=question.targets[-1]),
            "localization": self._words,
        }
        self.mode = dict.fromkeys(NAMES, "up")
        self.questions: dict[str, list] = {name: [] for name in NAMES}
        self.metadata: dict[str, dict[str, str]] = {}
        self.targets = [target("first", 1001), target("second", 1002), target("third", 1003, hidden="yes")]
        self.key = None
        self.port = 0
        self.server = None
        self._stopping = threading.Event()
        self.start()

    @staticmethod
    def _status(question):
        status = messages("status")
        alice = status.PlayerEntry(name="Alice", id=PLAYER_ID)
        return status.StatusResponse(
            status=status.StatusData(
                version=status.ProtocolVersion(name="Services", protocol=question.protocol),
                players=status.Players(online=5, max=50, samples=[alice]),
                description=json.dumps({"text": f"for {question.protocol}", "color": "gold"}),
                enforces_secure_chat=True,
            )
        )

    def _profile(self, question):
        if self.key:
            return messages("authentication").AuthenticationResponse(key=self.key)
        profile = COMMON.Profile(id=PLAYER_ID, name=f"{question.player.name}_ok")
        profile.properties.add(name="textures", value="e30=", signature="c2ln")
        return messages("authentication").AuthenticationResponse(profile=profile)

    def _left(self, question):
        action = messages("discovery_action")
        if self.key:
            return action.ApplyResponse(key=self.key)
        hidden = COMMON.MetaEntry(key="hidden", value="yes")
        left = [one for one in question.targets if hidden not in one.meta]
        return action.ApplyResponse(targets=action.Targets(targets=left))

    @staticmethod
    def _words(question):
        message = json.dumps({"text": f"service: {question.key}", "color": "red"})
        return messages("localization").LocalizationResponse(message=message)

    def _answer(self, name: str):
        def answer(question, context):
            self.questions[name].append(question)
            self.metadata[name] = {key: value for key, value in context.invocation_metadata()}
            match self.mode[name]:
                case "slow":
                    deadline = time.monotonic() + SLOW_SECONDS
                    while context.is_active() and time.monotonic() < deadline:
                        if self._stopping.wait(0.02):
                            break
                case "failing":
                    context.abort(grpc.StatusCode.INTERNAL, f"{name} is broken")
                case "busy":
                    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{name} is busy")
            return self.answers[name](question)

        return answer

    def start(self):
        """Listens, at the same port as before if there was one."""
        assert self.server is None
        self._stopping.clear()
        server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        for name, (pb2, pb2_grpc) in CONTRACT.items():
            for service in pb2.DESCRIPTOR.services_by_name.values():
                methods = {method.name: staticmethod(self._answer(name)) for method in service.methods}
                servicer = type(service.name, (getattr(pb2_grpc, f"{service.name}Servicer"),), methods)
                getattr(pb2_grpc, f"add_{service.name}Servicer_to_server")(servicer(), server)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
                break
            except RuntimeError:
                # The connections of the server before may still be closing.
                assert time.monotonic() < deadline, f"port {self.port} does not become free"
                time.sleep(0.05)
        server.start()
        self.server = server

    def stop(self):
        """Closes the port and every connection."""
        if self.server is not None:
            self._stopping.set()
            self.server.stop(grace=None).wait(10)
            self.server = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
