"""Deletes the dead letters that match a filter, by their address where that is enough, else by reading them."""

from __future__ import annotations

import asyncio

from edge.deadletters.query import READS, DeadLetterFilter, Search, Span


class Purge:
    """Deletes, or counts, what a filter matches. One request does a bounded amount of work."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._dead = search.dead

    async def run(self, chosen: DeadLetterFilter, span: Span, dry_run: bool) -> tuple[int, int]:
        """How many matched, and the sequence that was reached: `span.upto` once all is done. Raises BrokerError."""
        if chosen.is_address and dry_run:
            return await self._search.count(chosen, span), span.upto
        if chosen.is_address and chosen.since is None:
            return await self._dead.purge(chosen.pattern, span.upto), span.upto
        count = 0
        for _ in range(READS):
            letters, reached = await self._search.stretch(chosen, span)
            if dry_run:
                count += len(letters)
            else:
                count += sum(await asyncio.gather(*(self._dead.remove(letter.sequence) for letter in letters)))
            span = Span(reached, span.upto)
            if reached >= span.upto:
                break
        return count, span.after
