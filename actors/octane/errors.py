"""Defines the errors of talking to an Octane."""

from __future__ import annotations

from router.errors import RouterError


class OctaneError(RouterError):
    """something between Callboard and Octane failed"""


class Disconnected(OctaneError):
    """Octane does not answer"""


class Declined(OctaneError):
    """Octane answered, and refused the call"""


class Unreadable(OctaneError, ValueError):
    """the picture cannot be decoded"""


class AddressBusy(OctaneError, OSError):
    """the simulator cannot listen there"""
