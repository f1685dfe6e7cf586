"""Every address in a webhook's settings is checked when it is created."""

from __future__ import annotations

import pytest

from edge.errors import Problem
from edge.sessions.endpoint.oauth import OAuth2
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.checks import check_endpoint
from edge.webhooks.client.ssrf import GuardSettings

PUBLIC, PRIVATE = "https://93.184.216.34/hook", "https://10.0.0.1/"


def oauth(url: str) -> OAuth2:
    return OAuth2(token_url=url, client_id="a", client_secret="b")


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [
        (EndpointSettings(url=PRIVATE), "webhook_url"),
        (EndpointSettings(url=PUBLIC, oauth2=oauth(PRIVATE)), "oauth2"),
        (EndpointSettings(url=PUBLIC, proxy="http://10.0.0.1:3128"), "proxy"),
    ],
)
async def test_an_address_that_could_never_be_reached_is_refused_with_its_field(endpoint: EndpointSettings, field: str):
    with pytest.raises(Problem) as refused:
        await check_endpoint(endpoint, GuardSettings())

    assert (refused.value.code, refused.value.more["field"]) == ("bad_webhook", field)


async def test_addresses_that_webhooks_may_reach_pass():
    endpoint = EndpointSettings(
        url=PUBLIC, oauth2=oauth("https://93.184.216.34/token"), proxy="http://93.184.216.34:3128"
    )

    await check_endpoint(endpoint, GuardSettings())
