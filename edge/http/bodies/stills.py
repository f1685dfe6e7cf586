"""What may be asked of one picture of a camera."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class StillQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How old the picture may be, and whether it is to be saved."""

    max_age: Annotated[
        Annotated[float, Meta(ge=0, le=3600)] | None,
        Meta(description="Seconds that the picture may be old; without it the next capture is waited for."),
    ] = None
    download: Annotated[
        Annotated[str, Meta(max_length=8)] | None,
        Meta(description="With any value, or none, the answer names a file to save it as."),
    ] = None
    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None
    token: Annotated[
        str | None, Meta(description="A token, where the server is configured to take it from addresses.")
    ] = None
