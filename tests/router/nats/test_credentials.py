"""Proving who we are to a real nats-server: TLS, a password, an nkey, a creds file; and what is said where it fails."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from router.broker import Broker
from router.errors import BadCredentials, Unreachable
from router.event import Event
from router.live_copy import listen
from router.nats.credentials import Nkey
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from router.record import Record
from tests.servers import Authority, refusal, running_server
from tests.waiting import PATIENCE, eventually

USER, ACCOUNT, OPERATOR = 20, 0, 14


def nkey(kind: int) -> tuple[str, str, Ed25519PrivateKey]:
    """Makes a key pair as NATS's tools write it: seed, public key, and what signs."""
    private = Ed25519PrivateKey.generate()
    raw = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    seed = _written(bytes([18 << 3 | kind >> 2, (kind << 3 & 31) << 3]) + raw)
    return seed, _written(bytes([kind << 3]) + private.public_key().public_bytes_raw()), private


def _written(body: bytes) -> str:
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


def _token(signer: Ed25519PrivateKey, issuer: str, subject: str, kind: str, claims: dict[str, object]) -> str:
    """Makes a JWT of NATS's own dialect."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    body = {
        "iat": int(time.time()),
        "iss": issuer,
        "sub": subject,
        "name": subject[:5],
        "nats": {"type": kind, "version": 2, **claims},
    }
    body["jti"] = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    signed = f"{part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{part(body)}"
    return f"{signed}.{base64.urlsafe_b64encode(signer.sign(signed.encode())).decode().rstrip('=')}"


def _config(folder: Path, port: int, *more: str) -> str:
    return "\n".join([f"listen: 127.0.0.1:{port}", f'jetstream {{ store_dir: "{folder / "data"}" }}', *more])


def _tls(authority: Authority, verify: bool = False) -> str:
    pair = authority.issue("server", "127.0.0.1", "localhost")
    return (
        f'tls {{ cert_file: "{pair.cert}", key_file: "{pair.key}", ca_file: "{authority.cert}", '
        f"verify: {str(verify).lower()} }}"
    )


async def _works(settings: BrokerSettings, entity: str) -> None:
    """Publishes an event and hears it."""
    heard: list[Record] = []
    patient = replace(settings, connect_timeout=PATIENCE, request_timeout=PATIENCE / 2)
    async with Broker(patient, "test") as broker:
        await listen(broker.connection, f"job.{entity}.>", heard.append)
        for n in range(3):
            await broker.publish(Event.new(f"job.{entity}.output", {"n": n, "text": "x" * 100_000}))
        await eventually(lambda: len(heard) == 3)


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_over_tls_with_a_password(tmp_path: Path, entity: str, scheme: str) -> None:
    authority, port = Authority(tmp_path), free_port()
    users = 'authorization { user: "me", password: "s3cret" }'
    with running_server(tmp_path, _config(tmp_path, port, _tls(authority), users)):
        url = f"{scheme}://127.0.0.1:{port}"

        await _works(BrokerSettings(url, "me", "s3cret", ca=authority.cert), entity)

        wrong = await refusal(BrokerSettings(url, "me", "wrong", ca=authority.cert))
        assert "authorization violation" in wrong.lower()
        assert "certificate" in (await refusal(BrokerSettings(f"tls://127.0.0.1:{port}", "me", "s3cret"))).lower()


async def test_over_tls_with_a_certificate_of_our_own(tmp_path: Path, entity: str) -> None:
    authority, port = Authority(tmp_path), free_port()
    ours = authority.issue("callboard")
    with running_server(tmp_path, _config(tmp_path, port, _tls(authority, verify=True))):
        url = f"tls://127.0.0.1:{port}"

        await _works(BrokerSettings(url, ca=authority.cert, cert=ours.cert, key=ours.key), entity)

        with pytest.raises(Unreachable):
            await Broker(BrokerSettings(url, ca=authority.cert, connect_timeout=1.5), "test").open()


async def test_with_an_nkey(tmp_path: Path, entity: str) -> None:
    seed, public, _ = nkey(USER)
    port, file = free_port(), tmp_path / "edge.nk"
    file.write_text(f"{seed}\n")
    with running_server(tmp_path, _config(tmp_path, port, f"authorization {{ users: [ {{ nkey: {public} }} ] }}")):
        await _works(BrokerSettings(f"nats://127.0.0.1:{port}", nkey_seed=file), entity)


async def test_with_the_creds_of_an_account(tmp_path: Path, entity: str) -> None:
    _, operator, signs = nkey(OPERATOR)
    _, account, account_signs = nkey(ACCOUNT)
    seed, user, _ = nkey(USER)
    unlimited = {"subs": -1, "data": -1, "payload": -1}
    limits = {
        **unlimited,
        **dict.fromkeys(
            ("imports", "exports", "conn", "leaf", "mem_storage", "disk_storage", "streams", "consumer"), -1
        ),
        "wildcards": True,
    }
    system = nkey(ACCOUNT)[1]
    accounts = _token(signs, operator, account, "account", {"limits": limits})
    systems = _token(signs, operator, system, "account", {"limits": {**limits, "mem_storage": 0, "disk_storage": 0}})
    users = _token(account_signs, account, user, "user", {"pub": {}, "sub": {}, **unlimited})
    file = tmp_path / "edge.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{users}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    trust = f"""
        operator: {_token(signs, operator, operator, "operator", {})}
        resolver: MEMORY
        system_account: {system}
        resolver_preload: {{ {account}: {accounts}, {system}: {systems} }}
    """
    port = free_port()
    with running_server(tmp_path, _config(tmp_path, port, trust)):
        await _works(BrokerSettings(f"nats://127.0.0.1:{port}", creds=file), entity)


async def test_who_is_shut_out_while_users_change_comes_back(tmp_path: Path, entity: str) -> None:
    port = free_port()
    config = _config(tmp_path, port, 'authorization { users: [ { user: "me", password: "old" } ] }')
    with running_server(tmp_path, config) as server:
        async with Broker(BrokerSettings(f"nats://127.0.0.1:{port}", "me", "old"), "test") as broker:
            server.config.write_text(config.replace('"me"', '"somebody"'))
            server.reload()
            await eventually(lambda: not broker.connection.connected)
            server.config.write_text(config)
            server.reload()

            await eventually(lambda: broker.connection.connected)
            await broker.publish(Event.new(f"job.{entity}.output", {"n": 1}))


async def test_a_key_that_was_exchanged_counts_at_the_next_connection(tmp_path: Path, entity: str) -> None:
    (old, old_public, _), (new, new_public, _) = nkey(USER), nkey(USER)
    port, file = free_port(), tmp_path / "edge.nk"
    config = _config(tmp_path, port, f"authorization {{ users: [ {{ nkey: {old_public} }} ] }}")
    file.write_text(old)
    with running_server(tmp_path, config) as server:
        async with Broker(BrokerSettings(f"nats://127.0.0.1:{port}", nkey_seed=file), "test") as broker:
            file.unlink()  # for a moment there is none
            server.config.write_text(config.replace(old_public, new_public))
            server.reload()
            await eventually(lambda: not broker.connection.connected)
            file.write_text(new)

            await eventually(lambda: broker.connection.connected)
            await broker.publish(Event.new(f"job.{entity}.output", {"n": 1}))


def test_a_seed_gives_the_public_key_that_nats_knows_it_by() -> None:
    seed, public, _ = nkey(USER)

    assert seed.startswith("SU")
    assert Nkey.of(seed).public == public
    assert public.startswith("U")


@pytest.mark.parametrize("spoiled", ["shortened", "changed", "", "ö"])
def test_a_damaged_seed_is_refused_and_not_shown(spoiled: str) -> None:
    seed = nkey(USER)[0]
    damaged = {"shortened": seed[:20], "changed": f"{seed[:-2]}{'AA' if seed[-2:] != 'AA' else 'BB'}"}.get(
        spoiled, spoiled
    )

    with pytest.raises(BadCredentials) as caught:
        Nkey.of(damaged)

    assert not damaged or damaged not in str(caught.value)


def test_an_account_s_seed_is_no_user_s() -> None:
    with pytest.raises(BadCredentials):
        Nkey.of(nkey(ACCOUNT)[0])


@pytest.mark.parametrize("field", ["creds", "nkey_seed", "ca"])
async def test_a_file_that_is_missing_is_named(tmp_path: Path, field: str) -> None:
    path = tmp_path / "missing"

    with pytest.raises(BadCredentials, match=re.escape(str(path))):
        await Broker(BrokerSettings("nats://127.0.0.1:1", **{field: path}), "test").open()  # type: ignore[arg-type]


def test_two_ways_to_say_who_we_are_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="creds"):
        BrokerSettings(creds=tmp_path, nkey_seed=tmp_path)
    with pytest.raises(ValueError, match="cert"):
        BrokerSettings(key=tmp_path)
