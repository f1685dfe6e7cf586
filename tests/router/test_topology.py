"""The declared streams: their subjects, limits, and which of them may be away."""

from __future__ import annotations

import pytest

from router import topology
from router.topology import TopologySettings, streams


@pytest.mark.parametrize(
    ("subject", "stream"),
    [
        ("ev.orders.1.placed", "EVENTS"),
        ("hook.q.3.sess", "HOOKS"),
        ("$KV.LEASES.hook.member.a", "KV_LEASES"),
        ("live.ev.orders.1.placed", ""),
        ("cmd.run.a.stop", ""),
    ],
)
def test_the_stream_of_a_subject_is_known(subject: str, stream: str) -> None:
    assert topology.stream_of(subject) == stream


def test_every_stream_s_subjects_lead_back_to_it() -> None:
    for stream in streams(TopologySettings()):
        for subject in stream.config["subjects"]:
            assert topology.stream_of(subject) == stream.name


def test_a_limit_of_0_means_none() -> None:
    settings = TopologySettings(events_max_bytes=0, hooks_per_session=0, buckets_max_bytes=0)
    declared = {stream.name: stream.config for stream in streams(settings)}

    assert declared["EVENTS"]["max_bytes"] == declared["KV_LEASES"]["max_bytes"] == -1
    assert declared["HOOKS"]["max_msgs_per_subject"] == -1
    assert declared["HOOKS"]["discard_new_per_subject"] is False


def test_only_the_pictures_are_expendable_and_only_in_a_cluster() -> None:
    single, cluster = TopologySettings(), TopologySettings(replicas=3)

    assert [each.name for each in streams(single) if topology.is_expendable(each, single)] == []
    assert [each.name for each in streams(cluster) if topology.is_expendable(each, cluster)] == ["FRAMES"]
