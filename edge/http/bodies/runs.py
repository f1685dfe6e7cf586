"""Bodies and answers of runs: their list, the lease of a producer that speaks HTTP, and the request to stop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.http.bodies.events import Text

RunDomain = Literal["agent", "job", "thread"]
Domain = Annotated[
    RunDomain | None, Meta(description="Left out, the domain in which the run was begun last; `agent` for a new one.")
]


class RunsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the runs."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many.")] = 100
    cursor: Annotated[Text | None, Meta(description="The `next` of the page before.")] = None
    domain: Annotated[RunDomain | None, Meta(description="Only runs of this domain.")] = None
    status: Annotated[
        Text | None,
        Meta(
            description="Only runs of these, separated by commas: `running`, `stopping`, `completed`, `failed`, `cancelled`."
        ),
    ] = None
    parent: Annotated[Text | None, Meta(description="Only runs that are part of this run or step.")] = None
    text: Annotated[
        Text | None,
        Meta(description="Occurs in the run's id, name, stage, message or error; case does not matter."),
    ] = None
    since: Annotated[
        Text | None,
        Meta(
            description="Heard of last then or later; a run that is over: ended then. RFC 3339, or seconds since the epoch."
        ),
    ] = None
    until: Annotated[Text | None, Meta(description="Heard of last, or ended, before then.")] = None


class RunsAnswer(msgspec.Struct):
    """The latest state of runs; the run that began last comes first."""

    runs: list[dict[str, Any]]
    total: Annotated[int, Meta(description="How many there are, on all pages.")]
    next: Annotated[str | None, Meta(description="The `cursor` of the next page; null where this is the last.")]


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which run of a name."""

    domain: RunDomain | None = None


class RunPictureQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which picture, and what a signed link says to be let in by."""

    domain: RunDomain | None = None
    expires: Annotated[int | None, Meta(description="Of a signed link: until when, in seconds since the epoch.")] = None
    signature: Annotated[Text | None, Meta(description="Of a signed link.")] = None


class RunAnswer(msgspec.Struct, kw_only=True):
    """The latest state of a run, with the fields of the event `state`, and its stages with those of the event `stages`."""

    run: str
    domain: RunDomain
    status: str
    stages: Annotated[
        list[dict[str, Any]], Meta(description="Its steps, uses of tools and child runs, in the order they began.")
    ]
    stages_left_out: Annotated[int, Meta(description="How many older ones are not listed.")]


class RunHeartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That the producer of a run is alive."""

    domain: Domain = None
    ttl: Annotated[
        float,
        Meta(
            ge=1,
            le=300,
            description="Seconds. Send the next one within a third of it; the run is failed where none came for half as long "
            "again, at most 5 s more.",
        ),
    ] = 10.0
    incarnation: Annotated[
        Text | None, Meta(description="The life of the run, as the answer to its start says it.")
    ] = None


class RunLeaseAnswer(msgspec.Struct, kw_only=True):
    """What a producer must know of its run."""

    run: str
    domain: RunDomain
    incarnation: str | None
    expires_in: Annotated[float, Meta(description="Seconds until the lease runs out.")]
    stop: Annotated[bool, Meta(description="Whether somebody wants the run to stop; end it as `cancelled`.")]
    reason: str | None
    revived: Annotated[
        bool,
        Meta(
            description="The run had been failed because no heartbeat came, and goes on as a new life under `incarnation`, "
            "which its terminal event carries from now on."
        ),
    ]


class RunLeaseQuery(msgspec.Struct, frozen=True):
    """Which lease."""

    domain: Domain = None
    incarnation: Annotated[Text | None, Meta(description="Release it only where it belongs to this life.")] = None


class RunStop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a run is to stop."""

    domain: Domain = None
    reason: Text | None = None


class RunStoppingAnswer(msgspec.Struct, kw_only=True):
    """How the request reaches the producer; with what the agent actor answered, where it passed it on."""

    run: str
    status: str
    via: Annotated[
        Literal["nats", "http"],
        Meta(description="`nats`: the producer has it; `http`: the producer's next heartbeat is answered with it."),
    ]
    domain: RunDomain | UnsetType = UNSET
    answer: dict[str, Any] | UnsetType = UNSET
