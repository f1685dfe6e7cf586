"""Delivers from the command line what runs left in their spools."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ops.cli.interruptible import run_interruptibly
from ops.process.logs import configure_quiet
from ops.settings import Settings
from router.codec import to_json
from router.sdk.connect import is_http, sender_to
from router.sdk.flush import Flushed, flush
from router.sdk.sender import EventSender
from router.sdk.spool import SpoolHeader, default_folder

# The lease that a sender would hold; nothing holds one here.
TTL = 10.0


@dataclass(frozen=True)
class FlushRequest:
    """What is to be delivered, and where to. Without `url` each file goes where its run sent to."""

    folder: Path | None = None
    run: str | None = None
    url: str | None = None
    patience: float = 10.0
    json: bool = False


def run_flush(settings: Settings, request: FlushRequest) -> int:
    """Delivers the files and tells of each; 1 where one of them is still there."""
    configure_quiet(settings.log)
    return run_interruptibly(_flush(settings, request))


async def _flush(settings: Settings, request: FlushRequest) -> int:
    folder = request.folder or settings.command.spool_dir or default_folder()
    left = files = 0
    async for told in flush(folder, _senders(settings, request), run=request.run, patience=request.patience):
        files += 1
        left += told.left is not None
        print(_as_json(told) if request.json else _in_words(told))
    if not files and not request.json:
        print(f"nothing waits in {folder}" + (f" for {request.run}" if request.run else ""))
    return 1 if left else 0


def _senders(settings: Settings, request: FlushRequest) -> Callable[[SpoolHeader], EventSender]:
    """Makes the sender for a file: to the address that was given, or to the file's own, with the credentials that are set."""

    def make(header: SpoolHeader) -> EventSender:
        url = request.url or header.url
        if is_http(url):
            return sender_to(url, header.life, TTL, settings.command.token or None)
        # Its own address has no credentials in it; that which is configured may have. So only such a file needs to know which
        # `callboard up` is meant, where several run.
        if request.url is None and "***@" in url:
            return sender_to(settings.broker, header.life, TTL, None)
        broker = settings.broker if settings.ambiguous is None else settings.section("broker")
        return sender_to(dataclasses.replace(broker, url=url), header.life, TTL, None)

    return make


def _in_words(told: Flushed) -> str:
    run = told.header.run if told.header is not None else told.path.name
    parts = [f"{told.stored:,} events stored"]
    if told.refused:
        parts.append(f"{told.refused:,} refused" + (f" ({told.over})" if told.over else ""))
    if told.left is not None:
        parts.append(f"the rest stays in {told.path}: {told.left}")
    elif told.header is not None:
        age = max(0, int(time.time() - told.header.began / 1e9))
        parts.append(f"spooled {age} s ago")
    return f"{run}: {', '.join(parts)}"


def _as_json(told: Flushed) -> str:
    header = told.header
    return to_json(
        {
            "path": str(told.path),
            "run": header.run if header else None,
            "domain": header.domain if header else None,
            "incarnation": header.incarnation if header else None,
            "stored": told.stored,
            "refused": told.refused,
            "left": told.left,
            "refusal": str(told.over) if told.over else None,
        }
    ).decode()
