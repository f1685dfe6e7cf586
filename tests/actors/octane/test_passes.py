"""Each image of a result gets the track of its render pass, and no two share one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.octane.passes import pass_id, pass_names, passes_of, track_name
from protos import octane_types_pb2 as wire

ids = st.integers(0, 20_000)


@pytest.mark.parametrize(("render_pass", "track"), [(0, "beauty"), (1003, "z_depth"), (19_999, "pass-19999")])
def test_a_pass_has_a_track_and_a_track_its_pass(render_pass, track):
    assert track_name(render_pass) == track
    assert pass_id(track) == render_pass


@given(ids)
def test_every_pass_is_found_again_by_its_track(render_pass):
    assert pass_id(track_name(render_pass)) == render_pass


@pytest.mark.parametrize("track", ["", "image-2", "pass-", "pass-1x", "pass-9999999999", "no_pass", "../beauty"])
def test_a_track_that_is_no_pass_has_none(track):
    assert pass_id(track) is None


def test_images_with_ids_go_by_them():
    assert passes_of([1003, 0], [0, 1003]) == ["z_depth", "beauty"]


def test_images_without_ids_go_by_the_order_of_the_statistics():
    assert passes_of([0, 0, 0], [0, 1003, 19_999]) == ["beauty", "z_depth", "pass-19999"]
    assert passes_of([0], [1003]) == ["z_depth"]


def test_without_ids_and_without_an_order_the_first_image_is_the_beauty_pass_and_none_overwrites_it():
    assert passes_of([0, 0], []) == ["beauty", "image-2"]
    assert passes_of([0, 0, 0], [0, 1003]) == ["beauty", "z_depth", "image-3"]


@given(st.lists(ids, max_size=8), st.lists(ids, max_size=8))
def test_no_two_images_share_a_track(given_ids, order):
    tracks = passes_of(given_ids, order)

    assert len(set(tracks)) == len(tracks) == len(given_ids)


def test_the_passes_of_a_render_are_listed_by_name_with_beauty_first():
    statistics = wire.RenderResultStatistics()
    statistics.renderPasses.data.extend([1003, 0, 19_999])
    statistics.tonemapPasses.data.extend([0, 1001])

    assert pass_names(statistics) == ["beauty", "pass-19999", "shading_normal", "z_depth"]
    assert pass_names(wire.RenderResultStatistics()) == ["beauty"]
