"""Fetches an issuer's public keys from its JWKS URL, caches and refreshes them, and limits how often it asks."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time

import aiohttp

from edge.auth.keys import MAX_FILE, BadKey, Key, jwks
from edge.settings import IdentitySettings
from router.timing import full_jitter

log = logging.getLogger(__name__)

FETCH_SECONDS = 5.0


class Jwks:
    """The keys of a JWKS URL. While the issuer is away the last keys stay valid, for up to `jwks_max_stale`."""

    def __init__(self, settings: IdentitySettings) -> None:
        assert settings.jwks_url
        self._url = settings.jwks_url
        self._max_age = settings.jwks_max_age
        self._max_stale = settings.jwks_max_stale
        self._min_interval = settings.jwks_min_interval
        self._keys: list[Key] = []
        self._fetched = -math.inf
        self._tried = -math.inf
        self._fetching: asyncio.Lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    @property
    def keys(self) -> list[Key]:
        """The keys as last fetched; none where that was too long ago."""
        return self._keys if time.monotonic() - self._fetched < self._max_stale else []

    async def run(self) -> None:
        """Keeps the keys fresh until cancelled."""
        failures = 0
        try:
            while True:
                if await self._fetch():
                    failures = 0
                    await asyncio.sleep(self._max_age)
                else:
                    failures += 1
                    await asyncio.sleep(full_jitter(failures, 1.0, 60.0))
        finally:
            if self._session:
                await self._session.close()

    async def refresh(self) -> None:
        """Fetches again because of an unknown key: at most every `jwks_min_interval`, and once for all that wait."""
        async with self._fetching:
            if time.monotonic() - self._tried >= self._min_interval:
                await self._fetch_locked()

    async def _fetch(self) -> bool:
        async with self._fetching:
            return await self._fetch_locked()

    async def _fetch_locked(self) -> bool:
        self._tried = time.monotonic()
        try:
            keys = jwks(await self._read(), symmetric=False, strict=False)
        except (aiohttp.ClientError, OSError, TimeoutError, BadKey, ValueError, RecursionError) as fault:
            log.warning(
                "JWKS could not be fetched; the last keys stay in use",
                extra={"url": self._url, "fault": str(fault)[:200]},
            )
            return False
        self._keys, self._fetched = keys, time.monotonic()
        return True

    async def _read(self) -> object:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
            )
        # No redirects: they could leave https or the issuer's host.
        async with self._session.get(
            self._url, allow_redirects=False, headers={"Accept": "application/jwk-set+json, application/json"}
        ) as answer:
            if answer.status != 200:
                raise BadKey(f"status {answer.status}")
            content = bytearray()
            async for part in answer.content.iter_chunked(16 * 1024):
                content += part
                if len(content) > MAX_FILE:
                    raise BadKey(f"more than {MAX_FILE} bytes")
        found: object = json.loads(content)
        return found
