"""Handlers of dead letters: list, read, delete, redrive, purge."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edge.http.body import edge_of, json_answer, read_json


async def list_deadletters(request: Request) -> Response:
    edge = edge_of(request)
    return json_answer(await edge.desk.page(request.query_params, edge.hub.epoch))


async def summarise_deadletters(request: Request) -> Response:
    return json_answer(await edge_of(request).desk.summary())


async def read_deadletter(request: Request) -> Response:
    edge = edge_of(request)
    return json_answer(await edge.desk.letter(request.path_params["id"], edge.hub.epoch))


async def delete_deadletter(request: Request) -> Response:
    await edge_of(request).desk.delete(request.path_params["id"])
    return Response(status_code=204)


async def redrive_deadletters(request: Request) -> Response:
    job = await edge_of(request).desk.redrive(await read_json(request))
    return json_answer(job, 202, {"Location": f"/deadletters/jobs/{job['id']}"})


async def list_redrives(request: Request) -> Response:
    return json_answer(await edge_of(request).desk.jobs())


async def read_redrive(request: Request) -> Response:
    return json_answer(await edge_of(request).desk.job(request.path_params["job"]))


async def cancel_redrive(request: Request) -> Response:
    return json_answer(await edge_of(request).desk.cancel(request.path_params["job"]), 202)


async def purge_deadletters(request: Request) -> Response:
    return json_answer(await edge_of(request).desk.purge(await read_json(request)))
