"""Prepares a connection: credentials for nats-py, and an early error where no server listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import nats.errors

from router.errors import BadCredentials, Unreachable, Unsuitable
from router.nats.client import NatsClient
from router.nats.settings import BrokerSettings

# Message schedules, batched Direct Get and per-message TTL: all there since 2.12.
MIN_SERVER = (2, 12)
# So long a server that is being restarted is waited for, in seconds.
KNOCK_SECONDS = 1.5


def credentials_for(settings: BrokerSettings, wire: NatsClient) -> dict[str, Any]:
    """The options of nats-py that prove who we are. Raises BadCredentials."""
    # Here, because cryptography takes longer to load than all that a short command does.
    from router.nats.credentials import read_creds, read_seed, tls_context

    given = {"user": settings.user, "password": settings.password, "token": settings.token}
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    if settings.ca or settings.cert:
        options["tls"] = tls_context(settings.ca, settings.cert, settings.key)
    if creds := settings.creds:
        read_creds(creds)  # what is wrong with it is said now
        options["user_jwt_cb"] = _tried(lambda: read_creds(creds)[0])
        options["signature_cb"] = _tried(lambda nonce: read_creds(creds)[1].sign(nonce))
    elif path := settings.nkey_seed:
        read_seed(path)

        def signed(nonce: str) -> bytes:
            pair = read_seed(path)
            wire._public_nkey = pair.public
            return pair.sign(nonce)

        options["signature_cb"] = _tried(signed)
    return options


def _tried(read: Callable[..., bytes]) -> Callable[..., bytes]:
    """Reads credentials inside nats-py, which goes on trying only after errors of its own."""

    def trying(*given: str) -> bytes:
        try:
            return read(*given)
        except BadCredentials as fault:
            raise nats.errors.Error(str(fault)) from None

    return trying


async def await_listener(settings: BrokerSettings) -> None:
    """Waits until somebody listens at one of the addresses. Raises Unreachable.

    nats-py would try until its timeout, and then name only that.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(KNOCK_SECONDS, settings.connect_timeout)
    while await _refused_everywhere(settings):
        if loop.time() > deadline:
            raise Unreachable(f"no NATS server answers at {without_secrets(settings.url)} (connection refused)")
        await asyncio.sleep(0.05)


async def _refused_everywhere(settings: BrokerSettings) -> bool:
    for url in settings.servers:
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(settings.connect_timeout):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or 4222)
        except ConnectionRefusedError:
            continue
        except (OSError, TimeoutError):
            return False  # a name that does not resolve yet, a packet lost: left to nats-py and its timeout
        writer.close()
        return False
    return True


def check_server(info: Mapping[str, Any], url: str) -> None:
    """Checks what a server says of itself when it is connected to. Raises Unsuitable."""
    version = str(info.get("version", "0"))
    numbers = tuple(int(part) if part.isdigit() else 0 for part in version.split("-")[0].split(".")[:2])
    if numbers < MIN_SERVER:
        raise Unsuitable(
            f"the NATS server at {without_secrets(url)} is version {version}; "
            f"Callboard needs {MIN_SERVER[0]}.{MIN_SERVER[1]} or newer"
        )
    if not info.get("jetstream"):
        raise Unsuitable(f"the NATS server at {without_secrets(url)} runs without JetStream; start it with -js")


def without_secrets(url: str) -> str:
    """Hides the credentials a NATS address may carry."""
    return ",".join(
        part if "@" not in part else f"{part.split('://')[0]}://***@{part.rsplit('@', 1)[1]}" for part in url.split(",")
    )
