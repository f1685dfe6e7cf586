"""This file is where every way a talk with Octane can fail is named."""

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
