"""The tables of docs/performance.md, made from results and put between their markers."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from results import Results

WORKLOADS = {
    "bulk-1": "1 stream to the client",
    "bulk-4": "4 streams to the client",
    "bulk-16": "16 streams to the client",
    "bulk-up-1": "1 stream to the target",
    "messages-1": "ping-pong, 1 connection",
    "messages-100": "ping-pong, 100 connections",
    "messages-2000": "ping-pong, 2 000 connections",
    "messages-8000": "ping-pong, 8 000 connections",
    "players-1000": "1 000 players",
    "churn": "connect, echo, close; 64 at once",
    "status-64": "pings, 64 at once",
    "status-512": "pings, 512 at once",
    "status-open": "pings, 3 000 a second",
    "login": "new players, 64 at once",
    "transfer": "returning players, 64 at once",
    "mixed": "ping-pong beside 2 000 pings a second",
}
PEERS = {
    "haproxy": "HAProxy",
    "haproxy-64k": "HAProxy, 64 KiB buffers",
    "haproxy-splice": "HAProxy, splice",
    "nginx": "nginx",
    "nginx-64k": "nginx, 64 KiB buffers",
    "epoll": "bare epoll loop",
    "ring": "bare io_uring",
    "engine": "Passage's engine alone",
    "undisturbed": "Passage without the pings",
}
CPU = "cpu_microseconds_per_unit"
MEMORY = "user_bytes_per_connection"
# How a table says that there is no figure.
NOTHING = ("–", "– / –")


@dataclass
class Target:
    """What was asked for: a figure of Passage, or its ratio to a peer's, and the most that it may be."""

    what: str
    workload: str
    name: str
    most: float
    peer: str | None = None
    unit: str = ""

    def row(self, results: Results) -> list[str]:
        value = self.value(results)
        asked = f"≤ {self.most:g} {self.unit}" if self.unit else f"≤ {self.most:.2f} × {PEERS[self.peer]}"
        if value is None:
            return [self.what, asked, "not measured", "–"]
        found = f"{figure(value)} {self.unit}" if self.unit else f"{value:.2f}"
        return [self.what, asked, found, "yes" if value <= self.most else "**no**"]

    def value(self, results: Results) -> float | None:
        if self.peer is None:
            return results.figure(self.workload, "passage", self.name)
        return results.ratio(self.workload, self.peer, self.name)


def targets() -> list[Target]:
    """All of them, in the order of the page."""
    found = [
        Target("status, 64 at once: CPU a ping", "status-64", CPU, 45, unit="µs"),
        Target("status, 3 000 a second: p99", "status-open", "p99_ratio", 1.1, "epoll"),
        Target("login of a new player: CPU", "login", CPU, 420, unit="µs"),
    ]
    for workload in ("messages-100", "messages-2000", "messages-8000"):
        what = WORKLOADS[workload]
        found.append(Target(f"{what}: CPU a message", workload, "cpu_ratio", 0.75, "haproxy"))
        found.append(Target(f"{what}: p99.9", workload, "p999_ratio", 1, "haproxy"))
    found.append(Target("1 000 players: CPU a message", "players-1000", "cpu_ratio", 0.8, "haproxy"))
    found.append(Target("1 000 players: CPU a message", "players-1000", "cpu_ratio", 1, "nginx"))
    for name, ratio in (("p50", "p50_ratio"), ("p99", "p99_ratio"), ("p99.9", "p999_ratio")):
        for peer in ("haproxy", "nginx"):
            found.append(Target(f"1 000 players: {name}", "players-1000", ratio, 1, peer))
    for workload in ("bulk-1", "bulk-4", "bulk-16"):
        for peer, most in (("haproxy", 0.5), ("haproxy-64k", 1), ("nginx-64k", 1)):
            found.append(Target(f"{WORKLOADS[workload]}: CPU a MiB", workload, "cpu_ratio", most, peer))
    found.append(Target("idle relay: memory of the process", "idle", MEMORY, 2048, unit="bytes"))
    found.append(
        Target("ping-pong beside 2 000 pings a second: p99.9", "mixed", "p999_ratio", 1.2, "undisturbed")
    )
    return found


def target_table(results: Results) -> str:
    rows = [target.row(results) for target in targets()]
    met = sum(row[3] == "yes" for row in rows)
    return table("| target | asked | measured | met |\n| --- | --- | ---: | --- |", rows) + (
        f"\n\n{met} of {len(rows)} are met."
    )


def duel_table(results: Results, workloads: Callable[[str], bool]) -> str:
    """A row for each workload and peer: both sides' figures, then Passage's divided by the peer's."""
    figures = {
        CPU: "CPU µs a unit",
        "units_per_second": "units a second",
        "p50_microseconds": "p50 µs",
        "p999_microseconds": "p99.9 µs",
    }
    ratios = {
        "cpu_ratio": "CPU",
        "throughput_ratio": "rate",
        "p50_ratio": "p50",
        "p99_ratio": "p99",
        "p999_ratio": "p99.9",
    }
    rows = []
    for workload in filter(workloads, results.workloads(tuple(WORKLOADS))):
        for peer in results.peers(workload, tuple(PEERS)):
            duel = results.duel(workload, peer)
            median = duel["median"]
            row = {
                "workload": WORKLOADS.get(workload, workload),
                "peer": PEERS.get(peer, peer),
                "unit": duel["unit"],
            }
            row |= {title: pair(median["passage"], median["peer"], key) for key, title in figures.items()}
            row |= {title: ratio(median[key]) for key, title in ratios.items()}
            rows.append(row)
    # Streams have no latency.
    titles = [
        title for title in (rows[0] if rows else ()) if any(row[title] not in NOTHING for row in rows)
    ]
    head = f"| {' | '.join(titles)} |\n| --- | --- | --- |" + " ---: |" * (len(titles) - 3)
    return table(head, [[row[title] for title in titles] for row in rows])


def alone_table(results: Results) -> str:
    """What Passage does without anybody to compare it with."""
    rows = []
    for workload in ("login", "transfer"):
        values = [
            results.figure(workload, "passage", key)
            for key in (CPU, "units_per_second", "p50_microseconds", "p99_microseconds")
        ]
        if values[0] is not None:
            rows.append([WORKLOADS[workload], *(figure(value) for value in values)])
    return table(
        "| workload | CPU µs a login | logins a second | p50 µs | p99 µs |\n| --- |" + " ---: |" * 4, rows
    )


def memory_table(results: Results) -> str:
    rows = []
    for duel in results.document["duels"]:
        if not duel["workload"].startswith("idle"):
            continue
        passage, peer = duel["median"]["passage"], duel["median"]["peer"] or {}
        if not rows:
            rows.append(["Passage", figure(passage[MEMORY])])
        if MEMORY in peer:
            rows.append([PEERS.get(duel["peer"], duel["peer"]), figure(peer[MEMORY])])
    return table("| who | bytes a relay |\n| --- | ---: |", rows)


def machine_lines(results: Results) -> str:
    machine, document = results.machine, results.document
    if not document["duels"]:
        return "Not measured yet."
    return (
        f"{machine.get('cpu') or 'unknown processor'}, {machine.get('cores')} cores, "
        f"Linux {machine.get('kernel')}, "
        f"{machine.get('congestion_control') or 'unknown'} congestion control; "
        f"Passage {document['version']}; {document['rounds']} rounds of {document['duration_seconds']:g} s."
    )


def write(text: str, results: Results, steering: str) -> str:
    """The page with everything between its markers new."""
    parts = {
        "machine": machine_lines(results),
        "targets": target_table(results),
        "streams": duel_table(results, lambda workload: workload.startswith("bulk")),
        "messages": duel_table(
            results, lambda workload: workload.startswith(("messages", "players", "churn", "mixed"))
        ),
        "status": duel_table(results, lambda workload: workload.startswith("status")),
        "login": alone_table(results),
        "memory": memory_table(results),
        "steering": steering.strip(),
    }
    for name, part in parts.items():
        if not part and name == "steering":
            continue
        begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        whole = f"{begin}\n\n{part}\n\n{end}"
        text, count = pattern.subn(whole.replace("\\", r"\\"), text)
        if count != 1:
            raise SystemExit(f"the page has {count} places for {begin} … {end}, expected 1")
    return text


def table(head: str, rows: list[list[str]]) -> str:
    if not rows:
        return "Not measured yet."
    return "\n".join([head, *("| " + " | ".join(row) + " |" for row in rows)])


def pair(one: dict, other: dict | None, key: str) -> str:
    return f"{figure(one.get(key))} / {figure((other or {}).get(key))}"


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def figure(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
