"""Calls ten operations by their names, as openapi-python-client makes functions of them by default; run by a test."""

import json
import sys

from generated_client import Client
from generated_client.api.catalogue import list_schemas
from generated_client.api.events import publish_events, read_events
from generated_client.api.sessions import (
    change_session,
    create_session,
    delete_session,
    list_sessions,
    poll_session,
    read_me,
    read_session,
    read_session_stats,
)
from generated_client.api.system import check_readiness
from generated_client.models import (
    CreatedSession,
    EventTypes,
    Me,
    NewEvent,
    NewSession,
    NewSessionDeliveryMethod,
    Page,
    Problem,
    Published,
    Readyz,
    Session,
    SessionChange,
    Stats,
)


def main(address: str, subject: str) -> None:
    client = Client(base_url=address)
    ready = check_readiness.sync(client=client)
    me = read_me.sync(client=client)
    types = list_schemas.sync(client=client)
    assert isinstance(ready, Readyz) and isinstance(me, Me) and isinstance(types, EventTypes)
    body = NewSession(delivery_method=NewSessionDeliveryMethod.POLLING, subjects=[subject])
    created = create_session.sync(client=client, body=body)
    assert isinstance(created, CreatedSession), created
    session = created.session_id
    changed = change_session.sync(session, client=client, body=SessionChange(name="python"))
    published = publish_events.sync(client=client, body=NewEvent(subject=subject))
    page = poll_session.sync(session, client=client, wait=20.0, limit=1)
    past = read_events.sync(client=client, subjects=subject, last=1)
    stats = read_session_stats.sync(session, client=client)
    read = read_session.sync(session, client=client)
    gone = delete_session.sync_detailed(session, client=client)
    refused = list_sessions.sync(client=client, limit=0)
    assert isinstance(changed, Session) and isinstance(published, Published), (changed, published)
    assert isinstance(page, Page) and isinstance(past, Page) and isinstance(stats, Stats) and isinstance(read, Session)
    assert isinstance(refused, Problem)
    said = {
        "ready": ready.status,
        "reads": me.read,
        "types": len(types.types),
        "name": changed.name,
        "same": read.session_id == session and stats.session_id == session,
        "id": published.events[0].id,
        "read": [event.id for event in page.events],
        "past": [event.id for event in past.events],
        "gone": gone.status_code.value,
        "refused": refused.code,
    }
    print(json.dumps(said))


main(*sys.argv[1:3])
