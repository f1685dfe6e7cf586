"""Every operation has one tag that is described and stands in one group."""

from __future__ import annotations

from edge.app import openapi
from edge.http.openapi.tags import OTHER, tag_of, tags


def test_every_tag_is_described_and_in_one_group() -> None:
    made = openapi()
    used = {tag for item in made["paths"].values() for operation in item.values() for tag in operation["tags"]}
    grouped = [tag for group in made["x-tagGroups"] for tag in group["tags"]]

    assert used == {tag["name"] for tag in made["tags"] if tag["description"]} == set(grouped)
    assert len(grouped) == len(set(grouped))


def test_the_longest_prefix_of_a_path_has_the_tag() -> None:
    assert tag_of("GET", "/callbacks/sessions/{session_id}") == "Sessions"
    assert tag_of("GET", "/callbacks/sessions/{session_id}/attempts") == "Webhooks"
    assert (tag_of("GET", "/runs"), tag_of("POST", "/runs")) == ("Runs", "LangGraph")
    assert tag_of("GET", "/") == "Pages"


def test_no_operation_has_the_tag_of_pages_for_want_of_one() -> None:
    """A new path is named in edge/http/openapi/tags.py."""
    pages = {path for path, item in openapi()["paths"].items() for each in item.values() if each["tags"] == [OTHER]}

    assert pages <= {
        "/",
        "/client.js",
        "/console",
        "/console/",
        "/console/types.js",
        "/docs",
        "/docs/events",
        "/portal/{session_id}",
    }
    assert tag_of("GET", "/nowhere") == OTHER


def test_tags_that_are_not_used_are_left_out() -> None:
    assert tags(["Runs"]) == {
        "tags": [{"name": "Runs", "description": "What agents, jobs and threads do now, and have done."}],
        "x-tagGroups": [{"name": "Agents and alerts", "tags": ["Runs"]}],
    }
