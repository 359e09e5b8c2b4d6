"""The plot of docs/performance.md: CPU time and tail latency of everybody, with HAProxy as the measure."""

import io
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from results import Results

# As in the page; each bar is Passage's or a peer's figure divided by HAProxy's.
WORKLOADS = {
    "bulk-1": "1 stream down",
    "bulk-4": "4 streams down",
    "bulk-16": "16 streams down",
    "bulk-up-1": "1 stream up",
    "messages-1": "ping-pong, 1 connection",
    "messages-100": "ping-pong, 100 connections",
    "messages-2000": "ping-pong, 2 000 connections",
    "messages-8000": "ping-pong, 8 000 connections",
    "players-1000": "1 000 players",
    "churn": "connect, exchange, close",
}
# Colours that are told apart with any kind of colour vision, on white and on black.
BARS = {
    "passage": ("Passage", "#0a84d6"),
    "nginx": ("nginx", "#1a9e6f"),
    "epoll": ("bare epoll loop", "#e08e00"),
    "ring": ("bare io_uring", "#8a8f98"),
}
PANELS = (("cpu_ratio", "CPU time a unit"), ("p999_ratio", "latency, 99.9th percentile"))
MEASURE = "haproxy"
# Where bars are cut; the figure beside a bar says what it was.
WIDEST = 2.0
# What is drawn in these colours gets the other ones where a dark page is asked for.
LIGHT_TO_DARK = {"#1f2328": "#e6edf3", "#59636e": "#9198a1", "#d1d9e0": "#30363d", "#ffffff": "#0d1117"}
INK, FAINT, GRID, PAPER = LIGHT_TO_DARK


def relative(results: Results, workload: str, who: str, name: str) -> float | None:
    """What `who` was measured at, divided by HAProxy's figure."""
    passage = results.ratio(workload, MEASURE, name)
    if who == "passage" or passage is None:
        return passage
    against = results.ratio(workload, who, name)
    return passage / against if against else None


def draw(results: Results, path: Path) -> None:
    """Writes the plot. Text stays text, and its colours follow those of the reader's desktop."""
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "performance", "font.family": "sans-serif"}
    )
    workloads = [name for name in WORKLOADS if results.ratio(name, MEASURE, "cpu_ratio") is not None]
    figure = Figure(figsize=(10.5, 0.72 * len(workloads) + 1.6), facecolor=PAPER, layout="constrained")
    if not workloads:
        figure.text(0.02, 0.5, "Nothing was measured against HAProxy yet.", color=INK)
        return save(figure, path)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (name, title) in zip(panels, PANELS):
        draw_panel(axes, results, workloads, name)
        axes.set_title(f"{title}, HAProxy = 1", color=INK, fontsize=11, loc="left", pad=8)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(BARS),
        frameon=False,
        labelcolor=INK,
        fontsize=10,
    )
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    text = io.StringIO()
    figure.savefig(text, format="svg", facecolor=PAPER, metadata={"Date": None, "Creator": None})
    path.write_text(follow_the_desktop(text.getvalue()))


def draw_panel(axes, results: Results, workloads: list[str], name: str) -> None:
    thickness = 0.8 / len(BARS)
    for place, (who, (label, colour)) in enumerate(BARS.items()):
        values = [relative(results, workload, who, name) for workload in workloads]
        at = [row + (place - (len(BARS) - 1) / 2) * thickness for row in range(len(workloads))]
        widths = [min(value or 0, WIDEST) for value in values]
        axes.barh(at, widths, height=thickness * 0.9, color=colour, label=label)
        for row, (y, value) in enumerate(zip(at, values)):
            if value is not None:
                axes.text(
                    min(value, WIDEST) + 0.02,
                    y,
                    f"{value:.2f}",
                    va="center",
                    fontsize=7,
                    color=INK if who == "passage" else FAINT,
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6},
                )
            elif who == "passage":
                axes.text(0.02, row, "a stream has none", va="center", fontsize=8, color=FAINT)
    axes.axvline(1, color=INK, linewidth=1, zorder=2.5)
    axes.set_xlim(0, WIDEST + 0.2)
    axes.set_ylim(len(workloads) - 0.45, -0.55)
    axes.set_yticks(range(len(workloads)), [WORKLOADS[workload] for workload in workloads])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2])
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=10)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_facecolor(PAPER)
    axes.spines[:].set_visible(False)


def follow_the_desktop(svg: str) -> str:
    """Colours for dark pages, and no line with white space at its end."""
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        for light, dark in LIGHT_TO_DARK.items()
        for what in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    svg = re.sub(r"(<svg[^>]*>)", lambda tag: tag[1] + "\n " + style, svg, count=1)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
