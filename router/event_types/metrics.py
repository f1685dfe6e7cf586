"""Declares the events of campaigns, A/B tests and metrics."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from router.event_types.declaration import Delivery, EventType

Figures = dict[str, float | None]


class CampaignMetricsData(msgspec.Struct, gc=False, kw_only=True):
    """The figures of a campaign (impressions, clicks, ctr, spend, conversions, roas), and their change since the last."""

    metrics: Figures
    campaignId: str | None = None
    campaign_id: str | None = None
    change: Figures | None = None


class ABTestResultData(msgspec.Struct, gc=False, kw_only=True):
    """The figures of one variant of a test (impressions, clicks, ctr, conversions, confidence)."""

    metrics: Figures | None = None
    testId: str | None = None
    variantId: str | None = None
    isWinner: bool | None = None
    statisticalSignificance: float | None = None
    variants: Any = None


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

    name: str | None = None
    value: float | None = None
    unit: str | None = None
    delta: float | None = None
    deltaPercent: float | None = None


METRIC_TYPES: tuple[EventType, ...] = (
    EventType(
        "campaign_metrics",
        "The figures of a campaign.",
        schema=CampaignMetricsData,
        delivery=Delivery.LATEST,
        key=("campaignId",),
        reduce={"metrics": "last", "change": "sum"},
    ),
    EventType(
        "ab_test_result",
        "The figures of a variant of an A/B test.",
        schema=ABTestResultData,
        delivery=Delivery.LATEST,
        key=("testId", "variantId"),
        reduce={"metrics": "last", "isWinner": "last", "statisticalSignificance": "last"},
        either=("metrics", "variants", "variantId"),
    ),
    EventType(
        "live_metric_update",
        "The value of a metric.",
        schema=LiveMetricData,
        delivery=Delivery.LATEST,
        key=("entityType", "entityId", "metric"),
        reduce={"value": "last", "delta": "sum"},
    ),
    EventType(
        "metric",
        "A figure.",
        schema=MetricData,
        delivery=Delivery.LATEST,
        key=("name",),
        reduce={"value": "last", "delta": "sum"},
    ),
)
