"""Reads answers of NATS: payload and raw header block, single headers, the inline status of JetStream."""

from __future__ import annotations

from typing import NamedTuple


class Reply(NamedTuple):
    """One answer: payload and raw header block (empty where there was none)."""

    payload: bytes
    headers: bytes


def header(raw: bytes, name: bytes) -> str | None:
    """Reads one header from a raw NATS header block without parsing the others. `name` as sent, e.g. b"Nats-Sequence"."""
    at = raw.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 3
    return raw[start : raw.index(b"\r\n", start)].strip().decode()


def all_headers(raw: bytes) -> dict[str, str]:
    """Parses a whole header block; the last of equal names wins."""
    found: dict[str, str] = {}
    for line in raw.decode(errors="replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found[name] = value.strip()
    return found


def status(raw: bytes) -> tuple[int, str]:
    """Reads the inline status of a JetStream control message (`NATS/1.0 404 No Messages`); (0, "") where there is none."""
    line = raw[8 : raw.find(b"\r\n")].strip() if raw else b""
    if not line:
        return 0, ""
    number, _, text = line.partition(b" ")
    return (int(number), text.decode()) if number.isdigit() else (0, "")
