"""Translates between the runs of renders and the data of events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actors.octane.render_run import FilmReport, RenderRecord
from router.event import Event


def facts_of(record: RenderRecord, instance: str) -> dict[str, Any]:
    """What every event that begins or ends a run says of its render."""
    report, more = record.report, record.report.more
    return {
        "octane": instance,
        "project": report.project,
        "target": report.target,
        "width": report.width,
        "height": report.height,
        "samples": report.samples,
        "max_samples": report.max_samples,
        "render_time": report.render_time,
        "devices": [str(each.get("name")) for each in more.get("devices", ()) if isinstance(each, Mapping)],
        "simulated": more.get("simulated") is True,
    }


def progress_of(record: RenderRecord, progress: float | None) -> dict[str, Any]:
    """The data of a progress event."""
    report = record.report
    data: dict[str, Any] = {
        "current": report.samples,
        "wipes": report.wipes,
        "render_time": report.render_time,
    }
    if progress is not None:
        data |= {"progress": round(progress, 6), "total": report.max_samples}
    estimate, speed = report.more.get("estimated_render_time"), report.more.get("samples_per_second")
    if isinstance(estimate, (int, float)) and progress is not None and estimate >= report.render_time:
        data["eta_seconds"] = round(estimate - report.render_time, 3)
    if isinstance(speed, (int, float)):
        data["samples_per_second"] = speed
    return data


def film_of(report: Mapping[str, Any], target: int) -> FilmReport:
    """The film as the data of a statistics event describe it."""
    return FilmReport(
        state=str(report.get("state", "")),
        samples=int(report.get("samples", 0)),
        max_samples=int(report.get("max_samples", 0)),
        wipes=int(report.get("wipes", 0)),
        render_time=float(report.get("render_time", 0.0)),
        width=int(report.get("width", 0)),
        height=int(report.get("height", 0)),
        project=str(report.get("project", "")),
        target=target,
        more=report,
    )


def record_of(data: Mapping[str, Any]) -> RenderRecord | None:
    """The run that a `render` event tells of; None for one that cannot be read."""
    run, status = data.get("run"), data.get("status")
    try:
        began, seen = float(data["began"]), float(data["seen"])
        report = replace(film_of(data, int(data.get("target") or 0)), more={})
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(run, str) or not isinstance(status, str):
        return None
    return RenderRecord(run, status, began, seen, report)


def later(record: RenderRecord, progress: Event) -> RenderRecord:
    """The run as its last progress shows it, where that is newer."""
    samples, spent = progress.data.get("current"), progress.data.get("render_time")
    seen = progress.time / 1e9
    if seen <= record.seen or not isinstance(samples, (int, float)) or not isinstance(spent, (int, float)):
        return record
    report = replace(record.report, samples=int(samples), render_time=float(spent))
    return replace(record, seen=seen, report=report)


def name_of(record: RenderRecord) -> str:
    """What people call the render: its project without the path."""
    project = re.split(r"[\\/]", record.report.project)[-1]
    return f"Render of {project}" if project else "Render"
