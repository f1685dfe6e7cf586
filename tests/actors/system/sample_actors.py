"""Actors for the tests of the runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from actors.system.actor import Actor, Reject, Restart, command
from actors.system.context import Context
from router.event import Event

SOON = Restart(tries=12, within=60.0, base=0.01, cap=0.02)


class Stock(Actor):
    """Counts units on hand and says so when a shelf runs empty."""

    name = "stock"
    subjects = ("orders.*.placed", "orders.*.returned")
    restart = SOON

    async def start(self, ctx: Context) -> None:
        self.on_hand: Counter[str] = Counter()

    async def receive(self, event: Event, ctx: Context) -> None:
        match event.data:
            case {"sku": str(sku), "qty": int(qty)}:
                self.on_hand[sku] += qty if event.subject.endswith(".returned") else -qty
            case {"explode": True}:
                raise KeyError("sku")
            case _:
                raise Reject("an order needs a sku and a qty")
        if self.on_hand[sku] <= 0:
            ctx.emit(f"stock.{sku}.emptied", {"sku": sku})

    @command
    async def level(self, sku: str, scale: float = 1.0) -> float:
        """Units on hand of one SKU."""
        return self.on_hand[sku] * scale

    @command
    async def fill(self, sku: str) -> None:
        """Refuses; nobody fills by hand."""
        raise Reject(f"{sku} is not filled by hand")

    @command
    async def burn(self) -> None:
        """Breaks."""
        raise ZeroDivisionError("secret detail")


def made(subjects: tuple[str, ...] = (), **methods: Any) -> Callable[[], Actor]:
    """Makes an actor's class of a few functions and settings."""
    return type("Made", (Actor,), {"name": "made", "restart": SOON, "subjects": subjects, **methods})
