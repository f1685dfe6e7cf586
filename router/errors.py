"""Defines the errors of the router; the docstring of each is its default text.

RouterError
├── BadInput                the input is not valid; nothing was changed
│   ├── BadSubject
│   ├── BadPattern
│   ├── BadEvent
│   │   └── BadData         its data are not those of its type
│   ├── BadTypes            a file of event types has mistakes
│   ├── BadCursor
│   └── BadFilter
├── BrokerError             the broker refused or did not answer
│   ├── Unreachable
│   ├── Unsuitable          too old, or JetStream is off
│   ├── BadCredentials      the credentials for NATS cannot be read
│   ├── Timeout
│   │   ├── Cut             the connection was lost each time that it was sent
│   │   └── Forbidden       NATS does not allow this user to publish there; nothing was done
│   ├── NoResponders
│   ├── Refused             JetStream answered with an error code
│   │   └── TooLarge        it is larger than the server takes
│   ├── Conflict            a compare-and-set lost the race
│   └── StoreFailed         it is known that a stream takes no writes now
├── RunConflict             a run's life is over, or another one lives
│   ├── RunBusy             it goes on, and is not to be begun anew
│   ├── RunEnded
│   └── RunSuperseded
├── EmbeddedError           the embedded nats-server could not be started
└── Escalate                an actor crashed too often to be restarted here
"""

from __future__ import annotations

from collections.abc import Sequence


class RouterError(Exception):
    """something in the router failed"""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "")


class BadInput(RouterError, ValueError):
    """the input is not valid"""

    code = "bad_input"


class BadSubject(BadInput):
    """a subject needs 3 to 16 dot-separated tokens of A-Z, a-z, 0-9, -, _ and ="""

    code = "bad_subject"


class BadPattern(BadInput):
    """a pattern needs dot-separated tokens, * for one token, and > for all that follow at its end"""

    code = "bad_pattern"


class BadEvent(BadInput):
    """an event needs a subject, a type in snake_case, and data that is a map"""

    code = "bad_event"


class BadData(BadEvent):
    """an event's data are not those of its type"""

    code = "malformed_event"

    def __init__(self, field: str, reason: str, type: str = "") -> None:
        """`field` is its place in the data (`metrics.clicks`), empty for the data as a whole; `place` in the event."""
        self.place = f"data.{field}" if field else "data"
        super().__init__(f"{type + ': ' if type else ''}{self.place}: {reason}")
        self.field = field
        self.reason = reason
        self.type = type


class BadTypes(BadInput):
    """a file of event types has mistakes"""

    code = "bad_types"

    def __init__(self, mistakes: Sequence[str]) -> None:
        """`mistakes` are lines, each with the file, the place in it and the reason."""
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def deadletter_reason(fault: BadEvent) -> str:
    """The reason of the dead letter that a stored record becomes."""
    return "malformed_event" if isinstance(fault, BadData) else "decode_error"


class BadCursor(BadInput):
    """a cursor must be one that this system issued, or earliest, or now"""

    code = "bad_cursor"


class BadFilter(BadInput):
    """a filter must be a CEL expression that yields true or false"""

    code = "bad_filter"


class BrokerError(RouterError):
    """the broker refused or did not answer"""


class Unreachable(BrokerError):
    """no NATS server answers at the configured address"""


class Unsuitable(BrokerError):
    """the NATS server is too old, or JetStream is off"""


class BadCredentials(BrokerError):
    """the credentials for NATS cannot be used"""


class Timeout(BrokerError, TimeoutError):
    """the broker did not answer in time; whether it did what was asked is unknown"""


class NoResponders(BrokerError):
    """nobody listens on that subject"""


class Refused(BrokerError):
    """JetStream refused the request"""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} (code {code}, err_code {err_code})")
        self.code = code
        self.err_code = err_code
        self.description = description


class Conflict(Refused):
    """somebody else changed it first"""


class TooLarge(Refused):
    """a message is larger than the server takes"""

    def __init__(self, size: int, limit: int, what: str = "the message") -> None:
        """Sizes in bytes. Nothing was sent."""
        super().__init__(413, 0, f"{what} has {size} bytes, at most {limit} are taken")
        self.size = size
        self.limit = limit


class Cut(Timeout):
    """the connection was lost each time that a message was sent; whether it was stored is unknown"""


class Forbidden(Timeout):
    """NATS does not allow this user to publish there

    A Timeout, since permissions change while a server runs: code that retries after a timeout retries this too.
    """

    def __init__(self, subject: str) -> None:
        super().__init__(f"NATS does not allow this user to publish to {subject}")
        self.subject = subject


class StoreFailed(BrokerError):
    """the event store takes no writes"""

    def __init__(self, code: str, stream: str, text: str) -> None:
        """`code` is one of `router.store_trouble.CODES`."""
        super().__init__(f"{stream}: {text}" if stream != "*" else text)
        self.code = code
        self.stream = stream


class RunConflict(RouterError):
    """the run is over, or another incarnation of it lives"""


class RunEnded(RunConflict):
    """the run has ended already"""

    def __init__(self, event: str, type: str, status: str, at: int, synthesized: bool = False) -> None:
        """`event` is the id of the event that ended it, `at` ns since the epoch."""
        super().__init__(f"the run has ended already: {status}, by the {type} {event}")
        self.event = event
        self.type = type
        self.status = status
        self.at = at
        self.synthesized = synthesized


class RunSuperseded(RunConflict):
    """another incarnation of the run lives"""

    def __init__(self, incarnation: str | None) -> None:
        """`incarnation` is the living one."""
        super().__init__(f"another incarnation of the run lives: {incarnation}")
        self.incarnation = incarnation


class RunBusy(RunConflict):
    """a life of the run goes on"""

    def __init__(self, incarnation: str | None) -> None:
        """`incarnation` is the living one."""
        super().__init__(f"a life of the run goes on: {incarnation}")
        self.incarnation = incarnation


class EmbeddedError(RouterError):
    """the embedded nats-server could not be started"""


class Escalate(RouterError):
    """an actor crashed too often to be restarted here"""
