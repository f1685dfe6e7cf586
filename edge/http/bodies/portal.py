"""Bodies of the portal: the page of one endpoint for its own owner."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edge.sessions.answer import MaybeTime

# An hour, for a page that is opened at once; a week for one that is sent by mail.
DEFAULT_TTL, MAX_TTL = 3600.0, 7 * 86400.0


class PortalRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the link is good."""

    ttl: Annotated[float, Meta(ge=60, le=MAX_TTL, description="Seconds for which the link is good.")] = DEFAULT_TTL


class PortalAnswer(msgspec.Struct):
    """A link to the page of one endpoint, and the token in it."""

    path: Annotated[
        str,
        Meta(
            description="The page, with the token behind `#`, which no browser sends to any server.",
            examples=["/portal/sess_5f3a9c1e0b2d#token=…"],
        ),
    ]
    token: Annotated[str | None, Meta(description="Null where no keys are configured: everything is allowed then.")]
    expires_at: MaybeTime
