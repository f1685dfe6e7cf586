"""Switches render passes on while somebody watches them, and off again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable

from actors.octane.client import OctaneClient
from actors.octane.errors import CallFailed
from actors.octane.passes import MAX_TRACKS, pass_id
from protos import octane_types_pb2 as wire

logger = logging.getLogger(__name__)

# 5 s: how soon a watched pass is switched on again that somebody else has switched off; two who insist should not do so
# at each reading of the statistics.
INSIST_SECONDS = 5.0

# 2 s: how long results of the passes before a switch may still come.
SETTLE_SECONDS = 2.0


class PinnedPasses:
    """The passes that a command chose: they stay on whoever watches, also over connections and a restart of Octane."""

    def __init__(self) -> None:
        # Empty until somebody has chosen; beauty is one of them from then on.
        self.ids: list[int] = []
        # The switch of the newest connection.
        self.switch: PassSwitch | None = None

    def choose(self, ids: Iterable[int]) -> list[int]:
        """Pins these instead of those before; returns what Octane must tone-map, which is what is watched as well."""
        self.ids = list(ids)
        return list(dict.fromkeys([*self.ids, *(self.switch.pin() if self.switch is not None else ())]))


class PassSwitch:
    """The render passes that Octane tone-maps: those that others chose, and those that are watched here."""

    def __init__(self, client: OctaneClient) -> None:
        self._client = client
        self._pinned = PinnedPasses()
        # The tone-mapped passes in the order in which their images come.
        self.order: list[int] = []
        self._rendered: set[int] = set()
        self._wanted: list[int] = []
        self._added: set[int] = set()
        self._refused: set[int] | None = None
        self._switched_at = float("-inf")

    def share(self, pinned: PinnedPasses) -> None:
        """Keeps the pinned passes on from now on, and those that are pinned later."""
        self._pinned, pinned.switch = pinned, self

    def pin(self) -> list[int]:
        """Takes note that other passes are pinned; returns those that are watched beside them."""
        watched = [each for each in self._wanted if not self._rendered or each in self._rendered]
        self._added = set(watched).difference(self._pinned.ids)
        return watched

    def saw(self, statistics: wire.RenderResultStatistics) -> None:
        """Takes note of what Octane says of its passes."""
        # A server that does not say has the beauty pass.
        self.order = [int(each) for each in statistics.tonemapPasses.data] or [wire.RENDER_PASS_BEAUTY]
        self._rendered = {int(each) for each in statistics.renderPasses.data}

    def want(self, tracks: Iterable[str]) -> None:
        """Takes note of the tracks that are watched; those that are no render pass are passed over."""
        wanted = [render_pass for track in tracks if (render_pass := pass_id(track)) is not None]
        # Beauty is the picture that is kept when nobody watches.
        self._wanted = list(dict.fromkeys([wire.RENDER_PASS_BEAUTY, *wanted]))[:MAX_TRACKS]

    def due(self, now: float) -> bool:
        """Says whether Octane should be told to tone-map other passes."""
        passes = self._passes()
        if not self.order or set(passes) in (set(self.order), self._refused):
            return False
        # At once for what is wanted anew, or no more.
        known = self._added == self._to_add()
        return not known or now - self._switched_at >= INSIST_SECONDS

    async def switch(self, now: float) -> bool:
        """Makes Octane tone-map what is wanted; False where it does not. Raises Disconnected."""
        passes, added = self._passes(), self._to_add()
        self._switched_at = now
        try:
            chosen = wire.ApiArrayRenderPassId(data=passes)  # type: ignore[arg-type] # ids without a name here
            done = bool((await self._client.engine("setAsyncTonemapRenderPasses", tonemapPasses=chosen)).result)
            reason = "" if done else "octane said no"
        except CallFailed as fault:
            done, reason = False, str(fault)
        if not done:
            self._refused = set(passes)
            logger.warning(
                "Octane did not switch render passes; those that are on stay so",
                extra={"passes": passes, "reason": reason, "address": self._client.address},
            )
            return False
        self._added, self._refused = added, None
        await self._read_order(passes)
        return True

    def settled(self, now: float) -> bool:
        """Says whether results are of the passes that were last asked for; those under way may be of the ones before."""
        return now - self._switched_at >= SETTLE_SECONDS

    async def _read_order(self, passes: list[int]) -> None:
        """Takes the order from Octane: it is that of the render, and not that of the request."""
        self.order = passes
        with contextlib.suppress(CallFailed):
            self.saw(await self._client.statistics())

    async def restore(self) -> None:
        """Switches off what was switched on here. Raises Disconnected."""
        if not self._added:
            return
        self._wanted = []
        await self.switch(0.0)

    def _others(self) -> list[int]:
        """The passes that a command chose, or somebody else as far as that is known."""
        pinned = [each for each in self._pinned.ids if not self._rendered or each in self._rendered]
        return list(dict.fromkeys([*pinned, *(each for each in self.order if each not in self._added)]))

    def _to_add(self) -> set[int]:
        others = self._others()
        # A pass that is not rendered has no picture, and Octane may refuse all of them for it.
        possible = [each for each in self._wanted if not self._rendered or each in self._rendered]
        return {each for each in possible if each not in others}

    def _passes(self) -> list[int]:
        added = self._to_add()
        return [*self._others(), *(each for each in self._wanted if each in added)]
