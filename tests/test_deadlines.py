"""No test may depend on how fast the machine is: a deadline is generous, and no elapsed time is asserted to be short.

What must come is waited for with `eventually` or `in_time` and their default, or up to `PATIENCE`. Speed is measured by `make bench`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Seconds. A busy machine may keep a process waiting for a few of them.
SHORTEST = 20
CLOCKS = ("monotonic()", "perf_counter()", "time.time()")


def short(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and 0 < node.value < SHORTEST


def deadline(call: ast.Call) -> ast.expr | None:
    """The deadline that a call waits up to, where it has one."""
    name = _last_name(call.func)
    if name in ("eventually", "in_time"):
        return call.args[1] if len(call.args) > 1 else _keyword(call, "within")
    if name == "timeout" and ast.unparse(call.func) == "asyncio.timeout":
        return call.args[0] if call.args else None
    return _keyword(call, "within") if name in ("next", "control", "events", "says", "ends", "until") else None


def _last_name(node: ast.AST) -> str:
    """What a name or a dotted name ends with. To unparse each call of the repository takes seconds."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def is_impatient(call: ast.Call) -> bool:
    """Whether a call leaves its deadline to httpx, which waits five seconds, or to websockets, which waits ten."""
    if not isinstance(call.func, ast.Attribute):
        return False
    library, name = _last_name(call.func.value), call.func.attr
    given = {each.arg for each in call.keywords}
    if library == "websockets":
        return name == "connect" and not given & {"open_timeout", None}
    return (
        library == "httpx"
        and name in ("AsyncClient", "Client", "get", "post")
        and not given & {"timeout", "transport", None}
    )


def expects_a_timeout(node: ast.AST) -> bool:
    """Whether a block is one in which a deadline is meant to pass: that nothing comes is not a matter of speed."""
    return isinstance(node, (ast.With, ast.AsyncWith)) and any(
        "TimeoutError" in _last_name(each) for item in node.items for each in ast.walk(item.context_expr)
    )


def faults(node: ast.AST) -> Iterator[ast.AST]:
    """What below a node depends on the machine's speed."""
    for child in ast.iter_child_nodes(node):
        if expects_a_timeout(child):
            continue
        if isinstance(child, ast.Call) and (short(deadline(child)) or is_impatient(child)):
            yield child
        if isinstance(child, ast.Assert) and any(_elapsed(each) for each in ast.walk(child.test)):
            yield child
        yield from faults(child)


def _elapsed(node: ast.AST) -> bool:
    """Whether this compares a time that has passed with a short one."""
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    return any(
        isinstance(operator, (ast.Lt, ast.LtE)) and short(right) and any(clock in ast.unparse(left) for clock in CLOCKS)
        for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
    )


def test_no_deadline_is_short_and_no_elapsed_time_is_bounded() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)[:100]}"
        for path in sorted(TESTS.rglob("*.py"))
        for node in faults(ast.parse(path.read_text()))
    ]

    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "await eventually(lambda: heard, 5)",
        "await eventually(lambda: heard, within=5)",
        "await in_time(task, 2)",
        "await in_time(task, within=2)",
        "async with asyncio.timeout(1.5): pass",
        "await socket.control('bye', within=6)",
        "assert time.monotonic() - begun < 3",
        "assert 1 <= time.monotonic() - begun <= 3",
        "async with httpx.AsyncClient(base_url=url) as http: pass",
        "httpx.get(url)",
        "async with websockets.connect(url, max_size=None) as socket: pass",
    ],
)
def test_what_depends_on_the_machine_s_speed_is_found(text: str) -> None:
    assert list(faults(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "await eventually(lambda: heard)",
        "await in_time(task)",
        "with pytest.raises(TimeoutError):\n    await in_time(reader.read(), 0.1)",
        "with contextlib.suppress(TimeoutError):\n    async with asyncio.timeout(2):\n        pass",
        "assert time.monotonic() - begun >= 1",
        "async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http: pass",
        "async with websockets.connect(url, open_timeout=PATIENCE) as socket: pass",
        "async with websockets.connect(url, **UNHURRIED) as socket: pass",
    ],
)
def test_what_does_not_is_let_pass(text: str) -> None:
    assert not list(faults(ast.parse(text)))
