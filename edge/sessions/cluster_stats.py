"""Cluster statistics: adds up what each edge process has counted per session."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping

import msgspec

from edge.stats import Stats, received, total
from router.cluster.peers import answer_peer, ask_peers
from router.nats.connection import Connection

SUBJECT = "edge.stats"


class ClusterStats:
    """This process's session statistics, and their sum over all edge processes."""

    def __init__(
        self, connection: Connection, measure: Callable[[Mapping[str, Stats]], None], size: Callable[[], int]
    ) -> None:
        """`measure` updates the statistics that change without an event, such as lag.

        `size` says how many edge processes are alive, this one included.
        """
        self.id = secrets.token_hex(4)
        self.stats: dict[str, Stats] = {}
        self._connection = connection
        self._measure = measure
        self._size = size

    @property
    def size(self) -> int:
        """How many edge processes are alive, this one included."""
        return max(1, self._size())

    def of(self, session_id: str) -> Stats:
        """This process's statistics of a session; its readers change them in place."""
        found = self.stats.get(session_id)
        if found is None:
            found = self.stats[session_id] = Stats()
        return found

    def forget(self, session_id: str) -> None:
        self.stats.pop(session_id, None)

    async def run(self) -> None:
        """Answers the other processes until cancelled."""
        listening = await self._connection.listen(SUBJECT, self._asked)
        try:
            await asyncio.Event().wait()
        finally:
            await listening.stop()

    def _asked(self, _subject: str, reply: str, payload: bytes, _headers: bytes) -> None:
        question = msgspec.json.decode(payload)
        if question.get("from") == self.id or not reply:
            return
        answer = msgspec.json.encode({"edge": self.id, "sessions": self._own(question.get("session"))})
        answer_peer(self._connection, reply, answer)

    def _own(self, session_id: str | None) -> dict[str, Stats]:
        """This process's statistics, up to date."""
        wanted = self.stats if session_id is None else (session_id,)
        chosen = {known: self.stats[known] for known in wanted if known in self.stats}
        self._measure(chosen)
        return chosen

    async def gather(self, session_id: str | None = None) -> dict[str, Stats]:
        """Adds up the statistics of all edge processes, for one session or for all."""
        parts: dict[str, list[Stats]] = {known: [stats] for known, stats in self._own(session_id).items()}
        others = self.size - 1
        if others > 0:
            question = msgspec.json.encode({"from": self.id, "session": session_id})
            for theirs in await ask_peers(self._connection, SUBJECT, question, others, _answers.decode):
                for known, stats in theirs.sessions.items():
                    parts.setdefault(known, []).append(stats)
        return {known: received(total(each)) for known, each in parts.items()}


class _Answer(msgspec.Struct):
    edge: str
    sessions: dict[str, Stats]


_answers = msgspec.json.Decoder(_Answer)
