"""Who may do what: each route for whom it is, sessions for who made them, events for who is granted them."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest
import websockets
from starlette.routing import Route

from edge.app import ACCESS, routes
from edge.auth.authenticator import Access
from edge.http import stills
from router.broker import Broker
from router.event import Event
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory, token
from tests.edge.conftest import UNHURRIED, edge_factory, store  # noqa: F401
from tests.router.firings import raised
from tests.waiting import eventually, in_time

EVERYTHING = {"read": [">"], "publish": [">"], "command": [">"], "operate": True}


def _addresses() -> list[tuple[str, str]]:
    return [
        (method, route.path)
        for route in routes()
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
        if method != "HEAD" and ACCESS.get(route.path) is not Access.OPEN
    ]


async def test_without_a_token_nothing_but_what_is_open_answers(edge: SecuredEdge) -> None:
    for path in ("/", "/livez", "/readyz", "/openapi.json", "/client/index.js"):
        assert (await edge.http.get(path)).status_code == 200, path
    for method, template in _addresses():
        path = template.format(session_id="sess_0123456789abcdef", run="x", entity="x", **_rest(template))
        answer = await edge.http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_required"), (method, path, answer.text)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="callboard"')
        assert answer.headers["content-type"] == "application/problem+json"


def _rest(template: str) -> dict[str, str]:
    known = {"session_id", "run", "entity"}
    return {
        part.split("}")[0].split(":")[0]: "1" for part in template.split("{")[1:] if part.split("}")[0] not in known
    }


async def test_a_socket_without_a_token_is_refused_before_it_is_accepted(edge: SecuredEdge) -> None:
    session = await edge.as_("alice", read=[">"]).session()
    for path in (f"/callbacks/sessions/{session}/ws", "/cameras/main/ws", "/octane/main/ws"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://127.0.0.1:{edge.port}{path}", **UNHURRIED).__aenter__()
        response = refused.value.response
        assert response.status_code == 401 and b'"code":"token_required"' in (response.body or b""), path


async def test_what_operators_ask_is_refused_to_others(edge: SecuredEdge) -> None:
    user, operator = edge.as_("alice", read=[">"], publish=[">"], command=[">"]), edge.as_("root", operate=True)
    for path in ("/metrics", "/callbacks/stats"):
        refused = await user.http.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "operator_only"), path
        assert (await operator.http.get(path)).status_code == 200, path


async def test_a_token_without_grants_may_do_nothing(edge: SecuredEdge, entity: str) -> None:
    nobody = edge.as_("nobody")
    asked = await nobody.http.post("/callbacks/sessions", json={"subjects": ["agent.>"]})
    said = await nobody.http.post("/events", json={"subject": f"job.{entity}.output"})
    seen = await nobody.session()
    await edge.as_("alice", publish=["job.>"]).publish({"subject": f"job.{entity}.output"})

    assert (asked.status_code, asked.json()["code"]) == (403, "not_granted")
    assert asked.json()["detail"] == "reading agent.> is not granted; the token's read has alert._nobody.>"
    assert (said.status_code, said.json()["code"]) == (403, "not_granted")
    assert (await nobody.poll(seen, "?cursor=earliest&limit=1000"))["events"] == []
    for path, key in (("/runs", "runs"), ("/alerts", "alerts"), ("/cameras", "cameras"), ("/octanes", "octanes")):
        assert (await nobody.http.get(path)).json()[key] == [], path


async def test_a_foreign_session_and_one_that_is_not_there_get_the_same_answer(edge: SecuredEdge) -> None:
    alice, bob = edge.as_("alice", read=[">"]), edge.as_("bob", read=[">"])
    hers, nobodys = await alice.session(), "sess_0123456789abcdef01234567"

    for method, suffix, body in (
        ("GET", "", None), ("PATCH", "", {"name": "mine now"}), ("DELETE", "", None), ("GET", "/stats", None),
        ("POST", "/test", {}), ("POST", "/refresh", None), ("GET", "/events", None), ("GET", "/sse", None),
        ("GET", "/attempts", None), ("GET", "/health", None), ("GET", "/recoveries", None), ("GET", "/recoveries/x", None),
        ("DELETE", "/recoveries/x", None), ("POST", "/resend", {"event": "x"}), ("POST", "/recover", {"since": "2026-01-01"}),
        ("POST", "/replay", {"last": 1}), ("POST", "/enable", {}), ("POST", "/disable", {}), ("POST", "/verify", {}),
        ("POST", "/secret/rotate", {}),
    ):  # fmt: skip
        answers = [
            await bob.http.request(method, f"/callbacks/sessions/{session}{suffix}", json=body)
            for session in (hers, nobodys)
        ]
        shown = [answer.text.replace(hers, "X").replace(nobodys, "X") for answer in answers]
        assert shown[0] == shown[1], (method, suffix)
        assert [answer.status_code for answer in answers] == [404, 404], (method, suffix)
        assert _plain(answers[0]) == _plain(answers[1])
    tickets = [await bob.http.post("/tickets", json={"session_id": session}) for session in (hers, nobodys)]
    assert [answer.status_code for answer in tickets] == [404, 404]
    for session in (hers, nobodys):
        async with bob.socket(session) as socket:
            said = await socket.next()
            await socket.raw.wait_closed()
            assert (said["code"], socket.raw.close_code) == ("session_not_found", 4505)
    assert (await alice.http.get(f"/callbacks/sessions/{hers}")).json()["name"] is None


def _plain(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}


async def test_everybody_lists_their_own_sessions_and_operators_all(edge: SecuredEdge, name: str) -> None:
    alice, bob, operator = edge.as_(f"a{name}"), edge.as_(f"b{name}"), edge.as_("root", operate=True)
    hers, his = await alice.session(), await bob.session()

    async def listed(who: SecuredEdge) -> list[str]:
        found: list[str] = []
        while page := (await who.http.get(f"/callbacks/sessions?limit=1000&offset={len(found)}")).json()["sessions"]:
            found += [session["session_id"] for session in page]
        return found

    assert await listed(alice) == [hers]
    assert await listed(bob) == [his]
    assert {hers, his} <= set(await listed(operator))
    shown = (await operator.http.get(f"/callbacks/sessions/{hers}")).json()
    assert shown["owner"] == f"- a{name}"


async def test_the_same_name_of_another_issuer_is_somebody_else(secured: SecuredFactory) -> None:
    from edge.auth.grants import Grants
    from edge.auth.token import mint
    from tests.edge.auth.conftest import SECRET

    async with secured() as edge:
        ours = await edge.showing(mint(SECRET, "alice", Grants.of([">"]), 60, "https://one", None)).session()
        other = edge.showing(mint(SECRET, "alice", Grants.of([">"]), 60, "https://two", None))

        assert (await other.http.get(f"/callbacks/sessions/{ours}")).status_code == 404


@pytest.mark.parametrize("lane", [True, False])
async def test_a_session_without_subjects_shows_what_is_granted_and_what_is_addressed_to_it(
    secured: SecuredFactory, entity: str, lane: bool
) -> None:
    async with secured(lane=lane) as edge:
        producer = edge.as_("producer", publish=[">"])
        alice = edge.as_("alice", read=[f"job.{entity}.>", f"agent.*.{entity}"])
        session = await alice.session()
        async with alice.socket(session) as socket, alice.sse(session) as stream:
            await socket.control("ready")
            await producer.publish(
                {"subject": f"job.{entity}x.output", "data": {"n": 0}},
                {"subject": f"job.{entity}.output", "data": {"n": 1}},
                {"subject": f"agent.any.{entity}", "type": "output", "data": {"n": 2}},
                {"subject": f"agent.any.{entity}.more", "type": "output", "data": {"n": 3}},
                {"subject": "session.sess_somebodyelse.output", "data": {"n": 4}},
            )
            await alice.http.post(f"/callbacks/sessions/{session}/test", json={"test_data": {"n": 5}})
            seen = [[e["data"]["n"] for e in await way.events(3)] for way in (socket, stream)]
            polled = [e["data"]["n"] for e in (await alice.poll(session))["events"]]

    assert seen == [[1, 2, 5], [1, 2, 5]] and polled == [1, 2, 5]


@pytest.mark.parametrize(
    ("granted", "asked", "refused"),
    [
        (["agent.>"], ["agent.run-1.>"], None),
        (["agent.*.progress"], ["agent.run-1.progress", "agent.*.progress"], None),
        (["agent.*.progress"], ["agent.run-1.*"], "agent.run-1.*"),
        (["agent.*.*", "agent.*.*.>"], ["agent.>"], None),
        (["agent.*.*"], ["agent.>"], "agent.>"),
        (["agent.run-1.>"], ["agent.*.progress"], "agent.*.progress"),
        (["agent.>"], ["agent.a.b", "job.>"], "job.>"),
        (["agent.>", "job.>"], [">"], ">"),
    ],
)
async def test_the_patterns_of_a_session_must_lie_within_what_is_granted(
    edge: SecuredEdge, granted: list[str], asked: list[str], refused: str | None
) -> None:
    alice = edge.as_("alice", read=granted)
    made = await alice.http.post("/callbacks/sessions", json={"subjects": asked})

    if refused is None:
        assert made.status_code == 201
    else:
        assert (made.status_code, made.json()["code"]) == (403, "not_granted")
        assert made.json()["detail"].startswith(f"reading {refused} is not granted; the token's read has ")
    kept = await alice.session(subjects=granted)
    changed = await alice.http.patch(f"/callbacks/sessions/{kept}", json={"subjects": asked})
    assert changed.status_code == (200 if refused is None else 403)


async def test_a_batch_with_one_event_that_is_not_granted_stores_none(edge: SecuredEdge, entity: str) -> None:
    alice = edge.as_("alice", read=["job.>"], publish=[f"job.{entity}.>"])
    session = await alice.session(subjects=[f"job.{entity}.>"])
    refused = await alice.http.post(
        "/events", json=[{"subject": f"job.{entity}.output"}, {"subject": f"job.{entity}x.output"}]
    )
    single = await alice.http.post("/events", json={"subject": "agent.x.progress"})

    assert (refused.status_code, refused.json()["code"], refused.json()["index"]) == (403, "not_granted", 1)
    assert (single.status_code, "index" in single.json()) == (403, False)
    assert (await alice.poll(session))["events"] == []


async def test_a_reader_sees_no_more_than_its_own_token_grants_also_of_another_s_session(
    edge: SecuredEdge, entity: str
) -> None:
    """Reading as an operator lifts the walls between sessions, not those between subjects."""
    alice = edge.as_("alice", read=["job.>"], publish=["job.>"])
    narrow = edge.as_("root", operate=True, read=[f"job.{entity}.a"])
    session, named = await alice.session(), await alice.session(subjects=["job.>"])
    await alice.numbers(entity, 2, kind="a")
    await alice.numbers(entity, 2, kind="b")

    seen = [event["subject"] for event in (await narrow.poll(session))["events"]]
    refused = await narrow.http.get(f"/callbacks/sessions/{named}/events")

    assert seen == [f"job.{entity}.a"] * 2
    assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")


async def test_an_operator_cannot_widen_what_an_owner_sees(edge: SecuredEdge, entity: str) -> None:
    alice = edge.as_("alice", read=[f"job.{entity}.>"])
    operator = edge.as_("root", **EVERYTHING)
    session = await alice.session(subjects=[f"job.{entity}.>"])

    widened = await operator.http.patch(f"/callbacks/sessions/{session}", json={"subjects": [">"]})
    renamed = await operator.http.patch(f"/callbacks/sessions/{session}", json={"name": "seen to"})

    assert (widened.status_code, widened.json()["code"]) == (403, "not_granted")
    assert renamed.status_code == 200 and renamed.json()["owner"] == "- alice"


async def test_runs_alerts_and_devices_are_shown_as_far_as_they_are_granted(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    for subject in (f"job.{entity}.state", f"job.{entity}x.state", f"camera.{entity}.state", f"camera.{entity}x.state"):
        await store.publish(Event.new(subject, {"status": "running"}))
    for alert in (entity, f"{entity}x"):
        await raised(store, alert)
    alice = edge.as_("alice", read=[f"*.{entity}.>"])

    async def shown(path: str) -> list[dict[str, Any]]:
        return (await alice.http.get(path)).json()[path[1:]]

    assert [run["run"] for run in await shown("/runs")] == [entity]
    await eventually(lambda: shown("/alerts"))
    assert [alert["rule"] for alert in await shown("/alerts")] == [entity]
    assert [camera["id"] for camera in await shown("/cameras")] == [entity]
    assert (await alice.http.get(f"/runs/{entity}")).status_code == 200
    assert (await alice.http.get(f"/runs/{entity}x")).status_code == 404


async def test_pictures_need_all_that_is_said_of_their_source(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
    entity: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stills, "STILL_SECONDS", 0.1)
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    partly, whole = edge.as_("alice", read=["camera.*.state"]), edge.as_("bob", read=[f"camera.{entity}.>"])
    for path in (f"/cameras/{entity}/mjpeg", f"/cameras/{entity}/snapshot"):
        refused = await partly.http.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
        assert f"camera.{entity}.>" in refused.json()["detail"]
    assert (await whole.http.get(f"/cameras/{entity}/snapshot")).json()["code"] == "no_capture"
    address = f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws"
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await websockets.connect(
            address, additional_headers={"Authorization": f"Bearer {partly.token}"}, **UNHURRIED
        ).__aenter__()
    assert refusal.value.response.status_code == 403
    async with websockets.connect(address, additional_headers={"Authorization": f"Bearer {whole.token}"}, **UNHURRIED):
        pass


async def test_a_camera_s_socket_ends_with_its_token(secured: SecuredFactory, store: Broker, entity: str) -> None:  # noqa: F811
    from edge.settings import IdentitySettings
    from tests.edge.auth.conftest import SECRET

    await store.publish(Event.new(f"camera.{entity}.state", {"status": "idle"}))
    async with secured(identity=IdentitySettings(secret=SECRET, leeway=0)) as strict:
        address = f"ws://127.0.0.1:{strict.port}/cameras/{entity}/ws"
        # A token that ends soon, and one that lasts longer where the machine was too slow to show that one in time.
        for ttl in (2, 8, 32):
            headers = {"Authorization": f"Bearer {token(ttl=ttl, read=['camera.>'])}"}
            with contextlib.suppress(websockets.InvalidStatus):
                async with websockets.connect(address, additional_headers=headers, **UNHURRIED) as socket:
                    await in_time(socket.wait_closed())
                break

    assert (socket.close_code, socket.close_reason) == (4003, "token_expired")


async def test_a_session_of_a_webhook_goes_on_after_the_token_and_within_what_was_granted(
    edge: SecuredEdge, entity: str
) -> None:
    alice = edge.as_("alice", read=[f"job.{entity}.>"])
    made = await alice.http.post(
        "/callbacks/sessions",
        json={"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/", "events": ["output"]},
    )
    session = made.json()["session_id"]

    assert made.status_code == 201 and made.json()["owner"] == "- alice"
    assert (await alice.http.get(f"/callbacks/sessions/{session}")).json()["subjects"] is None
    refused = await alice.http.post(
        "/callbacks/sessions",
        json={"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/", "subjects": ["agent.>"]},
    )
    assert refused.status_code == 403
