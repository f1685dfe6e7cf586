"""Routes requests as Starlette does, but without walking the whole table: only routes that an address can belong to are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute, Match, Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.http.slashes import SlashRedirect

# The number of parts of an address, and its first and last part where some route has that part as it is.
_Key = tuple[int, str | None, str | None]


class RouteIndex:
    """Finds the routes that an address can belong to, in the order of their table.

    Addresses are told apart by their number of parts, their first and their last part. For each kind that the table tells apart
    the routes are collected once, so the index is as large as the table makes it, whatever is asked for.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = [(route, *_parts(route)) for route in routes]
        parts = [parts for _, parts, _ in self._routes if parts]
        self._longest = max(map(len, parts), default=0) + 1
        self._firsts = {found[0] for found in parts} - {None}
        self._lasts = {found[-1] for found in parts} - {None}
        self._found: dict[_Key, tuple[BaseRoute, ...]] = {}

    def candidates(self, path: str) -> tuple[BaseRoute, ...]:
        """The routes among which are all that match a path."""
        parts = path.split("/")
        count, first, last = len(parts) - 1, parts[1] if len(parts) > 1 else None, parts[-1]
        key = (
            count if count < self._longest else self._longest,
            first if first in self._firsts else None,
            last if last in self._lasts else None,
        )
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = tuple(
                route for route, parts, open_ended in self._routes if _can_match(parts, open_ended, key)
            )
        return found


def _parts(route: BaseRoute) -> tuple[list[str | None], bool]:
    """The parts of a route's path, None for one with parameters; and whether an address may have more of them."""
    if not isinstance(route, (Route, WebSocketRoute, Mount)):
        return [], True
    parts = [None if "{" in part else part for part in route.path.split("/")[1:]]
    # Only these two match a slash.
    return parts, isinstance(route, Mount) or ":path}" in route.path


def _can_match(parts: list[str | None], open_ended: bool, key: _Key) -> bool:
    count, first, last = key
    if open_ended:
        return not parts or parts[0] in (None, first)
    return len(parts) == count and parts[0] in (None, first) and parts[-1] in (None, last)


class IndexedRouter(Router):
    """Starlette's router over an index of its routes, which do not change."""

    def __init__(self, routes: Sequence[BaseRoute], handling: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> None:
        """`handling` makes an application answer what it raises: that there is no such address, or that it has no such method."""
        super().__init__(routes, redirect_slashes=False)
        self.default = handling(SlashRedirect(self))
        self._handling = handling
        self._index = RouteIndex(self.routes)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a request to the first route that matches; where only its method is another one, to the first of those."""
        if scope["type"] == "lifespan":
            await super().app(scope, receive, send)
            return
        partial: BaseRoute | None = None
        partial_scope: Scope = {}
        # The paths of routes are relative to a root path; this program is served without one.
        for route in self.routes if scope.get("root_path") else self._index.candidates(scope["path"]):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                scope.update(child_scope)
                await route.handle(scope, receive, send)
                return
            if match is Match.PARTIAL and partial is None:
                partial, partial_scope = route, child_scope
        if partial is None:
            await self.default(scope, receive, send)
            return
        scope.update(partial_scope)
        await self._handling(partial.handle)(scope, receive, send)
