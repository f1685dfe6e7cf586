"""Handlers of the last picture of a run, and what they share with snapshots: headers that say when and by whom it was rendered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.auth.authenticator import Access
from edge.auth.principal import EVERYBODY, Principal
from edge.errors import Problem
from edge.http.bodies.runs import RunPictureQuery
from edge.http.body import edge_of, read_query
from edge.http.credentials import credentials_of
from edge.http.openapi.operation import Answer, Media, operation
from router.catalogue import RUN_DOMAINS
from router.last_pictures import KeptPicture, LastPictures, PictureKey, is_signed
from router.subject import escape

_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
# A header holds printable ASCII; names of programs and projects may be anything.
_MAX_HEADER = 200


@operation(
    "Read the last picture of a run, by a signed link or as one who may read the run",
    Answer(200, "The picture, with Last-Modified, ETag and X-Rendered-By", Media("image/jpeg")),
    Answer(304, "It is the picture that the client has"),
    query=RunPictureQuery,
    problems=("no_frame", "not_granted", "bad_picture_link", "bad_token", "token_required"),
)
async def run_picture(request: Request) -> Response:
    asked = read_query(request, RunPictureQuery)
    run = request.path_params["run"]
    domains = RUN_DOMAINS if asked.domain is None else (asked.domain,)
    pictures = LastPictures(edge_of(request).broker)
    reader = None if asked.signature is not None else await _reader(request)
    for domain in domains:
        if reader is not None and not reader.grants.may_read(f"{domain}.{escape(run)}.completion"):
            continue
        key = PictureKey.of_run(domain, run)
        kept = await pictures.find(key)
        if reader is None and not _is_signed(asked, domain, run, kept):
            continue
        if kept is not None:
            return await answer_with(request, pictures, key, kept)
    if reader is None:
        raise Problem(
            "bad_picture_link",
            "the link is not signed for this picture, or has expired, or the picture is not kept any more",
        )
    if not any(reader.grants.may_read(f"{domain}.{escape(run)}.completion") for domain in domains):
        reader.require_read(f"{domains[0]}.{escape(run)}.completion")
    raise Problem("no_frame", f"no picture of a run {run[:60]!r} is kept")


def _is_signed(asked: RunPictureQuery, domain: str, run: str, kept: KeptPicture | None) -> bool:
    if kept is None or asked.signature is None or asked.expires is None:
        return False
    return is_signed(domain, run, kept.key, asked.expires, asked.signature, time.time())


async def _reader(request: Request) -> Principal:
    """Who asks without a signature. Raises Problem 401."""
    authenticator = edge_of(request).authenticator
    if authenticator.open:
        return EVERYBODY
    admission = await authenticator.admit(credentials_of(request.scope, authenticator, Access.TOKEN), Access.TOKEN)
    return admission.principal


async def answer_with(request: Request, pictures: LastPictures, key: PictureKey, kept: KeptPicture) -> Response:
    """Answers with a kept picture, or with 304 where the client has it. Raises Problem 404 where it is not kept any more."""
    if _has(request, kept):
        return Response(status_code=304, headers=picture_headers(kept))
    found = await pictures.body(key, kept)
    if found is None:
        raise Problem("no_frame", "the picture is not kept any more")
    kept, body = found
    media = _TYPES.get(str(kept.header.get("format")), "application/octet-stream")
    return Response(body, media_type=media, headers=picture_headers(kept))


def picture_headers(kept: KeptPicture) -> dict[str, str]:
    """Says of a kept picture what `frame_headers` says, and by what a client asks for it again."""
    said = {"Cache-Control": "private, no-cache", "ETag": f'"{kept.etag}"', "X-Picture": "kept"}
    return said | frame_headers(kept.header)


def frame_headers(header: Mapping[str, Any]) -> dict[str, str]:
    """Says of a picture when and by whom it was rendered, and how far it was then; from the header of its frame."""
    said = {
        "X-Rendered-By": _plain(header.get("rendered_by") or header.get("source") or ""),
        "X-Simulated": "true" if header.get("simulated") else "false",
        "X-Track": _plain(header.get("track") or ""),
    }
    taken = header.get("time")
    if isinstance(taken, (int, float)):
        said["Last-Modified"] = formatdate(taken / 1000, usegmt=True)
        said["X-Picture-Age"] = str(max(0, round(time.time() - taken / 1000)))
    for name in ("samples", "max_samples"):
        if isinstance(header.get(name), int):
            said[f"X-{name.replace('_', '-').title()}"] = str(header[name])
    return {name: value for name, value in said.items() if value}


def _has(request: Request, kept: KeptPicture) -> bool:
    """Whether the client has this picture: by If-None-Match, else by If-Modified-Since (RFC 9110 §13.2.2)."""
    headers: Mapping[str, str] = request.headers
    if (given := headers.get("if-none-match")) is not None:
        tags = {tag.strip().removeprefix("W/").strip('"') for tag in given.split(",")}
        return "*" in tags or kept.etag in tags
    if (since := headers.get("if-modified-since")) is None:
        return False
    try:
        return int(kept.time) <= parsedate_to_datetime(since).timestamp()
    except ValueError:
        return False


def _plain(text: object) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in str(text))[:_MAX_HEADER]
