"""Every operation has a name, a description and described parameters."""

from __future__ import annotations

import re
from pathlib import Path

from edge.app import openapi
from edge.http.openapi.names import descriptions, in_path, operation_id, summary_and_description
from edge.http.openapi.operation import Operation

# The names that are promised: a client that was generated earlier keeps its functions' names.
PROMISED = Path(__file__).parent / "operations.txt"
VERBS = (
    "unsnooze acknowledge act cancel change check create delete describe disable dismiss download enable end find give hold join list "
    "offer open poll post publish purge read recover redeem redirect redrive refresh refuse release replay resend resolve resume rotate "
    "run search send show snooze start stop stream summarise test validate verify wait watch"
)


def operations() -> list[tuple[str, str, dict]]:  # type: ignore[type-arg]
    return [(method.upper(), path, each) for path, item in openapi()["paths"].items() for method, each in item.items()]


def test_names_are_unique_and_those_that_are_promised() -> None:
    """A new operation adds a line to the file; a changed line breaks generated clients."""
    found = sorted(f"{operation['operationId']} {method} {path}" for method, path, operation in operations())

    assert found == PROMISED.read_text().splitlines()
    assert len({line.split()[0] for line in found}) == len(found)


def test_a_name_is_a_verb_and_a_noun_in_camel_case() -> None:
    for _, path, operation in operations():
        name = operation["operationId"]
        assert re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)+", name), (name, path)
        assert re.match("[a-z]+", name)[0] in VERBS.split(), (name, path)  # type: ignore[index]


def test_every_operation_and_every_parameter_is_described() -> None:
    for method, path, operation in operations():
        assert operation["description"] and len(operation["summary"]) <= 110, (method, path)
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (method, path, parameter["name"])


def test_no_description_is_of_an_operation_that_is_gone() -> None:
    assert set(descriptions()) <= {operation["operationId"] for _, _, operation in operations()}


def test_a_summary_ends_at_its_first_semicolon_or_colon() -> None:
    tail = Operation("Cancel it; what was sent stays sent", ())
    assert summary_and_description(tail, "none") == ("Cancel it", "What was sent stays sent. ")
    assert summary_and_description(Operation("Cancel it", (), description="At once."), "none") == (
        "Cancel it",
        "At once.",
    )


def test_a_second_address_of_a_handler_has_a_name_of_its_own() -> None:
    assert operation_id("to_console_page", "/console") == "redirectToConsole"
    assert operation_id("to_console_page", "/console/") == "redirectFromConsoleFolder"
    assert operation_id("list_sessions", "/callbacks/sessions") == "listSessions"


def test_what_an_entity_is_depends_on_the_path() -> None:
    assert in_path("entity", "/cameras/{entity}/ws")["description"] == "The camera's name."
    assert in_path("entity", "/entities/{entity}")["description"] == "The entity's id."
