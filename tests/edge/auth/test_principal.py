"""Tests what a principal owns and what its grants require."""

from __future__ import annotations

import pytest

from edge.auth.grants import Grants
from edge.auth.principal import EVERYBODY, NOBODY, Principal
from edge.errors import Problem

ALICE = Principal("- alice", Grants.of(read=["job.>"], publish=["job.alice.>"], command=["camera.main.*"]))
OPERATOR = Principal("- root", Grants.of(operate=True))


def test_a_principal_owns_its_own_and_an_operator_everything() -> None:
    assert ALICE.owns("- alice") and not ALICE.owns("- bob") and not ALICE.owns(None)
    assert OPERATOR.owns("- alice") and OPERATOR.owns(None) and EVERYBODY.owns("- alice")
    assert not NOBODY.owns(None)


def test_what_is_granted_is_not_refused() -> None:
    ALICE.require_read("job.a.>", "job.*.done")
    ALICE.require_publish("job.alice.started")
    ALICE.require_command("camera.main.start")
    OPERATOR.require_operator()


def test_what_is_not_granted_is_refused_with_what_the_token_has() -> None:
    for require, argument, has in (
        (ALICE.require_read, "agent.>", "the token's read has job.>"),
        (ALICE.require_publish, "job.bob.started", "the token's publish has job.alice.>"),
        (ALICE.require_command, "camera.other.start", "the token's command has camera.main.*"),
        (NOBODY.require_read, "job.>", "the token's read is empty"),
    ):
        with pytest.raises(Problem) as refused:
            require(argument)

        assert refused.value.code == "not_granted" and refused.value.detail.endswith(has)
    with pytest.raises(Problem) as refused:
        ALICE.require_operator()
    assert refused.value.code == "operator_only"


def test_a_pattern_that_is_only_partly_granted_is_refused() -> None:
    with pytest.raises(Problem):
        ALICE.require_read("job.>", ">")
