"""Tests of router/errors.py."""

from __future__ import annotations

import inspect

from router import errors
from router.errors import (
    BadInput,
    Forbidden,
    Refused,
    RouterError,
    RunConflict,
    RunEnded,
    RunSuperseded,
    StoreFailed,
    Timeout,
    TooLarge,
)


def test_an_error_without_a_text_says_its_docstring() -> None:
    assert str(errors.NoResponders()) == "nobody listens on that subject"
    assert str(errors.NoResponders("nobody answers on a.b")) == "nobody answers on a.b"


def test_every_error_is_a_router_error_and_every_bad_input_has_a_code_of_its_own() -> None:
    kinds = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__]

    assert all(issubclass(kind, RouterError) for kind in kinds)
    codes = [kind.code for kind in kinds if issubclass(kind, BadInput)]
    assert len(set(codes)) == len(codes)


def test_errors_keep_their_values() -> None:
    refused, large = Refused(503, 10077, "maximum bytes exceeded"), TooLarge(10, 5)

    assert str(refused) == "maximum bytes exceeded (code 503, err_code 10077)"
    assert (large.size, large.limit, large.code) == (10, 5, 413)
    assert Forbidden("ev.a").subject == "ev.a" and isinstance(Forbidden("ev.a"), Timeout)


def test_a_failure_of_the_whole_store_names_no_stream() -> None:
    assert str(StoreFailed("no_quorum", "EVENTS", "no leader")) == "EVENTS: no leader"
    assert str(StoreFailed("unreachable", "*", "no connection to NATS")) == "no connection to NATS"


def test_the_end_of_a_run_says_what_ended_it() -> None:
    ended = RunEnded("e-1", "completion", "failed", 5, synthesized=True)

    assert str(ended) == "the run has ended already: failed, by the completion e-1"
    assert (ended.event, ended.type, ended.status, ended.at, ended.synthesized) == (
        "e-1",
        "completion",
        "failed",
        5,
        True,
    )
    assert isinstance(ended, RunConflict) and RunSuperseded("two").incarnation == "two"
