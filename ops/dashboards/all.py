"""Lists the dashboards."""

from __future__ import annotations

from ops.dashboards.actors import ACTORS
from ops.dashboards.delivery import DELIVERY
from ops.dashboards.edge import EDGE
from ops.dashboards.jetstream import JETSTREAM
from ops.dashboards.overview import OVERVIEW

BOARDS = (OVERVIEW, EDGE, DELIVERY, ACTORS, JETSTREAM)
