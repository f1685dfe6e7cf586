"""What is said of an Octane follows from what was observed: properties of the pure function, and its rules one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from actors.octane.condition import OctaneCondition, OctaneStatus, PictureStatus, observe
from actors.octane.observations import (
    STATISTICS,
    STREAM,
    VERSION,
    CallAnswered,
    CallTimedOut,
    ConnectFailed,
    ImageNotified,
    Observation,
    OctaneIdentified,
    PictureFetched,
    PictureOversized,
    PictureUnreadable,
    RenderProgress,
    Sampled,
    ServiceRefused,
    SlotAsked,
    StreamEnded,
    StreamHeld,
    TimePassed,
    TrackDropped,
)

words = some.sampled_from(["connection refused", "UNIMPLEMENTED", "too large", "no such thing"])
tracks = some.sampled_from(["beauty", "z_depth", "pass-501"])
progresses = some.builds(
    RenderProgress,
    change_level=some.integers(0, 3),
    wipes=some.integers(0, 2),
    samples=some.integers(0, 20).map(float),
    region_samples=some.integers(0, 3).map(float),
)
observations = some.one_of(
    some.builds(ConnectFailed, words),
    some.just(OctaneIdentified()),
    some.builds(ServiceRefused, some.sampled_from([STREAM, STATISTICS, VERSION]), words),
    some.just(StreamHeld()),
    some.just(StreamEnded()),
    some.builds(CallTimedOut, some.just("getRenderStatistics"), some.floats(1, 30)),
    some.just(CallAnswered()),
    some.just(ImageNotified()),
    some.builds(SlotAsked, some.booleans()),
    some.builds(Sampled, progresses, some.booleans()),
    some.builds(PictureFetched, tracks, some.booleans(), progresses),
    some.builds(PictureUnreadable, words, tracks),
    some.builds(PictureOversized, words),
    some.builds(TrackDropped, tracks),
    some.just(TimePassed()),
)
histories = some.lists(some.tuples(some.floats(0, 5), observations), max_size=60)


def new() -> OctaneCondition:
    return OctaneCondition(since=0.0, picture_since=0.0)


def told(*history: Observation | float) -> OctaneCondition:
    """The condition after observations, with seconds that pass between them."""
    condition, now = new(), 0.0
    for each in history:
        if isinstance(each, float):
            # Time is looked at several times a second.
            for _ in range(round(each / 0.25)):
                now += 0.25
                condition = observe(condition, TimePassed(), now)
        else:
            condition = observe(condition, each, now)
    return condition


def sampled(samples: float, region: float = 0.0, level: int = 1, *, rendering: bool = True) -> Sampled:
    return Sampled(RenderProgress(level, 0, samples, region), rendering)


def fetched(samples: float, level: int = 1, *, new: bool = True) -> PictureFetched:
    return PictureFetched("beauty", new, RenderProgress(level, 0, samples))


UP = (OctaneIdentified(), SlotAsked(True), StreamHeld(), sampled(1), fetched(1))


@given(histories)
def test_every_history_leads_to_a_condition_that_explains_itself(history):
    condition, now = new(), 0.0
    for pause, observation in history:
        now += pause
        before, condition = condition, observe(condition, observation, now)

        assert (condition.status is OctaneStatus.CONNECTED) == (not condition.reason)
        assert (condition.picture in (PictureStatus.STALE, PictureStatus.UNREADABLE)) == bool(condition.picture_reason)
        assert condition.since <= now and condition.picture_since <= now
        if condition.status is before.status:
            assert condition.since == before.since
        else:
            assert condition.since == now
        if condition.picture is before.picture:
            assert condition.picture_since == before.picture_since


@given(histories, observations)
def test_an_observation_made_twice_at_one_time_changes_nothing_the_second_time(history, observation):
    condition, now = new(), 0.0
    for pause, each in history:
        now += pause
        condition = observe(condition, each, now)

    once = observe(condition, observation, now)
    again = observe(once, observation, now)

    # What counts occurrences counts two.
    if not isinstance(observation, StreamEnded | SlotAsked):
        assert replace(again, sampled=once.sampled) == once


@given(histories)
def test_nothing_grows_with_the_number_of_observations(history):
    condition, now = new(), 0.0
    for pause, observation in history:
        now += pause
        condition = observe(condition, observation, now)

    assert len(condition.losses) <= condition.limits.losses
    assert len(condition.refusals) <= 3 and len(condition.unreadable) <= 32


@given(histories)
def test_whatever_happened_a_working_octane_is_connected_and_its_picture_live(history):
    condition, now = new(), 0.0
    for pause, observation in history:
        now += pause
        condition = observe(condition, observation, now)
    for observation in UP:
        condition = observe(condition, observation, now)

    assert (condition.status, condition.picture) == (OctaneStatus.CONNECTED, PictureStatus.LIVE)


@given(histories, words)
def test_whatever_happened_an_octane_without_a_connection_is_absent_and_its_picture_never_live(history, why):
    condition, now = new(), 0.0
    for pause, observation in history:
        now += pause
        condition = observe(condition, observation, now)

    condition = observe(condition, ConnectFailed(why), now)

    assert (condition.status, condition.reason) == (OctaneStatus.ABSENT, why)
    assert condition.picture is not PictureStatus.LIVE


def test_an_octane_that_was_found_is_connected_and_its_picture_live():
    condition = told(*UP)

    assert (condition.status, condition.picture, condition.reason) == ("connected", "live", "")


def test_calls_that_time_out_make_it_busy_and_its_picture_stale_until_one_is_answered():
    busy = told(*UP, CallTimedOut("getRenderStatistics", 1.3), 20.0)
    healed = told(*UP, CallTimedOut("getRenderStatistics", 1.3), 20.0, CallAnswered())

    assert (busy.status, busy.picture) == ("busy", "stale")
    assert "getRenderStatistics" in busy.reason and "busy" in busy.picture_reason
    assert (healed.status, healed.picture) == ("connected", "live")


def test_a_refused_stream_stays_refused_however_many_calls_are_answered():
    refused = told(*UP, ServiceRefused(STREAM, "UNIMPLEMENTED: no"), CallAnswered(), sampled(2), CallAnswered())

    assert (refused.status, refused.reason) == ("refused", "the callback stream: UNIMPLEMENTED: no")
    assert observe(refused, StreamHeld(), 1.0).status == "connected"


def test_an_old_version_is_refused_until_another_is_there():
    refused = told(CallAnswered(), ServiceRefused(VERSION, "too old"))

    assert (refused.status, refused.reason) == ("refused", "the version: too old")
    assert observe(refused, CallAnswered(), 1.0).status == "refused"
    assert observe(refused, OctaneIdentified(), 1.0).status == "connected"


def test_samples_that_grow_without_a_new_picture_make_it_stale_after_three_seconds_since_they_grew():
    early = told(*UP, 1.0, sampled(2), 2.5)
    late = told(*UP, 1.0, sampled(2), 3.0)

    assert early.picture == "live"
    assert (late.picture, late.picture_since) == ("stale", 1.0)
    assert observe(late, fetched(2), 5.0).picture == "live"


def test_a_picture_that_never_came_is_stale_as_well():
    assert told(OctaneIdentified(), sampled(1), sampled(2), 3.0).picture == "stale"


def test_samples_of_a_region_count_too():
    assert told(*UP, sampled(1, region=5), 3.0).picture == "stale"


def test_a_render_that_stands_makes_nothing_stale():
    assert told(*UP, sampled(1, rendering=False), 100.0).picture == "live"


def test_samples_that_a_picture_already_shows_make_nothing_stale():
    assert told(*UP, fetched(9), sampled(9), 100.0).picture == "live"


def test_the_same_picture_again_keeps_a_growing_render_stale_and_a_finished_one_live():
    growing = told(*UP, sampled(2), fetched(1, new=False), 3.0)
    finished = told(*UP, sampled(2), sampled(2, rendering=False), fetched(1, new=False), 3.0)

    assert (growing.picture, finished.picture) == ("stale", "live")


def test_the_picture_of_an_octane_that_is_back_is_stale_until_one_comes_from_it():
    back = told(*UP, ConnectFailed("gone"), OctaneIdentified())

    assert (back.status, back.picture) == ("connected", "stale")
    assert observe(back, fetched(1), 1.0).picture == "live"


def test_an_unreadable_picture_says_why_until_one_of_its_track_can_be_read():
    unreadable = told(*UP, PictureUnreadable("no pixels"), PictureUnreadable("of BC7", "z_depth"))

    assert (unreadable.picture, unreadable.picture_reason) == ("unreadable", "no pixels; z_depth: of BC7")
    half = observe(unreadable, fetched(2), 1.0)
    assert (half.picture, half.picture_reason) == ("unreadable", "z_depth: of BC7")
    assert observe(half, PictureFetched("z_depth"), 1.0).picture == "live"
    assert observe(half, TrackDropped("z_depth"), 1.0).picture == "live"


def test_an_oversized_picture_is_unreadable_and_images_stay_out_of_notifications_for_a_while():
    oversized = told(*UP, PictureOversized("70 MB"))
    fetched_one = observe(oversized, fetched(2), 1.0)

    assert (oversized.picture, oversized.picture_reason) == ("unreadable", "70 MB")
    assert (fetched_one.picture, fetched_one.takes_embedded) == ("live", False)
    assert observe(fetched_one, TimePassed(), 61.0).takes_embedded


def test_samples_that_grow_unannounced_ask_for_a_grab_soon_and_for_the_slot_after_two_seconds():
    condition = told(*UP, ImageNotified(), sampled(2))

    assert not condition.wants_grab(0.4) and condition.wants_grab(0.6)
    assert not condition.wants_slot(1.9) and condition.wants_slot(2.0)
    assert not observe(condition, ImageNotified(), 1.0).wants_slot(3.0)
    assert not observe(condition, SlotAsked(True), 2.0).wants_slot(3.0)


def test_without_a_registration_pictures_are_fetched_and_the_slot_is_not_missed():
    condition = told(OctaneIdentified(), SlotAsked(False), sampled(1), fetched(1), sampled(2))

    assert condition.wants_grab(0.0) and not condition.wants_slot(100.0)


def lost_slot(at: float) -> tuple[Observation | float, ...]:
    """The server ends the stream, and it is opened and registered again."""
    return (at, StreamEnded(), SlotAsked(True), StreamHeld())


def test_a_slot_that_is_lost_three_times_in_a_minute_is_contested():
    assert not told(*UP, *lost_slot(1.0), *lost_slot(1.0)).contested
    assert told(*UP, *lost_slot(1.0), *lost_slot(1.0), *lost_slot(1.0)).contested
    assert not told(*UP, *lost_slot(31.0), *lost_slot(31.0), *lost_slot(31.0)).contested


def test_a_slot_that_holds_is_contested_no_more():
    contested = (*UP, *lost_slot(1.0), *lost_slot(1.0), *lost_slot(1.0))

    assert told(*contested, 1.0, ImageNotified()).contested
    assert not told(*contested, 15.0, ImageNotified()).contested


def test_pictures_that_came_without_a_notification_mean_that_another_was_told():
    missed = (sampled(2), 0.25, fetched(2), 2.0, SlotAsked(True))
    more = (sampled(3), 0.25, fetched(3), 2.0, SlotAsked(True), sampled(4), 0.25, fetched(4), 2.0, SlotAsked(True))

    assert told(*UP, *missed, *more).contested


def test_an_octane_that_makes_images_seldom_has_a_slot_that_nobody_contests():
    nothing_new = (sampled(2), 2.0, SlotAsked(True), sampled(3), 2.0, SlotAsked(True), sampled(4), 2.0, SlotAsked(True))

    assert not told(*UP, *nothing_new).contested


def test_a_contested_slot_is_asked_for_less_often():
    contested = told(*UP, *lost_slot(1.0), *lost_slot(1.0), *lost_slot(1.0), sampled(2))

    assert not contested.wants_slot(3.0 + 9.0) and contested.wants_slot(3.0 + 10.0)


def test_a_connection_that_seemed_lost_is_found_again_by_its_statistics():
    assert told(*UP, ConnectFailed("the network is away"), sampled(3)).status == "connected"


@pytest.mark.parametrize("observation", [CallAnswered(), TimePassed(), StreamHeld(), OctaneIdentified()])
def test_what_changes_nothing_gives_the_very_same_condition(observation):
    condition = told(OctaneIdentified(), SlotAsked(False))

    assert observe(condition, observation, 5.0) is condition
