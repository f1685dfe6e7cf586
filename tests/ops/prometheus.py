"""Runs Debian's Prometheus for tests: as promtool for the rules, and as a server that scrapes."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from router.nats.embedded import free_port
from tests import parts
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
RULES = ROOT / "ops" / "prometheus" / "rules" / "callboard.yml"
COMPARED = re.compile(r"\A(?P<left>.*) (?P<operator>>|<|==) (?P<number>[0-9.]+)\Z", re.DOTALL)


def program(name: str) -> str:
    """Finds one of Debian's programs; skips where it is missing, fails where CI says that it is there."""
    return parts.program(parts.PROMETHEUS, name)


def rules() -> list[dict[str, Any]]:
    """All recording and alert rules, in their order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


class Server:
    """A Prometheus that runs."""

    def __init__(self, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        # The moment that expressions are asked for; None for now.
        self.moment: float | None = None

    def api(self, path: str, **query: str) -> Any:
        """Asks its API; what it says under `data`, or AssertionError with its fault."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as fault:
            raise AssertionError(f"{query}: {fault.read().decode()}") from None

    def query(self, expr: str) -> Any:
        """Runs an expression at the moment that was chosen, or now."""
        when = {} if self.moment is None else {"time": f"{self.moment:.3f}"}
        return self.api("query", query=expr, **when)

    def value(self, expr: str) -> list[float]:
        """Runs an expression: the value of each series."""
        data = self.query(expr)
        if data["resultType"] == "scalar":
            return [float(data["result"][1])]
        return [float(each["value"][1]) for each in data["result"]]


@contextmanager
def prometheus(
    folder: Path, jobs: Mapping[str, list[int]], labels: Mapping[int, Mapping[str, str]] | None = None
) -> Iterator[Server]:
    """Runs a Prometheus that scrapes ports of this machine each second and knows the rules; `labels` are those of ports."""
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [
                    {"targets": [f"127.0.0.1:{each}"], "labels": dict((labels or {}).get(each, {}))} for each in ports
                ],
            }
            for job, ports in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = folder / "prometheus.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            server, deadline = Server(port, log), time.monotonic() + PATIENCE
            while not _answers(server):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(server: Server) -> bool:
    try:
        server.api("status/buildinfo")
    except (OSError, AssertionError):
        return False
    return True
