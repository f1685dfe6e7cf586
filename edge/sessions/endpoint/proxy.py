"""The address of the forward proxy between the edge and a webhook's receiver."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote, urlsplit

from yarl import URL

from edge.errors import Problem

MAX_PROXY = 2048

_CREDENTIALS = re.compile(r"://[^@/]*@")


def read_proxy(text: str) -> tuple[URL, str]:
    """The address of a proxy, and the value of Proxy-Authorization for it. Raises ValueError saying what is wrong."""
    if not 0 < len(text) <= MAX_PROXY or not all("!" <= character <= "~" for character in text):
        raise ValueError("proxy must be a URL such as http://user:password@proxy.example:3128")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host or port == 0:
            raise ValueError
    except ValueError:
        raise ValueError("proxy must be an http or https URL with a host") from None
    if parts.path not in ("", "/") or parts.query or "#" in text:
        raise ValueError("proxy may have no path, query or fragment")
    credentials = parts.netloc.rpartition("@")[0]
    if credentials == "***":
        raise ValueError(
            "proxy: *** is the placeholder of credentials that are not shown; give them, or leave the field out"
        )
    authorization = ""
    if credentials:
        user, _, password = credentials.partition(":")
        secret = f"{unquote(user)}:{unquote(password)}".encode()
        authorization = "Basic " + base64.b64encode(secret).decode()
    url = URL.build(scheme=parts.scheme, host=host, port=port or (443 if parts.scheme == "https" else 80))
    return url, authorization


def parse_proxy(given: str | None) -> str:
    """Reads the `proxy` of a webhook; "" for none of its own. Raises Problem `bad_webhook`."""
    if given is None:
        return ""
    try:
        read_proxy(given)
    except ValueError as fault:
        raise Problem("bad_webhook", str(fault), field="proxy") from None
    return given


def shown(url: str) -> str | None:
    """The address of a proxy without its credentials; None for none."""
    return _CREDENTIALS.sub("://***@", url) or None
