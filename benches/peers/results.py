"""The results of duels: reading, merging, looking up."""

import json
from pathlib import Path

RATIOS = ("cpu_ratio", "throughput_ratio", "p50_ratio", "p99_ratio", "p999_ratio")


class Results:
    """All duels that were measured, by workload and peer."""

    def __init__(self, path: Path):
        self.document = {"version": None, "machine": {}, "rounds": 0, "duration_seconds": 0, "duels": []}
        if path.exists():
            self.document = json.loads(path.read_text())
        self.path = path

    def merge(self, path: Path) -> None:
        """Adds the duels of a file that the load generator wrote; they replace those of the same pair."""
        added = json.loads(path.read_text())
        for duel in added["duels"]:
            missing = [ratio for ratio in RATIOS if ratio not in duel["median"]]
            if missing:
                raise SystemExit(
                    f"{path}: {duel['workload']} against {duel['peer']} lacks {', '.join(missing)}"
                )
        pairs = {(duel["workload"], duel["peer"]) for duel in added["duels"]}
        kept = [duel for duel in self.document["duels"] if (duel["workload"], duel["peer"]) not in pairs]
        about = {key: added.get(key) for key in ("version", "machine", "rounds", "duration_seconds")}
        self.document.update(about, duels=kept + added["duels"])

    def save(self) -> None:
        self.path.write_text(json.dumps(self.document, indent=1) + "\n")

    @property
    def machine(self) -> dict:
        return self.document["machine"]

    def duel(self, workload: str, peer: str) -> dict | None:
        """The duel, if it was measured."""
        for duel in self.document["duels"]:
            if (duel["workload"], duel["peer"]) == (workload, peer):
                return duel
        return None

    def ratio(self, workload: str, peer: str, name: str) -> float | None:
        """Passage's figure divided by the peer's: the median over all rounds."""
        duel = self.duel(workload, peer)
        return duel["median"].get(name) if duel else None

    def figure(self, workload: str, side: str, name: str, peer: str | None = None) -> float | None:
        """The median of what one side was measured at; Passage's in the first duel that there is."""
        for duel in self.document["duels"]:
            if duel["workload"] == workload and peer in (None, duel["peer"]):
                value = duel["median"].get(side, {}).get(name)
                if value is not None:
                    return value
        return None

    def workloads(self, order: tuple[str, ...]) -> list[str]:
        """Those that were measured, in the order of the page; unknown ones last."""
        there = dict.fromkeys(duel["workload"] for duel in self.document["duels"])
        known = [workload for workload in order if workload in there]
        return known + [workload for workload in there if workload not in order]

    def peers(self, workload: str, order: tuple[str, ...]) -> list[str]:
        """Whom Passage was weighed against in a workload."""
        there = [duel["peer"] for duel in self.document["duels"] if duel["workload"] == workload]
        return sorted(there, key=lambda peer: order.index(peer) if peer in order else len(order))
