"""Tests which credentials are admitted to which routes, and what is counted of those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from edge.auth.authenticator import Access, Authenticator, Credentials, StreamCredentials
from edge.auth.grants import Grants
from edge.auth.principal import EVERYBODY, Principal
from edge.auth.tickets import KNOWN_SECONDS
from edge.errors import Problem
from edge.settings import IdentitySettings, LimitSettings
from router.broker import Broker
from router.nats.bucket import Bucket
from tests.clocks import Clock, set_clock
from tests.edge.auth.conftest import SECRET, token

ADDRESS = "192.0.2.1"
RESOURCE = "callbacks/sess_0123456789abcdef"


def authenticator(broker: Broker, **limits: float) -> Authenticator:
    settings = LimitSettings(**limits)  # type: ignore[arg-type]
    return Authenticator(IdentitySettings(secret=SECRET), settings, (), broker.connection)


def stream(ticket: str | None = None, pass_value: str | None = None, resource: str = RESOURCE) -> Credentials:
    return Credentials(None, ADDRESS, StreamCredentials(ticket, pass_value, resource, "sse"))


async def code(found: Authenticator, credentials: Credentials, access: Access) -> str:
    with pytest.raises(Problem) as refused:
        await found.admit(credentials, access)
    return refused.value.code


async def test_without_keys_everybody_is_admitted(broker: Broker) -> None:
    found = Authenticator(IdentitySettings(), LimitSettings(), (), broker.connection)

    assert found.open
    assert (await found.admit(Credentials(None, ADDRESS), Access.OPERATOR)).principal is EVERYBODY


async def test_a_token_is_admitted_and_only_operators_where_the_route_says_so(broker: Broker) -> None:
    found = authenticator(broker)
    alice, root = Credentials(token("alice"), ADDRESS), Credentials(token("root", operate=True), ADDRESS)

    assert (await found.admit(alice, Access.TOKEN)).principal.id == "- alice"
    assert await code(found, alice, Access.OPERATOR) == "operator_only"
    assert (await found.admit(root, Access.OPERATOR)).principal.grants.operate
    assert await code(found, Credentials(None, ADDRESS), Access.TOKEN) == "token_required"
    assert await code(found, stream(), Access.STREAM) == "token_required"


async def test_a_ticket_is_spent_and_answered_with_a_pass_for_the_same_resource(broker: Broker) -> None:
    found = authenticator(broker)
    ticket = await found.tickets.issue(Principal("- alice", Grants.of(read=["job.>"])), RESOURCE)

    admission = await found.admit(stream(ticket), Access.STREAM)

    assert admission.principal.id == "- alice" and admission.issued
    value = admission.issued.value
    assert await code(found, stream(ticket), Access.STREAM) == "bad_ticket"
    again = await found.admit(stream(ticket, value), Access.STREAM)
    assert (again.principal.id, again.issued) == ("- alice", None)
    assert await code(found, stream(None, value, "cameras/main"), Access.STREAM) == "bad_ticket"


async def test_a_browser_that_comes_back_is_known_without_a_look_into_the_store(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = authenticator(broker)
    ticket = await found.tickets.issue(Principal("- alice", Grants.of(read=["job.>"])), RESOURCE)
    admission = await found.admit(stream(ticket), Access.STREAM)
    assert admission.issued
    back = stream(ticket, admission.issued.value)
    await found.admit(back, Access.STREAM)
    looked_up: list[str] = []
    latest = Bucket.latest

    async def counted(bucket: Bucket, key: str) -> Any:
        looked_up.append(key.partition(".")[0])
        return await latest(bucket, key)

    monkeypatch.setattr(Bucket, "latest", counted)
    assert (await found.admit(back, Access.STREAM)).principal.id == "- alice"
    assert not looked_up
    # It is no pass to anything else, and looked up anew after a while.
    assert await code(found, stream(None, admission.issued.value, "cameras/main"), Access.STREAM) == "bad_ticket"
    clock = set_clock(monkeypatch, "edge.auth.tickets", standing=True)
    clock.advance(KNOWN_SECONDS + 1)
    await found.admit(back, Access.STREAM)

    assert looked_up == ["pass"]


async def test_a_pass_is_renewed_for_its_own_principal_only(broker: Broker) -> None:
    found = authenticator(broker)
    alice, bob = Principal("- alice", Grants()), Principal("- bob", Grants())
    value = (await found.tickets.issue_pass(alice, RESOURCE)).value

    assert await found.renew_pass(value, RESOURCE, alice)
    assert await found.renew_pass(value, RESOURCE, bob) is None
    assert await found.renew_pass(None, RESOURCE, alice) is None


async def test_invalid_tokens_and_tickets_of_an_address_are_counted_together(broker: Broker) -> None:
    found = authenticator(broker, failures_per_address=0.001, failures_per_address_burst=2)

    assert await code(found, Credentials("a.b.c", ADDRESS), Access.TOKEN) == "bad_token"
    assert await code(found, stream("a" * 43), Access.STREAM) == "bad_ticket"
    assert await code(found, Credentials(token("alice"), ADDRESS), Access.TOKEN) == "rate_limited"
    with pytest.raises(Problem) as refused:
        found.verify_now(token("alice"), ADDRESS)
    assert refused.value.code == "rate_limited"
    assert (await found.admit(Credentials(token("alice"), "192.0.2.2"), Access.TOKEN)).principal.id == "- alice"


async def test_an_expired_token_is_no_attack_and_not_counted(broker: Broker, clock: Clock) -> None:
    found = authenticator(broker, failures_per_address=0.001, failures_per_address_burst=1)
    expired = token("alice", ttl=5)
    clock.advance(60)

    for _ in range(3):
        assert await code(found, Credentials(expired, ADDRESS), Access.TOKEN) == "token_expired"
