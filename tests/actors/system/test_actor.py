"""Tests of actors/system/actor.py."""

from __future__ import annotations

from typing import Any

import pytest

from actors.system.actor import BadActor, Reject, Restart, arguments, check, command
from tests.actors.system.sample_actors import Stock, made


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"name": ""}, "needs a name"),
        ({"name": "no.dots"}, "needs a name"),
        ({"capacity": 0}, "must be positive"),
        ({"every": 0}, "every must be positive"),
        ({"subjects": "orders.>"}, "tuple of patterns"),
        ({"subjects": ("orders.*.placed", "orders.1.*")}, "overlap"),
    ],
)
def test_a_wrong_declaration_is_told_at_once(fields: dict[str, Any], fault: str) -> None:
    actor = made()()
    for name, value in fields.items():
        setattr(actor, name, value)

    with pytest.raises(BadActor, match=fault):
        check(actor)


def test_a_right_declaration_is_taken_and_a_covered_pattern_is_no_overlap() -> None:
    check(Stock())
    check(made(subjects=("orders.>", "orders.1.placed"))())


def test_the_command_that_takes_dead_letters_back_is_the_runtimes_own() -> None:
    async def redrive(self: Stock) -> None: ...

    with pytest.raises(BadActor, match="redrive"):
        check(made(subjects=("orders.>",), redrive=command(redrive))())


def test_only_marked_methods_are_commands() -> None:
    assert set(Stock().commands()) == {"level", "fill", "burn"}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, r"^sku must be given$"),
        ({"sku": 3}, r"^sku must be a string, and not an integer$"),
        ({"sku": "tea", "scale": "much"}, r"^scale must be a number, and not a string$"),
        ({"sku": "tea", "colour": "red"}, r"^unknown argument 'colour'; it takes sku, scale$"),
        ({"sku": "tea", "self": None}, "unknown argument 'self'"),
    ],
)
def test_wrong_arguments_are_a_reject_and_no_crash(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(Reject, match=fault):
        arguments(Stock().level, given)


def test_arguments_become_what_the_signature_says() -> None:
    assert arguments(Stock().level, {"sku": "tea", "scale": 2}) == {"sku": "tea", "scale": 2.0}


def test_rests_grow_and_stay_under_their_cap() -> None:
    restart = Restart(base=1, cap=4)

    assert max(restart.delay(1) for _ in range(200)) <= 1
    assert 2 < max(restart.delay(9) for _ in range(200)) <= 4
