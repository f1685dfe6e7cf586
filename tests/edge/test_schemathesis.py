"""The whole surface against its own description: whatever schemathesis thinks of, no 5xx, and errors as described."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case
from schemathesis.generation import GenerationMode

from edge.app import openapi as document
from edge.auth.grants import ALL
from edge.auth.token import mint
from edge.errors import TITLES
from ops.launch import own_argv
from router.nats.embedded import free_port
from tests.edge.auth.tally import table
from tests.edge.auth.tally import tried as counts
from tests.ops.command import ROOT, environment
from tests.waiting import PATIENCE

SECRET = "a secret for tests only, 32 bytes"
# So many for each operation, in each of two moods: as described, and just not so. Ten seconds of a machine of 2026.
EXAMPLES, WITHOUT_TOKEN = 16, 4
tried: Counter[str] = Counter()


@pytest.fixture(scope="module")
def address(nats_server: str) -> Iterator[str]:
    """The address of a secured edge in a process of its own: schemathesis asks without waiting for anybody."""
    port = free_port()
    variables = {"CALLBOARD_NATS_URL": nats_server, "CALLBOARD_JWT_SECRET": SECRET, "CALLBOARD_EDGE_DRAIN": "0.1"}
    command = own_argv("edge", "--port", str(port))
    with subprocess.Popen(command, env=environment(variables), cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not _answers(f"http://127.0.0.1:{port}/readyz"):
                assert process.poll() is None and time.monotonic() < deadline, "the edge does not get ready"
            yield f"http://127.0.0.1:{port}"
            assert process.poll() is None, "the edge did not outlive it"
        finally:
            process.terminate()
            process.wait(20)
    print("\nschemathesis was answered", dict(sorted(tried.items())))
    print(table())


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def _described() -> dict[str, Any]:
    """The description without WebSockets, which are asked otherwise."""
    found: dict[str, Any] = json.loads(json.dumps(document()))
    found["paths"] = {path: item for path, item in found["paths"].items() if not path.endswith("/ws")}
    return found


schema = schemathesis.openapi.from_dict(_described())


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def _as_text(_context: Any, value: Any) -> bytes:
    """The text of an offer: whatever was generated, since no schema describes SDP."""
    return str(value).encode()


@pytest.mark.slow
@pytest.mark.parametrize("granted", [True, False], ids=["everything granted", "no token"])
def test_whatever_is_asked_gets_an_answer_that_is_described(address: str, granted: bool) -> None:
    headers = {"Authorization": f"Bearer {mint(SECRET, 'schema', ALL, 600, None, None)}"} if granted else {}
    before = sum(tried.values())
    with httpx.Client(base_url=address, timeout=PATIENCE, headers=headers) as http:
        session = http.post("/callbacks/sessions", json={}).json().get("session_id", "sess_0123456789abcdef")
        operations = [result.ok() for result in schema.get_all_operations()]
        for operation in operations:
            for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
                examples = EXAMPLES if granted else WITHOUT_TOKEN
                _try(http, operation.as_strategy(generation_mode=mode), session, examples)

    assert sum(tried.values()) - before > (400 if granted else 100), tried


def _try(http: httpx.Client, cases: SearchStrategy[Case], session: str, examples: int) -> None:
    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(cases)
    def ask(case: Case) -> None:
        _ask(http, case, session)

    try:
        ask()
    except Unsatisfiable:
        # An operation without parameters has nothing that could be wrong.
        pass


def _ask(http: httpx.Client, case: Case, session: str) -> None:
    """Asks, and holds the answer to the description. Every other case is about a session that there is."""
    if case.path_parameters and "session_id" in case.path_parameters and sum(tried.values()) % 2:
        case.path_parameters["session_id"] = session
    if case.method == "DELETE" and sum(tried.values()) % 2:
        return
    given = case.as_transport_kwargs(base_url=str(http.base_url))
    request = requests.Request(
        **{name: given.get(name) for name in ("method", "url", "params", "json", "data", "cookies")},
        headers={**dict(given.get("headers") or {}), **{k: v for k, v in http.headers.items() if k == "authorization"}},
    )
    try:
        prepared = request.prepare()
    except (ValueError, UnicodeError, requests.RequestException):
        return  # not even a client can say this
    with requests.Session() as asking, asking.send(prepared, stream=True, timeout=20, allow_redirects=False) as answer:
        tried[f"{answer.status_code}"] += 1
        streams = "event-stream" in answer.headers.get("content-type", "") or "multipart" in answer.headers.get(
            "content-type", ""
        )
        counts("schemathesis, over HTTP", answer.status_code, "" if streams else answer.text)
        where = f"{case.method} {answer.url}"
        described = document()["paths"][case.path][case.method.lower()]["responses"]
        assert answer.status_code < 500 or answer.status_code == 503, (where, prepared.body, answer.text)
        if answer.status_code >= 400:
            body = answer.json()
            assert answer.headers["content-type"] == "application/problem+json", where
            assert body["status"] == answer.status_code and TITLES[body["code"]][0] == answer.status_code, where
            if body["code"] not in ("bad_request", "not_found", "method_not_allowed", "head_too_large"):
                assert str(answer.status_code) in described, (where, prepared.body, body)
                assert body["code"] in described[str(answer.status_code)]["description"], (where, prepared.body, body)
        else:
            assert str(answer.status_code) in described or answer.is_redirect, (where, prepared.body)
