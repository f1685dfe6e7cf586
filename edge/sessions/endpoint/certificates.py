"""What a webhook needs for TLS beyond the public authorities: a client certificate, and authorities of its own."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from edge.errors import Problem
from router.clock import wall
from router.codec import rfc3339

# A chain of a few certificates, a key of RSA 4096, a handful of authorities: each session holds them in KV.
MAX_CERTIFICATE, MAX_KEY, MAX_CA = 16 * 1024, 8 * 1024, 32 * 1024

STARRED = "***"


class ClientCertificate(msgspec.Struct, frozen=True):
    """A certificate with those that lead to its authority, and its key, as PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "ClientCertificate()"

    def describe(self) -> dict[str, Any]:
        """The certificate as the API shows it."""
        return {"certificate": self.certificate, "key": STARRED, "not_after": _not_after(self.certificate)}


@lru_cache(maxsize=1024)
def _not_after(certificate: str) -> str:
    leaf = x509.load_pem_x509_certificates(certificate.encode())[0]
    return rfc3339(int(leaf.not_valid_after_utc.timestamp()) * 1_000_000_000)


def check_client_certificate(found: ClientCertificate) -> ClientCertificate:
    """Checks a certificate and its key, which may be used from now on. Raises Problem `bad_webhook`."""
    field = "client_certificate"
    key = _pem(field, "client_certificate.key", found.key)
    try:
        leaf = x509.load_pem_x509_certificates(
            _pem(field, "client_certificate.certificate", found.certificate).encode()
        )[0]
    except ValueError:
        raise _refused(field, "client_certificate.certificate holds no certificate that can be read") from None
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        # TypeError: it is encrypted. What the library says may hold parts of the key.
        raise _refused(field, "client_certificate.key holds no unencrypted private key that can be read") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if leaf.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise _refused(field, "client_certificate: the key does not belong to the certificate, which must come first")
    if leaf.not_valid_after_utc <= datetime.fromtimestamp(wall.now(), UTC):
        raise _refused(field, "client_certificate.certificate has expired")
    try:
        load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), found, "")
    except ssl.SSLError as fault:
        raise _refused(field, f"client_certificate cannot be used: {fault.reason or 'TLS refuses it'}") from None
    return found


def parse_ca(given: str | None) -> str:
    """Reads the `ca` of a webhook; "" for the public authorities. Raises Problem `bad_webhook`."""
    if given is None:
        return ""
    text = _pem("ca", "ca", given)
    try:
        x509.load_pem_x509_certificates(text.encode())
        load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), None, text)
    except (ValueError, ssl.SSLError):
        raise _refused("ca", "ca holds no certificates that can be read") from None
    return text


def load_into(context: ssl.SSLContext, certificate: ClientCertificate | None, ca: str) -> None:
    """Lets a context show a certificate, and believe these authorities instead of the public ones. Raises ssl.SSLError."""
    if ca:
        context.load_verify_locations(cadata=ca)
    else:
        context.load_default_certs()
    if certificate is not None:
        with _file(f"{certificate.certificate.strip()}\n{certificate.key.strip()}\n") as path:
            context.load_cert_chain(path)


@contextlib.contextmanager
def _file(text: str) -> Iterator[str]:
    """A file that holds some text, in memory where the system can: the ssl module reads keys from files only."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("callboard-certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            yield file.name


def _pem(field: str, what: str, text: str) -> str:
    if "-----BEGIN " not in text or not text.isascii():
        raise _refused(field, f"{what} must be PEM")
    return text


def _refused(field: str, detail: str) -> Problem:
    return Problem("bad_webhook", detail, field=field)
