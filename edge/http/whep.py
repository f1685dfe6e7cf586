"""Handlers of WHEP (draft-ietf-wish-whep): a client posts an offer of WebRTC, and is sent a camera's pictures.

Candidates of the client are not needed (see `edge.transports.video.webrtc`), so Trickle ICE is accepted and has nothing to do. ICE
restarts are not supported: who asks for one is answered 501, and connects anew (RFC 9725 §4.3).
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.bodies.system import RungQuery
from edge.http.body import draining_problem, edge_of, read_body, read_query
from edge.http.camera import open_slot, readable_camera, require_camera, seconds_left
from edge.http.openapi.operation import Answer, Media, operation
from edge.runtime import Edge
from edge.transports.video.webrtc import is_installed
from edge.transports.video.webrtc_peer import BadOffer, NoPicture, Peer, TooManyPeers
from edge.transports.video.webrtc_requests import PeerRequest
from router.rungs import Rung

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
_UFRAG = re.compile(r"^a=ice-ufrag:(\S+)", re.MULTILINE)
# 64 KiB: an offer of a browser that offers all its codecs has 6.
MAX_OFFER = 64 << 10


@operation(
    "Watch by WebRTC: WHEP",
    Answer(201, "The answer in SDP; Location is where the connection is ended", Media(SDP)),
    query=RungQuery,
    text_body=SDP,
    problems=(
        "camera_not_found", "camera_gone", "no_frame", "not_granted", "too_many", "draining", "webrtc_unavailable", "bad_offer",
        "not_acceptable", "unsupported_media_type", "body_too_large", "request_timeout",
    ),
)  # fmt: skip
async def offer_peer(request: Request) -> Response:
    edge = edge_of(request)
    if edge.draining:
        raise draining_problem()
    entity = readable_camera(request, request.path_params["entity"])
    rung = Rung("h264", read_query(request, RungQuery).height)
    if not is_installed():
        raise Problem("webrtc_unavailable", "WHEP needs the extra: pip install 'callboard[webrtc]'")
    offer = await _offer(request)
    await require_camera(edge, entity)
    peer = await _connect(edge, entity, rung, offer, request)
    location = f"{request.url.path}/{peer.id}"
    headers = {"Location": location, "ETag": peer.etag, "Accept-Patch": FRAGMENT, "Cache-Control": "no-store"}
    return _with_links(edge, Response(peer.answer.result(), 201, headers, media_type=SDP))


async def _offer(request: Request) -> str:
    """The offer of a request. Raises Problem."""
    _require_type(request, SDP)
    accepted = [each.partition(";")[0].strip().lower() for each in request.headers.get("accept", "*/*").split(",")]
    if not {SDP, "application/*", "*/*"} & set(accepted):
        raise Problem("not_acceptable", f"the answer is {SDP}")
    body = await read_body(request)
    if len(body) > MAX_OFFER:
        raise Problem("body_too_large", f"at most {MAX_OFFER} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Problem("bad_offer", "the offer is not UTF-8") from None


async def _connect(edge: Edge, entity: str, rung: Rung, offer: str, request: Request) -> Peer:
    """Answers the offer. Raises Problem or BrokerError."""
    slot = open_slot(request)
    try:
        return await edge.webrtc.connect(
            entity, lambda: edge.video.watch_rung(entity, rung), offer, seconds_left(request), slot.release
        )
    except BadOffer as fault:
        raise Problem("bad_offer", str(fault)) from None
    except NoPicture as fault:
        raise Problem("no_frame", str(fault)) from None
    except TooManyPeers as fault:
        raise Problem("too_many", str(fault)) from None


def _with_links(edge: Edge, answer: Response) -> Response:
    """An answer that names the ICE servers which a client may use."""
    for link in edge.settings.webrtc.links:
        answer.headers.append("Link", link)
    return answer


@operation(
    "Ask what an offer has to be, and for the ICE servers",
    Answer(204, "Accept-Post names the type of an offer; each Link an ICE server"),
    problems=("not_granted",),
    store=False,
)
async def describe_peers(request: Request) -> Response:
    readable_camera(request, request.path_params["entity"])
    return _with_links(
        edge_of(request), Response(status_code=204, headers={"Accept-Post": SDP, "Allow": "POST, OPTIONS"})
    )


@operation(
    "Trickle ICE: candidates of a client are accepted, and not needed",
    Answer(204, "Accepted"),
    text_body=FRAGMENT,
    problems=(
        "peer_not_found", "peer_changed", "unsupported_media_type", "not_implemented", "not_granted", "bad_offer", "body_too_large",
        "request_timeout", "broker_unavailable",
    ),
)  # fmt: skip
async def change_peer(request: Request) -> Response:
    entity = readable_camera(request, request.path_params["entity"])
    _require_type(request, FRAGMENT)
    said = _UFRAG.search((await read_body(request)).decode(errors="replace"))
    if said is None:
        raise Problem("bad_offer", "a fragment needs a=ice-ufrag")
    etag = request.headers.get("if-match")
    await _make(request, PeerRequest(entity, request.path_params["peer"], "trickle", said[1], etag))
    return Response(status_code=204)


@operation(
    "End a connection of WebRTC", Answer(200, "Ended"), problems=("peer_not_found", "not_granted", "broker_unavailable")
)
async def end_peer(request: Request) -> Response:
    entity = readable_camera(request, request.path_params["entity"])
    await _make(request, PeerRequest(entity, request.path_params["peer"], "end"))
    return Response(status_code=200)


async def _make(request: Request, made: PeerRequest) -> None:
    """Makes a request at the edge process that holds the peer. Raises Problem, or BrokerError."""
    match await edge_of(request).peer_requests.make(made):
        case "not_found":
            raise Problem("peer_not_found", "no edge process has such a peer, or it has gone")
        case "changed":
            raise Problem("peer_changed", "If-Match names another ICE session")
        case "restart":
            raise Problem("not_implemented", "ICE cannot be restarted: connect anew")


def _require_type(request: Request, kind: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != kind:
        raise Problem("unsupported_media_type", f"the body must be {kind}", headers={"Accept-Post": SDP})
