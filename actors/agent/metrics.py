"""Counts the events that the agent actor could not use."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

# late: after the run's end; second: a second completion; repeated: seen before; superseded: of an incarnation before.
IGNORED = Counter("actors_run_events_ignored_total", "Events that changed no run", ("reason",))
IGNORED_BY = {reason: IGNORED.labels(reason) for reason in ("late", "second", "repeated", "superseded")}
VANISHED = Counter("actors_runs_vanished_total", "Runs that were failed in their producer's stead")
SETTLED = Counter("actors_run_ends_settled_total", "Ends that were claimed and published in their finisher's stead")
KNOWN = Gauge("actors_runs", "Runs in memory, running or lately over")
