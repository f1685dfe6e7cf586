"""Runs NATS for tests as k8s/base/nats configures it: with those very files, on ports and paths of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from tests.servers import Authority, Server

NATS = Path(__file__).parents[2] / "k8s" / "base" / "nats"
USERS = ("streams", "edge", "agent", "alerts", "metrics", "camera", "octane", "producer", "operator")


def password(user: str) -> str:
    return f"pw-{user}"


class House:
    """A running server with TLS and all users; `env` is what a component's pod is given."""

    def __init__(self, server: Server, url: str, ca: Path) -> None:
        self.server = server
        self.url = url
        self.ca = ca

    def settings(self, user: str, **more: object) -> BrokerSettings:
        """How a component connects."""
        return BrokerSettings(self.url, user, password(user), ca=self.ca, inbox=f"_INBOX_{user}", **more)  # type: ignore[arg-type]

    def env(self, user: str) -> dict[str, str]:
        """The same as variables, without their prefix."""
        return {
            "NATS_URL": self.url,
            "NATS_USER": user,
            "NATS_PASSWORD": password(user),
            "NATS_CA": str(self.ca),
            "NATS_INBOX": f"_INBOX_{user}",
            "APPLY_STREAMS": "false",
        }


def environment() -> dict[str, str]:
    """What the server's pod is given."""
    return {
        "POD_NAME": "nats-0",
        **{f"NATS_{user.upper()}_PASSWORD": password(user) for user in (*USERS, "sys")},
    }


@contextlib.contextmanager
def open_house(folder: Path, more: str = "") -> Iterator[House]:
    """Runs one server with our files; what is changed in them are ports and paths, and that it has no neighbours.

    `more` is one more user, as it stands in accounts.conf.
    """
    authority, port = Authority(folder), free_port()
    pair = authority.issue("nats", "127.0.0.1", "localhost")
    text = (NATS / "nats.conf").read_text()
    for pattern, by, times in (
        (r"listen: 0\.0\.0\.0:4222", f"listen: 127.0.0.1:{port}", 1),
        (r"http: 0\.0\.0\.0:8222", f"http: 127.0.0.1:{free_port()}", 1),
        (r"/etc/nats-tls/tls\.crt", str(pair.cert), 2),
        (r"/etc/nats-tls/tls\.key", str(pair.key), 2),
        (r"/etc/nats-tls/ca\.crt", str(authority.cert), 2),
        (r"/var/run/nats/nats\.pid", str(folder / "nats.pid"), 1),
        (r"store_dir: /data", f'store_dir: "{folder / "data"}"', 1),
        (r"(?s)\ncluster \{.*?\n\}\n", "\n", 1),
    ):
        text, count = re.subn(pattern, by, text)
        assert count == times, f"{pattern} is there {count} times"
    config = folder / "nats.conf"
    config.write_text(text)
    accounts = (NATS / "accounts.conf").read_text()
    (folder / "accounts.conf").write_text(
        accounts.replace("enabled\n    users: [\n", f"enabled\n    users: [\n{more}\n", 1)
    )
    others = {f"NATS_{user.upper()}_PASSWORD": password(user) for user in re.findall(r"user: (\w+)", more)}
    server = Server(config, {**environment(), **others})
    try:
        server.start()
        yield House(server, f"tls://127.0.0.1:{port}", authority.cert)
    finally:
        server.stop()
