"""Redirects an address with a trailing slash to the route without it, by a relative address.

A relative `Location` needs neither the scheme nor the host nor the path prefix under which a proxy shows the edge.
"""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.routing import Match, Router
from starlette.types import Receive, Scope, Send


class SlashRedirect:
    """Handles the addresses that no route has."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._router.not_found
        if scope["type"] == "http" and scope["path"].endswith("/") and scope["path"].strip("/"):
            shorter = {**scope, "path": scope["path"].rstrip("/")}
            if any(route.matches(shorter)[0] is not Match.NONE for route in self._router.routes):
                return await _redirect(scope)(scope, receive, send)
        await answer(scope, receive, send)
        return None


def _redirect(scope: Scope) -> RedirectResponse:
    raw = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    doubled = len(raw) - len(raw.rstrip("/"))
    query = scope.get("query_string", b"").decode("latin-1")
    return RedirectResponse("../" * doubled + raw.rstrip("/").rpartition("/")[2] + (f"?{query}" if query else ""))
