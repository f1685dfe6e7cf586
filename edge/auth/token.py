"""Verifies tokens: a signed JWT becomes a principal, or a Problem that says why it is refused.

    {"sub": "alice", "exp": 1790000000, "iss": "…", "aud": "…",
     "callboard": {"read": ["agent.*.>"], "publish": ["agent.alice.>"], "command": ["camera.main.*"], "operate": false}}

`sub` and `exp` are required; what `callboard` does not grant is denied, but the alerts that name the `sub` as their audience.

A token with `"sessions": ["sess_…"]` is for the endpoints of these sessions, and grants nothing else.
"""

from __future__ import annotations

import binascii
import math
import re
import time
from base64 import urlsafe_b64decode
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import jwt
import msgspec

from edge.auth.grants import MAX_GRANTS, Grants
from edge.auth.jwks import Jwks
from edge.auth.keys import ALGORITHMS, Key, load, secret_key
from edge.auth.principal import Principal
from edge.auth.verified_tokens import VerifiedTokens
from edge.errors import Problem
from edge.settings import IdentitySettings
from router.alerts import channel_of, is_user
from router.errors import BadPattern

# 8 KiB: what common proxies take as one header line.
MAX_TOKEN = 8192
_COMPACT = re.compile(r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\Z")
SESSION_ID = "^sess_[0-9a-f]{8,64}$"
# Headers by which a token brings its own key, or says where to fetch it: always an attack.
_FOREIGN_KEYS = ("jwk", "jku", "x5u", "x5c")
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})

_Pattern = Annotated[str, msgspec.Meta(max_length=255)]
_Patterns = Annotated[list[_Pattern], msgspec.Meta(max_length=MAX_GRANTS)]


class _Granted(msgspec.Struct):
    """The claim `callboard`."""

    read: _Patterns = []
    publish: _Patterns = []
    command: _Patterns = []
    operate: bool = False
    sessions: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=SESSION_ID)]], msgspec.Meta(max_length=MAX_GRANTS)
    ] = []

    @property
    def is_mixed(self) -> bool:
        """Whether it names sessions and grants something else as well."""
        return bool(self.sessions and (self.read or self.publish or self.command or self.operate))


class _Claims(msgspec.Struct):
    """The claims that are read; a token with one of the wrong type is refused."""

    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    exp: float
    nbf: float = -math.inf
    iat: float = -math.inf
    iss: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    aud: str | list[str] | None = None
    callboard: _Granted = msgspec.field(default_factory=_Granted)


_read_claims = msgspec.json.Decoder(_Claims).decode
_read_header = msgspec.json.Decoder(dict[str, Any]).decode


class _Verified(NamedTuple):
    """A token whose signature was verified: by which key, what it says, and the principal that it proves."""

    key: Key
    claims: _Claims
    principal: Principal


class Verifier:
    """Verifies tokens against the configured keys and rules."""

    def __init__(self, settings: IdentitySettings) -> None:
        """Reads the key files. Raises BadKey."""
        self._settings = settings
        self._keys: list[Key] = load(settings.keys)
        if settings.secret:
            self._keys.append(secret_key(settings.secret))
        self.jwks = Jwks(settings) if settings.jwks_url else None
        self._verified: VerifiedTokens[_Verified] = VerifiedTokens()

    async def verify(self, token: str) -> Principal:
        """The principal that a token proves. Raises Problem 401, or 503 where no keys could be fetched yet."""
        if (known := self.known(token)) is not None:
            return known
        algorithm, kid = self._read_header(token)
        if self.jwks and not self._candidates(algorithm, kid):
            await self.jwks.refresh()
        return self.verify_now(token)

    def verify_now(self, token: str) -> Principal:
        """The same with the keys already fetched. Raises Problem."""
        if (known := self.known(token)) is not None:
            return known
        algorithm, kid = self._read_header(token)
        candidates = self._candidates(algorithm, kid)
        if not candidates and self.jwks and not self.jwks.keys:
            raise Problem("keys_unavailable", headers={"Retry-After": "5"})
        for key in candidates:
            payload = _signed(token, key)
            if payload is not None:
                found = self._read(payload, key)
                self._verified.put(token, found)
                return found.principal
        raise bad_token("no known key has signed it")

    def known(self, token: str) -> Principal | None:
        """The principal of a token that was verified before, by a key that is still in use. Raises Problem where it has expired."""
        found = self._verified.get(token)
        if found is None:
            return None
        if not any(found.key is key for key in self._in_use):
            # A key that the issuer withdrew; or it was fetched again, and signs as before.
            self._verified.drop(token)
            return None
        self._check_times(found.claims)
        return found.principal

    @property
    def _in_use(self) -> list[Key]:
        return self._keys + self.jwks.keys if self.jwks else self._keys

    @staticmethod
    def _read_header(token: str) -> tuple[str, str | None]:
        """The algorithm and the key id (`kid`) that a token names."""
        if len(token) > MAX_TOKEN:
            raise bad_token(f"it is longer than {MAX_TOKEN} characters")
        if not _COMPACT.match(token):
            raise bad_token("it is not a signed JWT")
        head = token[: token.index(".")]
        try:
            header = _read_header(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error):
            raise bad_token("its header cannot be read") from None
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if algorithm not in ALGORITHMS:
            raise bad_token(f"its algorithm must be one of {', '.join(ALGORITHMS)}")
        if any(name in header for name in _FOREIGN_KEYS):
            raise bad_token("it brings a key of its own")
        if "crit" in header or "b64" in header:
            raise bad_token("it needs an unsupported extension")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise bad_token("its typ is not JWT")
        if kid is not None and not (isinstance(kid, str) and len(kid) <= 256):
            raise bad_token("its kid must be a string of at most 256 characters")
        return algorithm, kid

    def _candidates(self, algorithm: str, kid: str | None) -> list[Key]:
        """The keys that may have signed: of that algorithm, and of that kid where both have one."""
        return [
            key for key in self._in_use if key.algorithm == algorithm and (None in (kid, key.kid) or key.kid == kid)
        ]

    def _read(self, payload: bytes, key: Key) -> _Verified:
        """Reads what a token says that this key signed. Raises Problem."""
        try:
            claims = _read_claims(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            why = str(fault) if isinstance(fault, msgspec.ValidationError) else "they cannot be read"
            raise bad_token(f"its claims are invalid: {why[:200]}") from None
        self._check_times(claims)
        self._check_audience(claims)
        granted = claims.callboard
        if granted.is_mixed:
            raise bad_token("its claim callboard: a token with sessions has no other right")
        try:
            read = [*granted.read, *([] if granted.sessions else _own_channel(claims.sub))]
            grants = Grants.of(read, granted.publish, granted.command, granted.operate)
            grants = replace(grants, sessions=tuple(granted.sessions))
        except BadPattern as fault:
            raise bad_token(f"its claim callboard: {fault}") from None
        if not claims.sub.isprintable() or claims.sub.isspace():
            raise bad_token("its sub must be printable")
        # It is valid within the leeway, so what it opens lives as long.
        principal = Principal(f"{claims.iss or '-'} {claims.sub}", grants, claims.exp + self._settings.leeway)
        return _Verified(key, claims, principal)

    def _check_times(self, claims: _Claims) -> None:
        now, leeway = time.time(), self._settings.leeway
        if claims.exp <= now - leeway:
            raise Problem("token_expired", "get a new one", headers=_challenge("the token has expired"))
        if claims.nbf > now + leeway or claims.iat > now + leeway:
            raise bad_token("it is not valid yet")
        if self._settings.max_lifetime and claims.exp > now + self._settings.max_lifetime + leeway:
            raise bad_token(f"it is valid for longer than {self._settings.max_lifetime:g} seconds")

    def _check_audience(self, claims: _Claims) -> None:
        issuer, audience = self._settings.issuer, self._settings.audience
        if issuer is not None and claims.iss != issuer:
            raise bad_token("another issuer made it")
        if claims.iss is not None and not (claims.iss.isprintable() and " " not in claims.iss):
            raise bad_token("its iss must be printable, without spaces")
        if audience:
            named = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
            if not set(named) & set(audience):
                raise bad_token("it is for another audience")


# The algorithm is pinned again at each use; `none` is not among them.
_JWS = jwt.PyJWS(algorithms=list(ALGORITHMS), options={"enforce_minimum_key_length": True})


def _signed(token: str, key: Key) -> bytes | None:
    """The payload of a token that this key signed, else None."""
    try:
        payload: bytes = _JWS.decode_complete(token, key.material, algorithms=[key.algorithm])["payload"]
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return payload


def _own_channel(user: str) -> list[str]:
    """The pattern of the alerts that name this user as their audience, which every token of the user may read."""
    return [channel_of(user)] if is_user(user) else []


def bad_token(why: str) -> Problem:
    """The refusal of an invalid token."""
    return Problem("bad_token", f"the token is refused: {why}", headers=_challenge(why))


def _challenge(why: str) -> dict[str, str]:
    described = re.sub(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]", "?", why)
    return {"WWW-Authenticate": f'Bearer realm="callboard", error="invalid_token", error_description="{described}"'}


def mint(secret: str, subject: str, grants: Grants, ttl: float, issuer: str | None, audience: str | None) -> str:
    """Mints a token for development and tests; in production an issuer does. Raises BadKey."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": subject,
        "iat": now,
        "exp": now + max(1, math.ceil(ttl)),
        "callboard": {
            "read": list(grants.read),
            "publish": list(grants.publish),
            "command": list(grants.command),
            "operate": grants.operate,
            **({"sessions": list(grants.sessions)} if grants.sessions else {}),
        },
    }
    claims |= {name: value for name, value in (("iss", issuer), ("aud", audience)) if value}
    return jwt.encode(claims, secret_key(secret).material, algorithm="HS256")
