"""Prints how the code is shaped: the figures of the house's redesign as they are now, beside their goals.

`make shape` prints the table, which follows three requests through an edge that runs, and the import circles; ARGS='--static'
leaves the requests out, ARGS='--largest 20' lists the largest files, classes and functions, and ARGS='--untested' lists the
modules that lack a test file.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import NamedTuple

from ops.shape import walks
from ops.shape.imports import circles, floors, import_graph, rooms
from ops.shape.sources import PACKAGES, Size, count_tested, measure

ROOT = Path(__file__).parents[2]
# Dashboards that are committed a second time for Kubernetes.
COPIES = "k8s/**/*.json"


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
    mirrored = [(package, count_tested(root, (package,))) for package in PACKAGES]
    tested = sum(mirror.tested for _package, mirror in mirrored)
    modules = sum(mirror.modules for _package, mirror in mirrored)
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
        Figure("modules with behaviour that have a test file at the mirrored path", _share(tested, modules), "100 %"),
        *(Figure(f"  of {package}/", _share(mirror.tested, mirror.modules), "100 %") for package, mirror in mirrored),
        Figure("lines of dashboards committed twice", f"{copies:,}", "0"),
    ]


async def walked_figures() -> list[Figure]:
    """What three requests touch. Raises RouterError."""
    async with walks.house() as place:
        event = await walks.common(walks.to_a_websocket, place)
        session = await walks.common(walks.of_a_session, place)
        webhook = await walks.common(walks.to_a_webhook, place)
    most, times = webhook.visits.most_common(1)[0] if webhook.way else ("-", 0)
    return [
        Figure(
            "POST /events to a WebSocket: files that take the event and hand it on; of these more than once",
            f"{len(event.visits)}; {event.twice}",
            "6; 0",
        ),
        Figure(
            "  files touched in all / functions / times packed / views made",
            f"{len(event.files)} / {len(event.functions)} / {event.packs} / {event.views}",
            "24 / - / 1 / 0",
        ),
        Figure(
            "create a session: files touched; views; announcements",
            f"{len(session.files)}; {session.views}; {session.announcements}",
            "20; 1; 1",
        ),
        Figure(
            "webhook answered 2xx: files touched; the file that the event came to most often",
            f"{len(webhook.files)}; {most} {times} times",
            "28; 3 times",
        ),
    ]


# Printed below the table: what its last lines count.
COUNTED = f"""
Touched is a file of which a function ran in each of {walks.WALKS} walks of the request, up to the client's answer and what follows from it.
An event comes to a file when a function of it is called with the event, its record, job or bytes, after one of another file was."""


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
    parser.add_argument(
        "--untested", action="store_true", help="list the modules that have no test file at the mirrored path"
    )
    parser.add_argument("--static", action="store_true", help="read the source only, and start nothing")
    options = parser.parse_args()
    figures = static_figures(ROOT)
    if not options.static:
        figures += asyncio.run(walked_figures())
    _print_table(figures)
    if not options.static:
        print(COUNTED)
    for circle in circles(import_graph(ROOT)):
        print(f"\ncircle of {len(circle)}: {' '.join(circle)}")
    if options.untested:
        print("\nmodules without a test file")
        for module in count_tested(ROOT).untested:
            print(f"  {module}")
    if options.largest:
        sizes = measure(ROOT)
        _print_largest("files", sizes.files, options.largest)
        _print_largest("classes", sizes.classes, options.largest)
        _print_largest("functions", sizes.functions, options.largest)


if __name__ == "__main__":
    main()
