"""One stream of JetStream: what its leader knows, Direct Gets (ADR-31 of NATS) from any copy, deletion, its consumers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from router.errors import Conflict, Refused, Timeout
from router.nats.connection import Connection
from router.nats.error_codes import GONE, WRONG_LAST, ErrorCode
from router.nats.headers import Reply, header, status

T = TypeVar("T")

_DIRECT_GET = "$JS.API.DIRECT.GET"
# A listing of subjects takes longer than other requests: the server reads blocks from disk for it.
LISTING_SECONDS = 10.0
# In a stream's metadata: when it was made first. A stream that nats-server 2.15 restores from an archive is a new one to it.
FIRST_CREATED = "callboard.created"


class Ack(NamedTuple):
    """JetStream has a message: its sequence in the stream, whether it was there already, and which stream that is."""

    sequence: int
    duplicate: bool
    stream: str = ""


class MessageRun(NamedTuple, Generic[T]):
    """Messages in stream order, and how many more there are behind them."""

    messages: list[T]
    left: int


class StoredMessage(NamedTuple):
    """One message as a stream holds it."""

    sequence: int
    subject: str
    payload: bytes


class LeaderMessage(NamedTuple):
    """One message as the stream's leader holds it; `headers` is the raw block, `time` RFC 3339."""

    sequence: int
    subject: str
    payload: bytes
    headers: bytes
    time: str


class Listing(NamedTuple):
    """The subjects of a stream under a pattern with their messages, and what STREAM.INFO says beside them."""

    subjects: dict[str, int]
    info: dict[str, Any]
    # Whether these are all of them.
    complete: bool


def stored(reply: Reply) -> StoredMessage:
    """Reads one message of a run."""
    sequence, subject = header(reply.headers, b"Nats-Sequence"), header(reply.headers, b"Nats-Subject")
    return StoredMessage(int(sequence or 0), subject or "", reply.payload)


def read_ack(payload: bytes) -> Ack:
    """Reads the answer to one publish. Raises Refused, and Timeout where it is none."""
    answer = msgspec.json.decode(payload) if payload else {}
    if error := answer.get("error"):
        kind = Conflict if error.get("err_code") in WRONG_LAST else Refused
        raise kind(error.get("code", 0), error.get("err_code", 0), error.get("description", "refused"))
    if "seq" not in answer:
        raise Timeout("what answered was not a stream")
    return Ack(answer["seq"], answer.get("duplicate", False), answer.get("stream", ""))


class Stream:
    """One stream by its name, whether or not the server has it. All methods raise Refused, NoResponders or Timeout."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection

    # The stream itself

    async def info(self, timeout: float | None = None) -> dict[str, Any]:
        """Reads configuration and state, as the server words them; `created` of a restored stream is that of the saved one."""
        info = await self._connection.api(f"STREAM.INFO.{self.name}", timeout=timeout)
        if first := _first_created(info):
            info["created"] = first
        return info

    async def created(self) -> str:
        """Reads when the stream was made, as the server writes it: it names one life of the stream."""
        moment: str = (await self.info())["created"]
        return moment

    async def state(self) -> dict[str, Any]:
        """Reads how many messages and bytes it holds, and from which sequence to which."""
        state: dict[str, Any] = (await self.info())["state"]
        return state

    async def page_of_subjects(self, pattern: str, offset: int = 0) -> Listing:
        """Counts the messages of each subject under a pattern; about 100,000 subjects a page."""
        request = {"subjects_filter": pattern, "offset": offset}
        info = await self._connection.api(f"STREAM.INFO.{self.name}", request, timeout=LISTING_SECONDS)
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        complete = not subjects or offset + len(subjects) >= int(info.get("total", 0))
        return Listing(subjects, info, complete)

    async def subjects(self, pattern: str) -> Listing:
        """Counts the messages of each subject under a pattern, page by page."""
        found: dict[str, int] = {}
        while True:
            page = await self.page_of_subjects(pattern, len(found))
            found |= page.subjects
            if page.complete:
                return Listing(found, page.info, True)

    async def create(self, config: Mapping[str, Any]) -> None:
        """Makes the stream; harmless where one of its name is there already."""
        try:
            await self._connection.api(f"STREAM.CREATE.{self.name}", dict(config), timeout=10)
        except Refused as refusal:
            if refusal.err_code != ErrorCode.STREAM_NAME_EXISTS:
                raise

    async def update(self, config: Mapping[str, Any]) -> None:
        """Changes the stream's configuration; when it was made first stays known."""
        kept = {}
        if first := _first_created(await self.info()):
            kept = {"metadata": {**config.get("metadata", {}), FIRST_CREATED: first}}
        await self._connection.api(f"STREAM.UPDATE.{self.name}", {**config, **kept}, timeout=10)

    async def remove(self) -> bool:
        """Deletes the whole stream; False where there is none."""
        try:
            await self._connection.api(f"STREAM.DELETE.{self.name}", timeout=10)
        except Refused as refusal:
            if refusal.err_code == ErrorCode.STREAM_NOT_FOUND:
                return False
            raise
        return True

    # What the leader holds; a copy that lags might not know it yet

    async def get(self, sequence: int) -> LeaderMessage | None:
        """Reads the message at a sequence; None where it is not kept."""
        return await self._get({"seq": sequence})

    async def get_last(self, subject: str) -> LeaderMessage | None:
        """Reads the newest message of a subject or pattern; None where there is none."""
        return await self._get({"last_by_subj": subject})

    async def get_next(self, subject: str, after: int) -> LeaderMessage | None:
        """Reads the first message of a subject or pattern that comes after a sequence; None where there is none."""
        return await self._get({"seq": after + 1, "next_by_subj": subject})

    async def _get(self, request: dict[str, Any]) -> LeaderMessage | None:
        try:
            answer = await self._connection.api(f"STREAM.MSG.GET.{self.name}", request)
        except Refused as refusal:
            if refusal.err_code == ErrorCode.NO_MESSAGE_FOUND:
                return None
            raise
        message = answer["message"]
        return LeaderMessage(
            int(message["seq"]),
            message["subject"],
            base64.b64decode(message.get("data") or ""),
            base64.b64decode(message.get("hdrs") or ""),
            message.get("time") or "",
        )

    async def delete(self, sequence: int) -> bool:
        """Deletes one message; False where it is gone already."""
        try:
            await self._connection.api(f"STREAM.MSG.DELETE.{self.name}", {"seq": sequence, "no_erase": True})
        except Refused as refusal:
            if refusal.err_code in GONE:
                return False
            raise
        return True

    async def purge(self, subject: str, before: int | None = None, timeout: float | None = None) -> int:
        """Deletes the messages under a subject or pattern, below the sequence `before` where one is given; returns how many."""
        request: dict[str, Any] = {"filter": subject}
        if before is not None:
            request["seq"] = before
        answer = await self._connection.api(f"STREAM.PURGE.{self.name}", request, timeout=timeout)
        purged: int = answer.get("purged", 0)
        return purged

    # Its consumers

    async def consumer_names(self) -> list[str]:
        """Lists the consumers."""
        found: list[str] = []
        while True:
            answer = await self._connection.api(f"CONSUMER.NAMES.{self.name}", {"offset": len(found)})
            names: list[str] = answer.get("consumers") or []
            found += names
            if not names or len(found) >= answer["total"]:
                return found

    async def consumer_info(self, name: str) -> dict[str, Any]:
        """Reads configuration and state of a consumer, as the server words them."""
        return await self._connection.api(f"CONSUMER.INFO.{self.name}.{name}")

    async def delete_consumer(self, name: str, timeout: float | None = None) -> bool:
        """Deletes a consumer; False where there is none."""
        try:
            await self._connection.api(f"CONSUMER.DELETE.{self.name}.{name}", timeout=timeout)
        except Refused as refusal:
            if refusal.err_code == ErrorCode.CONSUMER_NOT_FOUND:
                return False
            raise
        return True

    # What any copy holds

    async def read_one(self, request: Mapping[str, Any], timeout: float | None = None) -> Reply | None:
        """Reads one message, by `seq` or `last_by_subj`; None where there is none. `timeout` in seconds."""
        payload = msgspec.json.encode(dict(request))
        reply = await self._connection.ask(f"{_DIRECT_GET}.{self.name}", payload, timeout=timeout)
        code, text = status(reply.headers)
        if code == 404:
            return None
        if code:
            raise Refused(code, 0, text)
        return reply

    async def read_last(self, subject: str, timeout: float | None = None) -> Reply | None:
        """Reads the newest message of a subject; None where there is none.

        The subject stands in the request's own, so that a user can be allowed to read some subjects and no others.
        """
        reply = await self._connection.ask(f"{_DIRECT_GET}.{self.name}.{subject}", b"", timeout=timeout)
        code, text = status(reply.headers)
        if code == 404:
            return None
        if code:
            raise Refused(code, 0, text)
        return reply

    async def read_run(self, request: Mapping[str, Any], make: Callable[[Reply], T]) -> MessageRun[T]:
        """Reads what a request of `seq` or `start_time`, `next_by_subj`, `batch` and `max_bytes`, or of `multi_last`, asks for.

        `make` takes each message, in the read loop, and must not raise.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[int, str, int]] = loop.create_future()
        found: list[T] = []

        def heard(_subject: str, _reply: str, payload: bytes, raw: bytes) -> None:
            if done.done():
                return
            code, text = status(raw)
            left = header(raw, b"Nats-Num-Pending")
            if code:
                # 204 ends a run; only there is Nats-Num-Pending what is left behind it.
                done.set_result((code, text, int(left or 0)))
                return
            found.append(make(Reply(payload, raw)))
            if left is None:
                # A single answer, from a server that does not batch.
                done.set_result((204, "EOB", 0))

        def expired() -> None:
            if not done.done():
                done.set_exception(Timeout(f"a run of messages of {self.name} did not arrive"))

        address = self._connection.expect(heard)
        timer = loop.call_later(self._connection.settings.request_timeout, expired)
        try:
            subject = f"{_DIRECT_GET}.{self.name}"
            with self._connection.awaiting(subject, done):
                await self._connection.send(subject, msgspec.json.encode(dict(request)), reply=address)
                code, text, left = await done
        finally:
            timer.cancel()
            self._connection.forget(address)
        match code:
            case 204:
                return MessageRun(found, left)
            case 404:
                return MessageRun([], 0)
            case 503:
                raise Timeout(f"nobody answers for {self.name}")
        raise Refused(code, 0, text)


def _first_created(info: Mapping[str, Any]) -> str | None:
    return (info["config"].get("metadata") or {}).get(FIRST_CREATED)


async def stream_names(connection: Connection) -> set[str]:
    """Names the streams that the server has. Raises BrokerError."""
    there: set[str] = set()
    while True:
        answer = await connection.api("STREAM.NAMES", {"offset": len(there)})
        names = answer.get("streams") or []
        there.update(names)
        if not names or len(there) >= answer["total"]:
            return there


def deletion(stream: str, sequence: int) -> tuple[str, bytes]:
    """Subject and payload of the request that deletes one message, for callers that send many concurrently."""
    return f"$JS.API.STREAM.MSG.DELETE.{stream}", b'{"seq":%d,"no_erase":true}' % sequence
