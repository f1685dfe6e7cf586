"""A device that has neither sizes nor a region has no such controls; the rest is tested in the virtual machine."""

from __future__ import annotations

import os

from actors.camera.sources.v4l2.device import V4l2Device
from actors.camera.sources.v4l2.framing import Framing


def test_a_device_without_sizes_and_crop_has_no_such_controls() -> None:
    device = V4l2Device("/dev/null")
    device.fd = os.open("/dev/null", os.O_RDWR)
    try:
        framing = Framing(device, "YUYV")

        assert framing.listed((640, 480)) == []
        assert framing.sizes_text() == "others"
    finally:
        device.close()
