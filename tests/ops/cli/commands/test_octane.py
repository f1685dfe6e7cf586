"""`callboard octane`: what its words order."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from router.errors import RouterError
from tests.ops.cli.commands.words import NOWHERE, parse, run


@pytest.mark.parametrize(
    ("words", "command", "arguments"),
    [
        ("start", "start", {}),
        ("pause", "pause", {}),
        ("stop", "stop", {}),
        ("restart", "restart", {}),
        ("camera", "get_camera", {}),
        ("camera get", "get_camera", {}),
        ("camera set --fov 40", "set_camera", {"fov": 40}),
        ("camera set --position 0 -2 10", "set_camera", {"position": [0, -2, 10]}),
        ("camera orbit -0.2 0", "orbit", {"dx": -0.2, "dy": 0}),
        ("camera pan 0.1 0", "pan", {"dx": 0.1, "dy": 0}),
        ("camera dolly 0.5", "dolly", {"factor": 0.5}),
        ("camera preset top", "preset_camera", {"view": "top"}),
        ("camera reset", "reset_camera", {}),
        ("camera undo", "undo_camera", {}),
        ("region 1 2 30 40", "set_region", {"left": 1, "top": 2, "right": 30, "bottom": 40}),
        (
            "region 1 2 30 40 --feather 3",
            "set_region",
            {"left": 1, "top": 2, "right": 30, "bottom": 40, "feather": 3},
        ),
        ("region clear", "clear_region", {}),
        ("film-region 1 2 30 40", "set_film_region", {"left": 1, "top": 2, "right": 30, "bottom": 40}),
        ("film-region clear", "clear_film_region", {}),
        ("priority high", "set_priority", {"priority": "high"}),
        ("sub-sampling 2x2", "set_sub_sampling", {"mode": "2x2"}),
        ("clay grey", "set_clay_mode", {"mode": "grey"}),
        ("passes z_depth pass-501", "set_passes", {"passes": ["z_depth", "pass-501"]}),
        ("passes beauty", "set_passes", {"passes": ["beauty"]}),
        (
            "tonemap --exposure 2 --white-balance 1 0.5 0.5",
            "set_tonemap",
            {"exposure": 2, "white_balance": [1, 0.5, 0.5]},
        ),
        ("pick 10 20 --what focus", "pick", {"x": 10, "y": 20, "what": "focus"}),
        ("save /a.exr --format exr16", "save_image", {"path": "/a.exr", "format": "exr16", "pass": "beauty"}),
        ("stats", "device_statistics", {}),
        ("stats resources", "resource_statistics", {}),
        ("stats geometry", "geometry_statistics", {}),
        ("stats textures", "texture_statistics", {}),
        ("stats compiling", "is_compiling", {}),
    ],
)
def test_words_order_a_command(words: str, command: str, arguments: dict[str, object]) -> None:
    given = parse("octane", *words.split())

    assert given.order(given) == (command, arguments)


@pytest.mark.parametrize(
    "words", ["--instance left --json pause", "pause --instance left --json", "--json pause --instance left"]
)
def test_options_stand_before_and_behind_the_action(words: str) -> None:
    given = parse("octane", *words.split())

    assert (given.instance, given.json) == ("left", True)


def test_without_options_the_octane_is_main_and_tables_are_printed() -> None:
    given = parse("octane", "pause")

    assert (given.instance, given.json) == ("main", False)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("dance", "invalid choice"),
        ("camera orbit", "DX"),
        ("camera orbit left 0", "DX"),
        ("camera preset inside", "invalid choice"),
        ("pick 1.5 2", "X"),
        ("priority urgent", "invalid choice"),
    ],
)
def test_a_word_that_is_none_is_a_mistake(words: str, why: str) -> None:
    with pytest.raises(Mistakes, match=why):
        parse("octane", *words.split())


@pytest.mark.parametrize(
    "words", ["region", "film-region", "priority", "sub-sampling", "clay", "passes", "tonemap", "region --json"]
)
def test_what_is_set_is_shown_where_nothing_is_to_be_set(words: str) -> None:
    given = parse("octane", *words.split())

    assert given.order(given) is None
    with pytest.raises(RouterError, match="no edge answers"):
        run("octane", *words.split(), "--edge-url", NOWHERE)


@pytest.mark.parametrize("edges", ["--feather 3", "1 2 3", "a b c d", "1 2 3 ²", "1 2 3 4 5", "clear 1"])
def test_edges_that_are_none_are_a_mistake(edges: str) -> None:
    given = parse("octane", "region", *edges.split())

    with pytest.raises(Mistakes, match="LEFT TOP RIGHT BOTTOM"):
        given.order(given)


@pytest.mark.parametrize("words", ["", "pause", "watch"])
def test_an_edge_that_does_not_answer_is_told_with_how_to_start_one(words: str) -> None:
    with pytest.raises(RouterError, match=r"no edge answers at http://127.0.0.1:1 .*callboard up"):
        run("octane", *words.split(), "--edge-url", NOWHERE)
