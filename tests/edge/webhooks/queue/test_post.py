"""Tests of edge/webhooks/queue/post.py: a post carries one job, or several as a batch."""

from __future__ import annotations

from msgspec.structs import replace

from edge.webhooks.queue.job import Job
from edge.webhooks.queue.post import PendingJob, Post
from tests.edge.webhooks.queue.test_ordering import job, new


def test_a_post_of_one_job_stands_for_itself():
    pending = new(1)

    post = Post([pending], pending.job)

    assert post.jobs == (pending.job,) and post.id == pending.job.id
    assert not post.suspect and not post.replaces_deadletters and post.requested == 0


def test_a_batch_has_its_parts_and_is_suspect_where_one_of_them_is():
    some = [new(1), new(2)]
    some[1].suspect = True

    post = Post(some, Job.batch([each.job for each in some]))

    assert [each.sequence for each in post.jobs] == [1, 2]
    assert post.suspect


def test_a_redriven_delivery_replaces_its_dead_letters_and_was_requested():
    again = replace(job(1), chain="c", run=1, letters=(7,))

    post = Post([PendingJob(again, 0.0)], again)

    assert post.replaces_deadletters and post.requested == 1


def test_the_order_of_a_job_is_its_place_until_it_has_one_of_its_own():
    assert new(5).order == 5
    assert PendingJob(replace(job(5), order=3), 0.0).order == 3
