"""The clients in JavaScript and Python compare cursors alike: cursors of one stream, and of several shards with short forms."""

from __future__ import annotations

import itertools
import json
import subprocess
from typing import Any

from edge.http.system import CLIENT
from router.cursor import UNKNOWN, Cursor, VectorCursor
from router.sdk.reader import follows
from tests import parts

FIRST, MANY = Cursor("0badcafe", 42, 7), Cursor("0badcafe", 4_242_424)
SHARDED = [
    VectorCursor(
        tuple(Cursor(f"1.{n}.{life}", at) for n, (life, at) in enumerate(zip(("aaa", life), places, strict=True)))
    )
    for life, places in (
        ("bbb", (0, 0)),
        ("bbb", (9, 35)),
        ("bbb", (9, 36)),
        ("bbb", (63, 35)),
        ("bbb", (64, 35)),
        ("bbb", (10**9, 36)),
        ("ccc", (9, 9)),
    )
]
CHECKED = VectorCursor((Cursor("1.0.aaa", 9), Cursor("1.1.bbb", 36, 2**32 - 1)))
PLACES = """
import { placesOf } from %s;
console.log(JSON.stringify(%s.map((cursor) => [placesOf(cursor), placesOf(cursor, true)])));
"""
PROGRAM = """
import { follows } from %s;
const said = %s;
console.log(JSON.stringify(said.map(([next, last]) => follows(next, last))));
"""


def _run(script: str) -> Any:
    node = parts.program(parts.NODE, "node")
    ran = subprocess.run(
        [node, "--input-type=module", "--eval", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_cursor_of_an_event_names_its_place_in_its_own_stream() -> None:
    epochs = [f"1.{index}.aaa" for index in range(64)]
    all_of = [[Cursor(epoch, at, 5 if at == own else UNKNOWN) for at, epoch in enumerate(epochs)] for own in range(64)]
    alone = [VectorCursor((Cursor(epoch, 70, 5),)) for epoch in epochs]
    texts = [str(FIRST), *(str(VectorCursor(tuple(each))) for each in all_of), *map(str, alone)]

    one, *several = _run(PLACES % (json.dumps((CLIENT / "cursor.js").as_uri()), json.dumps(texts)))

    assert one[1] == one[0] and one[1][0][:2] == ["0badcafe", "00000000002a"]
    assert [own for _, own in several] == [
        *([places[index]] for index, (places, _) in enumerate(several[:64])),
        *(places for places, _ in several[64:]),
    ]
    assert len({shard for (shard, _), *_ in (own for _, own in several[:64])}) == 64


def test_both_clients_say_alike_which_cursor_lies_behind_which() -> None:
    texts = [str(each) for each in (FIRST, MANY, *SHARDED, CHECKED)]
    pairs = list(itertools.product(texts, (*texts, "earliest", "snapshot")))
    script = PROGRAM % (json.dumps((CLIENT / "cursor.js").as_uri()), json.dumps(pairs))

    said = _run(script)

    assert said == [follows(*pair) for pair in pairs]
    found = dict(zip(pairs, said, strict=True))
    small, large, other = texts[4], texts[7], texts[8]
    assert [found[large, small], found[small, large]] == [True, False]
    # Of another life of a shard it always follows.
    assert found[other, large]
    # A check behind it is no place.
    assert not found[texts[9], small]
    assert found[texts[1], texts[0]]
