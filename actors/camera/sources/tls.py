"""Says whom a source over TLS believes: the system's authorities, those of a file, or anybody."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from actors.camera.sources.source import SourceUnavailable

# Where systems keep the authorities that they believe, for FFmpeg, which knows no place of its own.
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, slots=True)
class TlsTrust:
    """What the options `tls_ca` and `tls_verify` of an address say. `authorities` is the path of a PEM file."""

    authorities: str | None = None
    verify: bool = True

    @classmethod
    def of(cls, options: Mapping[str, str]) -> TlsTrust:
        """Reads the options of an address."""
        return cls(options.get("tls_ca"), options.get("tls_verify") != "no")

    def context(self) -> ssl.SSLContext:
        """For Python's own connections. Raises SourceUnavailable where the file of authorities cannot be read."""
        try:
            context = ssl.create_default_context(cafile=self.authorities)
        except (OSError, ValueError):
            name = PurePath(self.authorities or "").name
            raise SourceUnavailable(
                f"the file {name} of tls_ca cannot be read or holds no certificate in PEM"
            ) from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def ffmpeg_options(self) -> dict[str, str]:
        """The same for FFmpeg, which verifies nothing unless it is told to."""
        self.context()
        if not self.verify:
            return {"tls_verify": "0"}
        believed: str | None = self.authorities or ssl.get_default_verify_paths().cafile
        believed = believed or next((each for each in _BUNDLES if os.path.exists(each)), None)
        return {"tls_verify": "1"} | ({"ca_file": believed} if believed else {})

    def fault(self, host: str, port: int, patience: float) -> ssl.SSLError | None:
        """What is wrong with the TLS of a server that FFmpeg could not talk to; None where it is something else."""
        try:
            with socket.create_connection((host, port), patience) as plain:
                self.context().wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLError as fault:
            return fault
        except OSError:
            pass
        return None
