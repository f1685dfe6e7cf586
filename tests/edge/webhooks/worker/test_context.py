"""Tests of edge/webhooks/worker/context.py: workers of a process share what is decoded, and the rules of endpoints."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.worker.context import MAX_RECORDS, WorkerContext
from tests.edge.webhooks.queue.test_ordering import job
from tests.edge.webhooks.stage import Stage

URL = "http://127.0.0.1:9/"


async def context_of(stage: Stage) -> WorkerContext:
    process = await stage.process()
    return process.webhooks._context


async def test_jobs_of_one_event_share_its_record_and_others_do_not(stage: Stage):
    context, one = await context_of(stage), job(1)

    first = context.record(one)

    assert context.record(msgspec.structs.replace(one, session="sess_2")) is first
    # As after EVENTS was recreated: another event has the same place.
    assert context.record(job(1)) is not first


async def test_so_many_records_are_kept_and_no_more(stage: Stage):
    context, jobs = await context_of(stage), [job(n) for n in range(MAX_RECORDS + 1)]

    records = [context.record(each) for each in jobs]

    assert context.record(jobs[-1]) is records[-1]
    assert context.record(jobs[0]) is not records[0]


async def test_a_job_waits_as_long_as_its_session_says_else_as_the_deployment(stage: Stage):
    context = await context_of(stage)
    context.settings = replace(context.settings, keep=100.0)

    assert context.max_age(EndpointSettings(url=URL)) == 100.0
    assert context.max_age(EndpointSettings(url=URL, max_age=5.0)) == 5.0


async def test_only_the_session_of_a_webhook_is_one(stage: Stage):
    context = await context_of(stage)
    session = await stage.session(URL)
    found = await context.registry.find(session.id)

    assert context.webhook(found.id) is not None
    assert context.webhook("sess_000000000000000000000000") is None
