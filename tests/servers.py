"""Starts nats-servers with a configuration of the test, and makes certificates for them."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from router.broker import Broker
from router.errors import Unreachable
from router.nats.embedded import binary, free_port
from router.nats.settings import BrokerSettings
from tests.waiting import PATIENCE


class Server:
    """A nats-server as a plain process: it outlives the event loop of a single test."""

    def __init__(self, config: Path, environment: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.log = config.with_suffix(".log")
        self.url = ""
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: str = "Server is ready") -> None:
        """Starts it and waits until it says that it is ready."""
        self.log.write_text("")
        self._process = subprocess.Popen(
            [binary(), "-c", str(self.config), "-l", str(self.log)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        deadline = time.monotonic() + PATIENCE
        while ready not in self.log.read_text():
            if self._process.poll() is not None:
                said = self._process.stderr.read().decode() if self._process.stderr else ""
                raise AssertionError(f"nats-server ended: {said}{self.log.read_text()}")
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def reload(self) -> None:
        """Makes it read its configuration again; returns once it has."""
        assert self._process is not None
        before = self.log.read_text().count("Reloaded server configuration")
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while self.log.read_text().count("Reloaded server configuration") == before:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process is not None and self._process.stderr:
            self._process.stderr.close()

    def shut_down(self) -> None:
        """Ends it in good order: all it has acknowledged is in its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(PATIENCE)
        self.stop()

    @property
    def violations(self) -> list[str]:
        """What it says that somebody tried without being allowed to."""
        return [line.partition("[ERR]")[2].strip() for line in self.log.read_text().splitlines() if "Violation" in line]


@contextlib.contextmanager
def running_server(
    folder: Path, config: str, environment: Mapping[str, str] | None = None, ready: str = "Server is ready"
) -> Iterator[Server]:
    """Runs a nats-server with this configuration while the block runs; `ready` is what it logs once it may be used."""
    path = folder / "nats.conf"
    path.write_text(config)
    server = Server(path, environment)
    try:
        server.start(ready)
        yield server
    finally:
        server.stop()


async def refusal(settings: BrokerSettings) -> str:
    """Says why NATS lets these settings not in; tries for longer where a busy machine brought no answer in time."""
    said = ""
    for seconds in (0.5, 2.0, 8.0, 32.0, PATIENCE):
        try:
            async with Broker(replace(settings, connect_timeout=seconds), "stranger"):
                raise AssertionError("NATS lets them in")
        except Unreachable as fault:
            said = str(fault)
        if "TimeoutError" not in said:
            break
    return said


# What an authority's certificate is good for: other certificates.
SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests' authority")])
        self.cert = folder / "ca.crt"
        self.cert.write_bytes(
            self._sign(self._name, self._key.public_key(), [x509.BasicConstraints(ca=True, path_length=0), SIGNS])
        )

    def issue(self, name: str, *hosts: str, expired: bool = False) -> Pair:
        """Makes a certificate for a server or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        extensions: list[x509.ExtensionType] = [x509.SubjectAlternativeName(names)] if names else []
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        pair.cert.write_bytes(self._sign(subject, key.public_key(), extensions, expired))
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair

    def _sign(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        extensions: list[x509.ExtensionType],
        expired: bool = False,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2 if expired else 0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        # Without these two Python 3.13 believes no certificate.
        identified = [
            x509.SubjectKeyIdentifier.from_public_key(public),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
        ]
        for extension in (*extensions, *identified):
            builder = builder.add_extension(
                extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


@contextlib.contextmanager
def serving_small(folder: Path, max_payload: int, port: int = 0) -> Iterator[Server]:
    """Runs a nats-server with JetStream that takes at most so many bytes a message; its address is `url`."""
    port = port or free_port()
    store = f'{{ store_dir: "{folder / "jetstream"}", max_memory_store: 300MB, max_file_store: 8GB }}'
    config = f"host: 127.0.0.1\nport: {port}\nmax_payload: {max_payload}\njetstream {store}\n"
    with running_server(folder, config) as server:
        server.url = f"nats://127.0.0.1:{port}"
        yield server
