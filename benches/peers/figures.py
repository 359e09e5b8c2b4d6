"""Writes the tables of docs/performance.md and its plot from results.json.

figures.py --results FILE --merge FILE…          adds what the load generator wrote, draws nothing
figures.py --results FILE [--steering FILE]      tables and plot; the steering tables from this file
figures.py --results FILE --tables               only the tables: needs no plotting library
"""

import argparse
from pathlib import Path

import page
from results import Results

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--merge", type=Path, nargs="+")
    parser.add_argument("--steering", type=Path)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--docs", type=Path, default=DOCS)
    arguments = parser.parse_args()
    results = Results(arguments.results)
    if arguments.merge:
        for path in arguments.merge:
            results.merge(path)
        results.save()
        return
    document = arguments.docs / "performance.md"
    steering = arguments.steering.read_text() if arguments.steering else ""
    document.write_text(page.write(document.read_text(), results, steering))
    if not arguments.tables:
        import plot

        plot.draw(results, arguments.docs / "performance.svg")


if __name__ == "__main__":
    main()
