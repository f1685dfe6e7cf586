"""Finds out whether the store takes writes now, for each stream, and where it does not, why.

Four sources tell: what the server says of a stream (missing, without a leader), a write of our own to LEASES, what became
of real publishes, and a publish that no stream stores, which shows whether NATS allows this user to publish.

nats-server keeps the first write error of a stream: it answers later publishes not at all, even once there is room again,
until it is restarted. The text of that error comes back from a purge of a subject that the stream
does not have, which changes nothing; so that is asked where this process may purge.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from router import topology
from router.broker import Broker
from router.errors import BrokerError, Forbidden, NoResponders, Refused, StoreFailed, Timeout
from router.nats.bucket import Bucket
from router.nats.error_codes import ErrorCode
from router.nats.refusals import is_full
from router.nats.stream import Stream
from router.topology import DeclaredStream

log = logging.getLogger(__name__)

CODES = ("ok", "unreachable", "stream_missing", "storage_full", "no_quorum", "forbidden", "write_failed")
OK, UNREACHABLE, STREAM_MISSING, STORAGE_FULL, NO_QUORUM, FORBIDDEN, WRITE_FAILED = CODES

# A look costs two small requests per stream. While something is wrong its end is to be noticed soon.
LOOK_SECONDS, SOON_SECONDS = 5.0, 1.0
# However many publishes fail, the store is not asked more often than this.
MIN_PAUSE_SECONDS = 0.2
# An election takes up to 9 s, a restart of the server less; publishers wait that out, so it is no failure yet.
GRACE_SECONDS = 10.0
# So many publishes in a row that nobody answers, while the stream's newest sequence stays the same.
SILENT_PUBLISHES = 2
# A stream that fails by this evidence alone lets one publish pass as a trial so often.
TRIAL_SECONDS = 1.0
# A write that takes so long is a reason to look.
SLOW_SECONDS = 1.0
PROBE_TTL = 60.0
# Subjects that no stream has: a purge of them removes nothing, and meets no consumer's filter.
NOTHING = "callboard.nothing"
# The last token of subjects to which a right is tried.
PROBE = "callboard_probe"
# Where nothing was acknowledged yet: streams that Callboard alone writes to, with the right of the process that looks (the edge).
PROBES: Mapping[str, str] = {
    topology.HOOKS: f"hook.q.0.{PROBE}",
    topology.RETRIES: f"retry.at.{PROBE}",
    topology.DEADLETTERS: f"dead.webhook.{PROBE}.{PROBE}",
    topology.ATTEMPTS: f"attempt.{PROBE}.ok",
    **{f"KV_{name}": f"$KV.{name}.{PROBE}" for name in (topology.SESSIONS, topology.JOBS, topology.ENDPOINTS)},
}
# Where others make the streams, the edge may purge these and no others (k8s/base/nats/accounts.conf).
PURGEABLE = frozenset({topology.HOOKS, topology.RETRIES, topology.DEADLETTERS})

# Refusals of a purge that say why the stream takes no writes.
_OF_WRITING = (ErrorCode.STREAM_GENERAL_ERROR, ErrorCode.CLUSTER_NOT_AVAILABLE, ErrorCode.STREAM_NOT_FOUND)

T = TypeVar("T")


class Trouble(NamedTuple):
    """Why one stream takes no writes; `stream` is `*` where that holds for all."""

    stream: str
    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.stream}: {self.code} ({self.text})"


def code_of(refusal: Refused) -> str:
    """The code of a refused write."""
    if is_full(refusal):
        return STORAGE_FULL
    if refusal.err_code == ErrorCode.STREAM_NOT_FOUND:
        return STREAM_MISSING
    if refusal.err_code == ErrorCode.CLUSTER_NOT_AVAILABLE or refusal.code == 503:
        return NO_QUORUM
    return FORBIDDEN if refusal.code == 403 else WRITE_FAILED


class StoreHealth:
    """What is known of the store, kept up to date while `run` runs."""

    def __init__(self, broker: Broker) -> None:
        self.looked = False
        self.recreated: dict[str, int] = {}
        self._broker = broker
        self._connection = broker.connection
        self._bucket = Bucket(broker.connection, topology.LEASES)
        self._key = f"store.probe.{secrets.token_hex(4)}"
        self._troubles: dict[str, Trouble] = {}
        # What may pass by itself, and since when it is so.
        self._since: dict[str, float] = {}
        # Where a stream stood when its publishes were first left unanswered, how many there were, and when the last was seen.
        self._stuck: dict[str, tuple[tuple[Any, ...], int, float]] = {}
        self._tried = float("-inf")
        self._due = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._created: dict[str, str] = {}
        self._listeners: list[Callable[[str], None]] = []

    @property
    def troubles(self) -> Mapping[str, Trouble]:
        """The streams that take no writes."""
        return self._troubles

    @property
    def writable(self) -> bool:
        """Whether every stream takes writes, as far as that has been looked at."""
        return self.looked and not self._troubles

    @property
    def waits(self) -> bool:
        """Whether something is wrong that may pass by itself, and has not lasted long enough to be a failure."""
        return bool(self._since.keys() - self._troubles.keys())

    @property
    def code(self) -> str:
        """`ok`, or the code of the trouble that hinders most."""
        codes = {trouble.code for trouble in self._troubles.values()}
        return next((code for code in CODES if code in codes), OK)

    def on_renewed(self, listener: Callable[[str], None]) -> None:
        """Calls listener(stream) where a stream was deleted and made again, by whomever."""
        self._listeners.append(listener)

    def describe(self) -> dict[str, Any]:
        """The code, and code and text for each stream that takes no writes."""
        streams = {each.stream: {"code": each.code, "text": each.text} for each in self._troubles.values()}
        return {"code": self.code, "streams": streams}

    def trouble(self, stream: str) -> Trouble | None:
        """Why a stream takes no writes; None where it does."""
        return self._troubles.get(stream) or self._troubles.get("*")

    def require(self, stream: str) -> None:
        """Raises StoreFailed where it is known that a stream takes no writes."""
        found = self.trouble(stream)
        if found is None:
            return
        now = asyncio.get_running_loop().time()
        if stream in self._stuck and found.code == WRITE_FAILED and now - self._tried >= TRIAL_SECONDS:
            self._tried = now
            return
        raise StoreFailed(found.code, found.stream, found.text)

    async def guard(self, stream: str, work: Awaitable[T]) -> T:
        """Awaits a write to a stream. Raises StoreFailed as soon as it is known that the stream takes none."""
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        working: asyncio.Future[T] = asyncio.ensure_future(work)
        self._waiting[failed] = stream
        try:
            either: list[asyncio.Future[Any]] = [working, failed]
            done, _ = await asyncio.wait(either, timeout=SLOW_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._due.set()
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                found = self.trouble(stream)
                if found is not None:
                    raise StoreFailed(found.code, found.stream, found.text)
            return await working
        finally:
            del self._waiting[failed]
            failed.cancel()
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)

    async def write(self, stream: str, send: Callable[[], Awaitable[T]]) -> T:
        """Sends a write to a stream that is answered or times out; as `guard`. Raises StoreFailed."""
        self.require(stream)
        try:
            answer = await self.guard(stream, send())
        except (NoResponders, Timeout) as fault:
            if not isinstance(fault, Forbidden):
                self._broker.count_unanswered(stream)
            raise
        self._broker.unanswered.pop(stream, None)
        return answer

    async def run(self) -> None:
        """Looks every few seconds, and at once where a publish was left unanswered, until cancelled."""
        self._broker.on_unanswered = self._due.set
        self._connection.refused_publishes.listener = self._refused
        unlisten = self._connection.on_reconnect(self._regained)
        try:
            while True:
                await self.look()
                await asyncio.sleep(MIN_PAUSE_SECONDS)
                try:
                    async with asyncio.timeout(SOON_SECONDS if self._troubles or self._since else LOOK_SECONDS):
                        await self._due.wait()
                except TimeoutError:
                    pass
                self._due.clear()
        finally:
            unlisten()
            self._broker.on_unanswered = None
            self._connection.refused_publishes.listener = None

    def _refused(self, subject: str) -> None:
        # What a look tries itself is refused too, and is no reason to look again.
        found = self.trouble(topology.stream_of(subject))
        if found is None or found.code != FORBIDDEN:
            self._due.set()

    def _regained(self) -> None:
        # Another server, or the same one after a restart: what failed before may work now.
        self._broker.unanswered.clear()
        self._due.set()

    async def look(self, active: bool = True) -> None:
        """Asks once how everything stands; if `active`, writes to find out, and makes missing streams again where it may."""
        if not self._connection.connected:
            known = {stream: (trouble, True) for stream, trouble in self._troubles.items()}
            self._note({**known, "*": (Trouble("*", UNREACHABLE, "no connection to NATS"), False)})
            return
        streams = topology.streams(self._broker.topology)
        found = await asyncio.gather(*(self._look_at(stream, active) for stream in streams))
        self._note({trouble.stream: (trouble, sure) for trouble, sure in filter(None, found)})
        self.looked = True

    def _note(self, found: Mapping[str, tuple[Trouble, bool]]) -> None:
        now = asyncio.get_running_loop().time()
        self._since = {stream: self._since.get(stream, now) for stream, (_, sure) in found.items() if not sure}
        before = self._troubles
        self._troubles = {
            stream: trouble
            for stream, (trouble, sure) in found.items()
            # What may pass by itself is a failure only once it lasts, and stays one for as long as it does.
            if sure or stream in before or now - self._since[stream] >= GRACE_SECONDS
        }
        for stream, trouble in self._troubles.items():
            if (known := before.get(stream)) is None or known.code != trouble.code:
                log.error(
                    "stream takes no writes; refusing publishers",
                    extra={"stream": stream, "code": trouble.code, "why": trouble.text},
                )
        for stream in before.keys() - self._troubles.keys():
            log.warning("stream takes writes again", extra={"stream": stream})
        for waiting, stream in self._waiting.items():
            if self.trouble(stream) is not None and not waiting.done():
                waiting.set_result(None)

    async def _look_at(self, stream: DeclaredStream, active: bool) -> tuple[Trouble, bool] | None:
        if not topology.is_expendable(stream, self._broker.topology):
            return await self._examine(stream, active)
        # A single server that is away takes it along, and edges are not unready for that; `router_stream_leader` shows it.
        try:
            async with asyncio.timeout(topology.EXPENDABLE_SECONDS):
                found = await self._examine(stream, active)
        except TimeoutError:
            return None
        return None if found is not None and found[0].code in (NO_QUORUM, UNREACHABLE) else found

    async def _examine(self, stream: DeclaredStream, active: bool) -> tuple[Trouble, bool] | None:
        """What is wrong with a stream, and whether that is certain; None where nothing is."""
        name = stream.name
        # Of a stream with copies one server answers for all of them, if a majority has elected it.
        silent = NO_QUORUM if stream.config["num_replicas"] > 1 else UNREACHABLE
        info: dict[str, Any] = {}
        try:
            info = await Stream(self._connection, name).info()
            self._compare(name, info["created"])
            cluster = info.get("cluster") or {}
            if cluster and not cluster.get("leader"):
                self._explain(name)
                return Trouble(name, NO_QUORUM, "the stream has no leader"), False
            before = self._broker.unanswered.get(name, 0)
            if self._may_purge(stream, active) and await self._purge_nothing(name):
                # A majority has agreed to it and the store has done it: what was left unanswered before was so for another
                # reason, such as a leader that had lost its majority.
                self._explain(name, before)
            if active and (subject := await self._forbidden_subject(name)):
                return Trouble(name, FORBIDDEN, f"NATS does not allow this user to publish to {subject}"), True
            if active and stream.name == self._bucket.stream:
                await self._bucket.put(self._key, b"1", PROBE_TTL)
            return self._unanswered(name, info)
        except Refused as refusal:
            code = code_of(refusal)
            if code == STREAM_MISSING and active:
                return await self._make(stream)
            if code == NO_QUORUM:
                self._explain(name)
            text = refusal.description if code != STREAM_MISSING else "the stream does not exist"
            return Trouble(name, code, text), code != NO_QUORUM
        except Forbidden as refusal:
            return Trouble(name, FORBIDDEN, str(refusal)), True
        except NoResponders:
            if not info:
                return Trouble(name, UNREACHABLE, "JetStream does not answer"), False
            self._explain(name)
            return Trouble(name, silent, "the stream does not answer"), False
        except Timeout:
            self._explain(name)
            return Trouble(name, silent, "the stream does not answer"), False

    def _explain(self, name: str, count: int | None = None) -> None:
        """Takes publishes that were left unanswered, or so many of them, for no evidence of a stream that keeps a write error."""
        left = self._broker.unanswered.pop(name, 0) - count if count is not None else 0
        if left > 0:
            self._broker.unanswered[name] = left
        else:
            self._stuck.pop(name, None)

    def _compare(self, name: str, created: str) -> None:
        known, self._created[name] = self._created.get(name, created), created
        if known != created:
            log.error(
                "stream was deleted and created again; its readers start over",
                extra={"stream": name, "since": created},
            )
            for listener in self._listeners:
                listener(name)

    def _may_purge(self, stream: DeclaredStream, active: bool) -> bool:
        if stream.config["storage"] == "memory":
            return False
        return self._broker.topology.apply_streams or (active and stream.name in PURGEABLE)

    async def _purge_nothing(self, name: str) -> bool:
        """Raises Refused with the error that the stream's store has kept, if there is one; else whether it was purged."""
        try:
            await Stream(self._connection, name).purge(NOTHING)
        except Forbidden:
            return False
        except Refused as refusal:
            # Any other refusal is of the purge, and not of writing: an operator may have denied purges.
            if refusal.err_code in _OF_WRITING:
                raise
            return False
        return True

    async def _forbidden_subject(self, name: str) -> str | None:
        """The subject of a stream that NATS does not allow this user to publish to, though it did before or was never tried.

        Tried by a publish that says it is for another stream, which JetStream refuses to store; its subject ends with
        `callboard_probe`, beside the one that was acknowledged last, so that who subscribes to the stream's subjects by core
        NATS can tell it. An event's subject that was refused while others are allowed is the concern of those who publish to
        it; of what Callboard writes for itself, such as webhook jobs, each one is needed.
        """
        refused = [each for each in self._connection.refused_publishes.subjects if topology.stream_of(each) == name]
        acknowledged = self._broker.acknowledged.get(name)
        usual = f"{acknowledged.rpartition('.')[0]}.{PROBE}" if acknowledged else PROBES.get(name)
        tried = refused[-1:] if usual is None else [usual] if name == topology.EVENTS else [*refused[-1:], usual]
        for subject in tried:
            try:
                await self._connection.ask(subject, b"", {"Nats-Expected-Stream": NOTHING})
            except Forbidden:
                return subject
            except (NoResponders, Timeout):
                return None
        self._connection.refused_publishes.allowed(refused)
        return None

    def _unanswered(self, name: str, info: Mapping[str, Any]) -> tuple[Trouble, bool] | None:
        """Whether publishes go unanswered while the stream stays where it is."""
        silent = self._broker.unanswered.get(name, 0)
        if not silent:
            self._stuck.pop(name, None)
            return None
        cluster = info.get("cluster") or {}
        stands = (info["state"]["last_seq"], info["created"], cluster.get("leader"), cluster.get("leader_since"))
        now = asyncio.get_running_loop().time()
        known, count, at = self._stuck.get(name, (stands, 0, now))
        if known != stands or (count == silent and now - at >= GRACE_SECONDS):
            # It moved: somebody else's publish was stored, or a leader was elected. Or nobody has tried for a while, as with
            # an edge that is not ready: the next ones find out.
            self._explain(name)
            return None
        self._stuck[name] = (stands, silent, at if count == silent else now)
        if silent < SILENT_PUBLISHES:
            return None
        return Trouble(name, WRITE_FAILED, "publishes are not acknowledged; see the log of nats-server"), True

    async def _make(self, stream: DeclaredStream) -> tuple[Trouble, bool] | None:
        """Makes a stream again that is missing."""
        name = stream.name
        if not self._broker.topology.apply_streams and stream.config["storage"] != "memory":
            text = "the stream does not exist; `callboard streams apply` makes it"
            return Trouble(name, STREAM_MISSING, text), True
        try:
            await topology.create(self._connection, stream)
        except BrokerError as fault:
            return Trouble(name, STREAM_MISSING, f"the stream cannot be made again: {fault}"), True
        log.error("stream was missing; created it again, empty", extra={"stream": name})
        self.recreated[name] = self.recreated.get(name, 0) + 1
        self._broker.unanswered.pop(name, None)
        return None
