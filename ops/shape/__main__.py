"""Prints how the code is shaped: the figures of the house's redesign as they are now, beside their goals.

make shape                       the table, and the import circles
make shape ARGS='--largest 20'   the largest files, classes and functions too
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from ops.shape.imports import circles, floors, import_graph, rooms
from ops.shape.sources import Size, measure, tested_by_name

ROOT = Path(__file__).parents[2]
# Dashboards that are committed a second time for Kubernetes.
COPIES = "k8s/components/monitoring/generated/*.json"


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    now: str
    goal: str


def static_figures(root: Path) -> list[Figure]:
    """What the source says of itself. Raises SyntaxError."""
    graph = import_graph(root)
    edge = {module: {other for other in graph[module] if _is_edge(other)} for module in graph if _is_edge(module)}
    sizes = measure(root)
    longest = " / ".join(f"{sizes_of[0].lines:,}" for sizes_of in (sizes.files, sizes.classes, sizes.functions))
    tested, modules = tested_by_name(root)
    tested_edge, modules_edge = tested_by_name(root, ("edge",))
    copies = sum(path.read_text(encoding="utf-8").count("\n") for path in root.glob(COPIES))
    found = circles(graph)
    return [
        Figure("import circles, TYPE_CHECKING imports counted", str(len(found)), "0"),
        Figure("  modules in the largest", str(len(found[0]) if found else 0), "0"),
        Figure("floors of edge/, file by file", str(max(floors(edge).values())), ""),
        Figure(
            "floors of edge/, room by room (a circle is one floor)",
            str(max(floors(rooms(graph, "edge")).values())),
            "7",
        ),
        Figure("longest file / class / function, in lines", longest, "400 / 250 / 50"),
        Figure("modules with behaviour that have a test file of their name", _share(tested, modules), "100 %"),
        Figure("  of edge/", _share(tested_edge, modules_edge), "100 %"),
        Figure("lines of dashboards committed twice", f"{copies:,}", "0"),
    ]


def _is_edge(module: str) -> bool:
    return module.startswith("edge.")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} % ({part} of {whole})"


def _print_table(figures: list[Figure]) -> None:
    widths = [max(len(figure[column]) for figure in figures) for column in range(2)]
    print(f"{'':{widths[0]}}  {'now':>{widths[1]}}  goal")
    for what, now, goal in figures:
        print(f"{what:{widths[0]}}  {now:>{widths[1]}}  {goal}".rstrip())


def _print_largest(title: str, sizes: list[Size], count: int) -> None:
    print(f"\n{title}")
    for lines, name in sizes[:count]:
        print(f"{lines:6,}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make shape", description="Measure the shape of the code.")
    parser.add_argument(
        "--largest", type=int, default=0, metavar="N", help="list the N largest files, classes, functions"
    )
    options = parser.parse_args()
    _print_table(static_figures(ROOT))
    for circle in circles(import_graph(ROOT)):
        print(f"\ncircle of {len(circle)}: {' '.join(circle)}")
    if options.largest:
        sizes = measure(ROOT)
        _print_largest("files", sizes.files, options.largest)
        _print_largest("classes", sizes.classes, options.largest)
        _print_largest("functions", sizes.functions, options.largest)


if __name__ == "__main__":
    main()
