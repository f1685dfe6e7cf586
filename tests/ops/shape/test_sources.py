"""Sizes of files, classes and functions, and modules without a test file."""

from __future__ import annotations

from pathlib import Path

from ops.shape.sources import count_tested, measure

MODULE = """class Room:
    def enter(self):
        return 1


def close():
    return 2
"""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_sizes_come_longest_first_and_without_generated_code(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "edge/a.py": "class A:\n    def one(self):\n        pass\n\n    def two(self):\n        pass\n",
            "edge/b.py": "def b():\n    pass\n",
            "edge/wire_pb2.py": "x = 1\n" * 100,
        },
    )

    sizes = measure(tmp_path)

    assert [tuple(size) for size in sizes.files] == [(6, "edge/a.py"), (2, "edge/b.py")]
    assert [tuple(size) for size in sizes.classes] == [(6, "edge/a.py:A")]
    assert [size.lines for size in sizes.functions] == [2, 2, 2]


def test_generated_code_has_no_size(tmp_path: Path) -> None:
    write(tmp_path, {"router/event_pb2.py": MODULE, "router/event_pb2_grpc.py": MODULE})

    assert measure(tmp_path).files == []


def test_only_a_test_file_at_the_mirrored_path_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "edge/webhooks/queue/room.py": MODULE,
            "edge/webhooks/queue/job.py": MODULE,
            "tests/edge/webhooks/queue/test_room.py": "",
            "tests/edge/webhooks/test_job.py": "",
            "tests/edge/test_job.py": "",
        },
    )

    mirror = count_tested(tmp_path)

    assert (mirror.tested, mirror.modules) == (1, 2)
    assert mirror.untested == ["edge/webhooks/queue/job.py"]


def test_a_module_without_a_function_needs_no_test_file(tmp_path: Path) -> None:
    write(tmp_path, {"edge/names.py": "WIDTH = 3\n", "edge/__main__.py": MODULE, "edge/__init__.py": MODULE})

    assert count_tested(tmp_path).modules == 0


def test_each_module_of_this_house_has_its_test_file() -> None:
    assert count_tested(Path(__file__).parents[3]).untested == []
