"""Import circles and floors, found in sources that are made here."""

from __future__ import annotations

from pathlib import Path

from ops.shape.imports import circles, floors, import_graph, rooms


def _house(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_imports_under_type_checking_and_inside_functions_count(tmp_path: Path) -> None:
    house = _house(
        tmp_path,
        {
            "edge/hub.py": "from edge.session import Reader\n",
            "edge/session.py": "if TYPE_CHECKING:\n    from edge.hub import Hub\n",
            "router/broker.py": "def ask():\n    import router.live\n",
            "router/live.py": "from router import broker\n",
        },
    )

    found = circles(import_graph(house))

    assert found == [["edge.hub", "edge.session"], ["router.broker", "router.live"]]


def test_a_longer_circle_is_found_once_and_without_what_only_leads_to_it() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}

    assert circles(graph) == [["a", "b", "c"]]


def test_a_floor_lies_above_the_highest_that_it_imports() -> None:
    assert floors({"app": {"hub", "types"}, "hub": {"types"}, "types": set()}) == {"types": 1, "hub": 2, "app": 3}


def test_modules_that_import_each_other_lie_on_one_floor() -> None:
    found = floors({"app": {"hub"}, "hub": {"session"}, "session": {"hub", "types"}, "types": set()})

    assert found == {"types": 1, "hub": 2, "session": 2, "app": 3}


def test_a_folder_is_one_room(tmp_path: Path) -> None:
    house = _house(
        tmp_path,
        {
            "edge/app.py": "from edge.webhooks.worker import Worker\n",
            "edge/webhooks/__init__.py": "",
            "edge/webhooks/worker.py": "from edge.webhooks.job import Job\nfrom edge import metrics\n",
            "edge/webhooks/job.py": "",
            "edge/metrics.py": "",
        },
    )

    found = rooms(import_graph(house), "edge")

    assert found == {"edge.app": {"edge.webhooks"}, "edge.webhooks": {"edge.metrics"}, "edge.metrics": set()}
