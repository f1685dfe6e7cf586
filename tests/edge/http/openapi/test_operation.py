"""A handler declares its operation."""

from __future__ import annotations

import pytest

from edge.http.openapi.operation import Answer, header, operation, operation_of


def test_a_declaration_leaves_the_handler_as_it_is_and_can_be_asked_for() -> None:
    def handler() -> str:
        return "answer"

    declared = operation("Do it", Answer(200, "Done"), problems=("bad_body",))(handler)

    assert declared is handler and declared() == "answer"
    assert (operation_of(handler).summary, operation_of(handler).problems) == ("Do it", ("bad_body",))
    with pytest.raises(KeyError):
        operation_of(lambda: None)


def test_a_header_is_a_text_with_more_to_it() -> None:
    assert header("Idempotency-Key", "Once.", maxLength=200)["schema"] == {"type": "string", "maxLength": 200}
