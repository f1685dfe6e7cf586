"""Defines the errors of talking to an Octane."""

from __future__ import annotations

from router.errors import RouterError


class OctaneError(RouterError):
    """something between Callboard and Octane failed"""


class Disconnected(OctaneError):
    """there is no connection to Octane"""


class CallFailed(OctaneError):
    """a call to Octane failed, and the connection holds"""


class Declined(CallFailed):
    """Octane answered, and refused the call"""


class Oversized(Declined):
    """the answer is larger than one message may be"""


class CallUnanswered(CallFailed):
    """Octane did not answer in time"""


class TooOld(OctaneError):
    """this Octane speaks a wire that Callboard does not know"""


class Unreadable(OctaneError, ValueError):
    """the picture cannot be decoded"""


class AddressBusy(OctaneError, OSError):
    """the simulator cannot listen there"""
