"""The clients in JavaScript and Python compare cursors alike: cursors of one stream, and of several shards with short forms."""

from __future__ import annotations

import itertools
import json
import subprocess

from edge.http.system import CLIENT
from router.cursor import Cursor, VectorCursor
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
PROGRAM = """
import { follows } from %s;
const said = %s;
console.log(JSON.stringify(said.map(([next, last]) => follows(next, last))));
"""


def test_both_clients_say_alike_which_cursor_lies_behind_which() -> None:
    node = parts.program(parts.NODE, "node")
    texts = [str(each) for each in (FIRST, MANY, *SHARDED, CHECKED)]
    pairs = list(itertools.product(texts, (*texts, "earliest", "snapshot")))
    script = PROGRAM % (json.dumps((CLIENT / "cursor.js").as_uri()), json.dumps(pairs))

    ran = subprocess.run(
        [node, "--input-type=module", "--eval", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said == [follows(*pair) for pair in pairs]
    found = dict(zip(pairs, said, strict=True))
    small, large, other = texts[4], texts[7], texts[8]
    assert [found[large, small], found[small, large]] == [True, False]
    # Of another life of a shard it always follows.
    assert found[other, large]
    # A check behind it is no place.
    assert not found[texts[9], small]
    assert found[texts[1], texts[0]]
