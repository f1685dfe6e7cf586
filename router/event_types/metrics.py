"""Declares the events of campaigns, A/B tests and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from router import ab_test
from router.errors import BadData
from router.event_types.declaration import Delivery, EventType
from router.event_types.fields import Amount

# The values of an entity by name; null where one is no more.
Figures = dict[str, float | None]


class CampaignFigures(msgspec.Struct, gc=False, kw_only=True):
    """The figures of a campaign, or their change."""

    impressions: float | None = None
    clicks: float | None = None
    ctr: float | None = None
    spend: float | None = None
    conversions: float | None = None
    roas: float | None = None


class VariantFigures(msgspec.Struct, gc=False, kw_only=True):
    """The figures of a variant."""

    impressions: Amount | None = None
    clicks: Amount | None = None
    ctr: float | None = None
    conversions: Amount | None = None
    confidence: float | None = None


class CampaignMetricsData(msgspec.Struct, gc=False, kw_only=True):
    """The figures of a campaign, and their change since the last."""

    metrics: CampaignFigures
    campaignId: str | None = None
    change: CampaignFigures | None = None


class SignificanceData(msgspec.Struct, gc=False, kw_only=True):
    """The significance of a result, with its comparisons (`router.ab_test`)."""

    significant: bool | None = None
    winner: str | None = None
    control: str | None = None
    alpha: float | None = None


class ABTestResultData(msgspec.Struct, gc=False, kw_only=True):
    """The figures of one variant of a test, or of all in `variants`; a significance that is missing is worked out."""

    metrics: VariantFigures | None = None
    testId: str | None = None
    variantId: str | None = None
    isWinner: bool | None = None
    statisticalSignificance: float | None = None
    significance: SignificanceData | None = None
    variants: list[Any] | dict[Any, Any] | None = None


class LiveMetricData(msgspec.Struct, gc=False, kw_only=True):
    """The value of one metric of an entity, and its change since the last."""

    metric: Annotated[str, Meta(min_length=1)]
    value: float
    entityId: str | None = None
    entityType: str | None = None
    delta: float | None = None
    deltaPercent: float | None = None


class MetricData(msgspec.Struct, gc=False, kw_only=True):
    """A figure, and its change since the last."""

    metric: str | None = None
    name: str | None = None
    value: float | None = None
    unit: str | None = None
    delta: float | None = None
    deltaPercent: float | None = None


class EntityStateData(msgspec.Struct, gc=False, kw_only=True):
    """The whole state of an entity (`router.entity`); `change` is that since the version `previous_version`."""

    entity: str
    version: int
    values: Figures
    part: str | None = None
    entity_type: str | None = None
    change: Figures | None = None
    previous_version: int | None = None
    tests: dict[str, Any] | None = None
    updated: str | None = None


class EntityChangedData(msgspec.Struct, gc=False, kw_only=True):
    """All that is other in an entity since its version `base`; null stands for what is no more."""

    entity: str
    base: int
    version: int
    values: Figures
    part: str | None = None
    change: Figures | None = None
    tests: dict[str, Any] | None = None
    updated: str | None = None


def check_figures(data: Mapping[str, Any]) -> None:
    """Raises BadData for a figure of a campaign that is neither a number nor null, of whatever name."""
    for field in ("metrics", "change"):
        for name, value in (data.get(field) or {}).items():
            if value is not None and not _is_number(value):
                raise BadData(f"{field}.{name}", "expected a number or null")


def check_value(data: Mapping[str, Any]) -> None:
    """Raises BadData for what msgpack holds as a number and JSON does not: readers would get null."""
    for field in ("value", "delta", "deltaPercent"):
        if (value := data.get(field)) is not None and not _is_number(value):
            raise BadData(field, "expected a finite number")


def _is_number(value: object) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or (
        isinstance(value, int) and not isinstance(value, bool)
    )


_FIGURES = {"additionalProperties": {"type": ["number", "null"]}}

METRIC_TYPES: tuple[EventType, ...] = (
    EventType(
        "campaign_metrics",
        "The figures of a campaign.",
        schema=CampaignMetricsData,
        delivery=Delivery.LATEST,
        key=("campaignId",),
        reduce={"metrics": "last", "change": "sum"},
        also=check_figures,
        conditions={"allOf": [{"properties": {"metrics": _FIGURES, "change": _FIGURES}}]},
    ),
    EventType(
        "ab_test_result",
        "The figures of a variant of an A/B test.",
        schema=ABTestResultData,
        delivery=Delivery.LATEST,
        key=("testId", "variantId"),
        reduce={"metrics": "last", "isWinner": "last", "statisticalSignificance": "last"},
        also=ab_test.check,
    ),
    EventType(
        "live_metric_update",
        "The value of a metric.",
        schema=LiveMetricData,
        delivery=Delivery.LATEST,
        key=("entityType", "entityId", "metric"),
        reduce={"value": "last", "delta": "sum"},
        also=check_value,
    ),
    EventType(
        "metric",
        "A figure.",
        schema=MetricData,
        delivery=Delivery.LATEST,
        key=("metric", "name"),
        reduce={"value": "last", "delta": "sum"},
        also=check_value,
    ),
    EventType(
        "state",
        "The whole state of an entity that has metrics.",
        domain="metric",
        schema=EntityStateData,
        delivery=Delivery.LATEST,
    ),
    EventType(
        "changed",
        "What is other in an entity since its last whole state.",
        domain="metric",
        schema=EntityChangedData,
        delivery=Delivery.LATEST,
    ),
)
