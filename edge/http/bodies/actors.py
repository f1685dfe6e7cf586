"""Answers about actors."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.sessions.answer import MaybeTime, Time


class ActorCrash(msgspec.Struct):
    """The last crash of an actor: when, and the kind of the error."""

    at: Time
    error: str


class ListedActor(msgspec.Struct, kw_only=True):
    """One instance of an actor."""

    actor: str
    instance: str
    id: Annotated[
        str | None, Meta(description="Of its NATS micro service, new with each process; null where none answers.")
    ] = None
    state: Annotated[
        Literal["running", "silent", "gone"],
        Meta(description="silent: its process holds its lease and does not answer. gone: it has ended."),
    ]
    about: str = ""
    since: Annotated[MaybeTime, Meta(description="Since when the process serves, or since when it is gone.")] = None
    version: Annotated[str | None, Meta(description="Of Callboard, as its process was started.")] = None
    subjects: Annotated[list[str], Meta(description="Patterns of the events that it receives.")] = []
    publishes: Annotated[
        dict[str, int], Meta(description="Events since its process began, by `<domain>.<type>`; the first 64 kinds.")
    ] = {}
    restarts: Annotated[int | None, Meta(description="Crashes since its process began.")] = None
    crash: ActorCrash | None = None
    mailbox: Annotated[int | None, Meta(description="Messages that wait.")] = None
    requests: Annotated[int | None, Meta(description="Commands that were answered.")] = None
    errors: Annotated[int | None, Meta(description="Those of them that were refused or failed.")] = None
    status: Annotated[str | None, Meta(description="What the camera or the Octane last said of itself.")] = None
    reason: str | None = None
    commands: list[str] = []


class ActorsAnswer(msgspec.Struct):
    """The actors, by name and instance."""

    actors: list[ListedActor]
