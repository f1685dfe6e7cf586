"""Checks at creation every address in the settings of a webhook, and refuses those that could never be reached."""

from __future__ import annotations

from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.proxy import proxy_for
from edge.webhooks.client.ssrf import GuardSettings, check_url


async def check_endpoint(endpoint: EndpointSettings, settings: GuardSettings) -> None:
    """Checks the addresses in a webhook's settings. Raises Problem `bad_webhook` with the `field`."""
    asked = [(endpoint.url, "webhook_url")]
    if endpoint.oauth2 is not None:
        asked.append((endpoint.oauth2.token_url, "oauth2"))
    proxy = None
    for url, field in asked:
        proxy = proxy_for(url, endpoint.proxy, settings.proxy, settings.no_proxy, settings.proxy_resolves)
        # A proxy that looks names up may know others than this server does.
        await check_url(url, settings, field, resolve=proxy is None or not proxy.resolves)
    if proxy is not None and not proxy.ours:
        await check_url(str(proxy.url), settings, "proxy", plain=True)
