"""Types of fields that several event types have."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from router.errors import BadData

# A rounding error past 0 or 1 is forgiven.
TOLERANCE = 1e-6

Share = Annotated[
    float,
    Meta(
        ge=-TOLERANCE,
        le=1 + TOLERANCE,
        description="From 0 to 1.",
        extra_json_schema={"minimum": 0, "maximum": 1},
    ),
]
Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class Shares(msgspec.Struct, gc=False, kw_only=True):
    """How far something is: a share, counts, or both; with `percent: true` the share is from 0 to 100."""

    progress: Annotated[float, Meta(description="From 0 to 1, or from 0 to 100 with `percent: true`.")] | None = None
    percent: (
        Annotated[
            float | bool,
            Meta(description="The progress from 0 to 100; or true where `progress` is a percentage."),
        ]
        | None
    ) = None
    current: Amount | None = None
    total: Amount | None = None
    rate: Annotated[float, Meta(ge=0, description="Of the counts, else of the progress, a second.")] | None = None
    eta_seconds: Amount | None = None
    stage: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if self.progress is not None:
            check_share("progress", self.progress, 100 if self.percent is True else 1)
        if self.percent is not None and not isinstance(self.percent, bool):
            check_share("percent", self.percent, 100)


def check_share(name: str, value: float, most: float) -> None:
    """Raises BadData for a number that is not from 0 to `most`."""
    if not -TOLERANCE <= value <= most + TOLERANCE or math.isnan(value):
        hint = "; a percentage is given as percent" if most == 1 and 1 < value <= 100 else ""
        raise BadData(name, f"it must be from 0 to {most:g}, not {value:g}{hint}")


# What `Shares` checks, in JSON Schema.
SHARES: dict[str, Any] = {
    "if": {"properties": {"percent": {"const": True}}, "required": ["percent"]},
    "then": {"properties": {"progress": {"minimum": 0, "maximum": 100}}},
    "else": {
        "properties": {
            "progress": {"minimum": 0, "maximum": 1},
            "percent": {"minimum": 0, "maximum": 100},
        }
    },
}
