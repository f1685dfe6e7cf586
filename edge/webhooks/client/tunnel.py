"""Opens a tunnel to a receiver through a forward proxy (CONNECT, RFC 9110, 9.3.6)."""

from __future__ import annotations

from edge.webhooks.client.answer import BadAnswer, ResponseReader
from edge.webhooks.client.exchange import Exchange
from edge.webhooks.client.proxy import Proxy
from edge.webhooks.client.wire import Wire
from edge.webhooks.shortage import ProxyFailed


async def tunnel(wire: Wire, host: str, port: int, proxy: Proxy, agent: str, exchange: Exchange) -> None:
    """Asks the proxy at the other end for a tunnel. Raises ProxyFailed, BadAnswer, TimeoutError or another OSError."""
    transport = wire.transport
    if transport is None:
        raise ConnectionResetError("the proxy closed the connection")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", f"User-Agent: {agent}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    deadline = exchange.deadline
    exchange.wire, exchange.answer = wire, ResponseReader(connect=True)
    try:
        done = wire.begin(exchange.answer)
        transport.write("\r\n".join([*lines, "", ""]).encode())
        await done
        answer = exchange.answer
        if answer.surplus:
            raise BadAnswer("the proxy sent something before it was asked")
        if not 200 <= answer.status < 300:
            said = " ".join(answer.excerpt.decode(errors="replace").split())[:100]
            raise ProxyFailed(f"the proxy answered {answer.status}{': ' if said else ''}{said}", answer.status)
    finally:
        wire.finish()
        exchange.wire = exchange.answer = None
        exchange.decided, exchange.deadline = False, deadline
