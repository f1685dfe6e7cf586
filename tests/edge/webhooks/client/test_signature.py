from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixVerificationError

from edge.sessions.endpoint.secret import Key, new_secret
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.signature import sign


def key(secret: str) -> Key:
    return EndpointSettings(url="https://a.example/", secret=secret).key


def test_an_independent_library_verifies_the_signature():
    secret = new_secret()

    headers = sign([key(secret)], "msg_1", b'{"a":1}')

    assert Webhook(secret).verify(b'{"a":1}', headers) == {"a": 1}


def test_a_second_independent_library_verifies_it_too_and_either_secret_of_an_overlap():
    old, new = new_secret(), new_secret()

    headers = sign([key(new), key(old)], "msg_1", b'{"a":1}')

    # It raises, or says nothing.
    SvixWebhook(old).verify(b'{"a":1}', headers)
    SvixWebhook(new).verify(b'{"a":1}', headers)
    for secret, body in ((old, b'{"a":2}'), (new_secret(), b'{"a":1}')):
        with pytest.raises(SvixVerificationError):
            SvixWebhook(secret).verify(body, headers)


def test_what_others_signed_is_what_is_signed_here():
    secret, at = new_secret(), 1_800_000_000
    moment = datetime.fromtimestamp(at, UTC)

    signed = sign([key(secret)], "msg_1", b'{"a":"\xc3\xbc"}', at=at)["webhook-signature"]

    assert signed == Webhook(secret).sign("msg_1", moment, '{"a":"ü"}')
    assert signed == SvixWebhook(secret).sign("msg_1", moment, '{"a":"ü"}')


def test_a_changed_body_or_id_is_noticed():
    secret = new_secret()
    headers = sign([key(secret)], "msg_1", b'{"a":1}')

    for body, changed in ((b'{"a":2}', headers), (b'{"a":1}', {**headers, "webhook-id": "msg_2"})):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, changed)


def test_an_old_signature_is_noticed():
    secret = new_secret()

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"{}", sign([key(secret)], "msg_1", b"{}", at=1_700_000_000))


def test_two_keys_give_two_signatures_of_which_either_verifies():
    old, new = new_secret(), new_secret()

    headers = sign([key(new), key(old)], "msg_1", b"{}")

    assert Webhook(old).verify(b"{}", headers) == {}
    assert Webhook(new).verify(b"{}", headers) == {}


def test_the_published_vector_of_the_standard_is_met():
    # From the Standard Webhooks reference implementations.
    headers = sign(
        [key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        at=1614265330,
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
