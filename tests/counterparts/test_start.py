"""Starts that go wrong: every problem at once, with the place and the way out, and never a secret."""

import subprocess
from pathlib import Path

from passage import BINARY, Passage, ping_with


def run(config: str, folder: Path, *arguments: str, environment: dict[str, str] | None = None):
    """Runs Passage to its end; fails if it does not come soon."""
    path = folder / "passage.toml"
    path.write_text(config)
    return subprocess.run(
        [BINARY, "--config", str(path), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        env=environment or {},
    )


def test_every_mistake_is_reported_at_once_with_its_line(tmp_path):
    config = 'adress = "0.0.0.0:25565"\ntimeout = -1\n[limits]\nhandshake = "long"\n[status]\ntype = "fxed"\n'
    for arguments in ([], ["check"]):
        ended = run(config, tmp_path, *arguments)
        said = ended.stdout + ended.stderr
        assert ended.returncode == 78, said
        for line, key in [(1, "adress"), (2, "timeout"), (4, "limits.handshake"), (6, "status.type")]:
            assert f"passage.toml:{line}" in said and key in said, said
        assert "did you mean address" in said, said


def test_a_taken_port_is_named(tmp_path):
    with Passage() as passage:
        ended = run(f'address = "127.0.0.1:{passage.port}"\n', tmp_path)
        said = ended.stdout + ended.stderr
        assert ended.returncode not in (0, 78), said
        assert str(passage.port) in said and "panicked" not in said, said


def test_a_weak_secret_is_refused_and_never_shown(tmp_path):
    secret = "hunter2hunter2"
    written = run(f'auth_secret = "{secret}"\n', tmp_path)
    by_variable = run("", tmp_path, environment={"PASSAGE_AUTH_SECRET": secret})
    (tmp_path / "secret").write_text(f"  {secret}\n")
    by_file = run("", tmp_path, environment={"AUTH_SECRET_FILE": str(tmp_path / "secret")})
    for ended in (written, by_variable, by_file):
        said = ended.stdout + ended.stderr
        assert ended.returncode == 78, said
        assert "auth_secret" in said.lower() and "16" in said, said
        assert secret not in said, said


def test_a_good_secret_is_never_shown_either():
    secret = "a secret that nobody may read"
    settings = (
        '[otel]\nmetrics_endpoint = "http://127.0.0.1:9/v1/metrics"\nmetrics_token = "c2VjcmV0OnRva2Vu"\n'
    )
    variables = {"PASSAGE_AUTH_SECRET": secret, "RUST_LOG": "trace"}
    with Passage(settings, environment=variables) as passage:
        assert ping_with(passage)
        assert secret not in passage.log()
        assert "c2VjcmV0OnRva2Vu" not in passage.log()


def test_a_variable_stands_above_the_file():
    with Passage('[status]\nname = "file"\n', environment={"PASSAGE_STATUS_NAME": "variable"}) as passage:
        assert ping_with(passage)["version"]["name"] == "variable"


def test_every_log_line_is_an_object_of_the_guides_shape():
    with Passage() as passage:
        ping_with(passage)
        passage.terminate()
        assert passage.wait() == 0
        assert len(passage.records()) == len(passage.lines), passage.log()
        for record in passage.records():
            assert {"timestamp", "level", "target", "message"} <= record.keys(), record
