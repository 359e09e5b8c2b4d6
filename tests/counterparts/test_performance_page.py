"""The page of figures says what the results file has, and says plainly what is missed or missing."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benches" / "peers"
sys.path.insert(0, str(PEERS))

import page  # noqa: E402
from results import Results  # noqa: E402


def duel(workload: str, peer: str | None, ratio: float) -> dict:
    """As the load generator writes it, with one ratio for everything."""
    ratios = {
        name: ratio for name in ("cpu_ratio", "throughput_ratio", "p50_ratio", "p99_ratio", "p999_ratio")
    }
    figures = {
        page.CPU: 40.0 * ratio,
        "units_per_second": 1000.0,
        "p50_microseconds": 100.0,
        "p99_microseconds": 200.0,
        "p999_microseconds": 300.0,
        page.MEMORY: 500.0 if workload == "idle" else None,
    }
    median = ratios | {"passage": figures, "peer": figures if peer else None}
    return {"workload": workload, "peer": peer, "unit": "ping", "rounds": [], "median": median}


def measured(path: Path, *duels: dict) -> Path:
    machine = {"cpu": "A processor", "cores": 2, "kernel": "6.1"}
    about = {"version": "0.1.0", "machine": machine, "rounds": 3, "duration_seconds": 1.0}
    path.write_text(json.dumps(about | {"duels": list(duels)}))
    return path


def test_the_tables_are_those_of_the_results():
    text = (ROOT / "docs" / "performance.md").read_text()
    assert page.write(text, Results(PEERS / "results.json"), "") == text


def test_a_target_is_met_missed_or_not_measured(tmp_path):
    results = Results(
        measured(tmp_path / "results.json", duel("status-64", "epoll", 1.2), duel("login", None, 1.0))
    )
    rows = {target.what: target.row(results)[2:] for target in page.targets()}
    assert rows["status, 64 at once: CPU a ping"] == ["48.0 µs", "**no**"]
    assert rows["login of a new player: CPU"] == ["40.0 µs", "yes"]
    assert rows["status, 3 000 a second: p99"] == ["not measured", "–"]


def test_merging_replaces_the_same_pair_and_keeps_the_others(tmp_path):
    results = Results(
        measured(tmp_path / "results.json", duel("churn", "ring", 1.0), duel("churn", "nginx", 0.9))
    )
    results.merge(measured(tmp_path / "new.json", duel("churn", "ring", 1.1)))
    results.save()
    again = Results(results.path)
    assert again.ratio("churn", "ring", "cpu_ratio") == 1.1
    assert again.ratio("churn", "nginx", "cpu_ratio") == 0.9


def test_a_file_without_a_ratio_is_refused(tmp_path):
    broken = duel("churn", "ring", 1.0)
    del broken["median"]["p99_ratio"]
    with pytest.raises(SystemExit, match="churn against ring lacks p99_ratio"):
        Results(tmp_path / "results.json").merge(measured(tmp_path / "new.json", broken))


def test_a_page_without_its_markers_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="0 places for <!-- measured: machine -->"):
        page.write("# Performance\n", Results(tmp_path / "results.json"), "")
