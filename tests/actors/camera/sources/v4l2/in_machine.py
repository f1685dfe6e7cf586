"""What is checked in the virtual machine: the product's V4L2 source on the kernel's driver vivid.

Three devices: video0 is a webcam with fixed sizes; video1 has an HDMI input, which crops and scales; video2, of the driver
v4l2loopback, gives what is written into it, for what vivid has not: JPEG and H.264.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress
from actors.camera.sources.source import BadPicture, FramePicture, Packet, Picture, SourceUnavailable
from actors.camera.sources.v4l2 import videodev as v4l2
from actors.camera.sources.v4l2.device import V4l2Device
from actors.camera.sources.v4l2.pictures import AV_FORMATS
from actors.camera.sources.v4l2.source import V4l2Source
from actors.system.probe import Probe
from tests.virtual.checks import run_checks
from tests.waiting import eventually

CAMERA, HDMI, LOOPBACK = "v4l2:/dev/video0", "v4l2:/dev/video1", "v4l2:/dev/video2"
VIDEO_OUTPUT = 2
DRIVER = Path("/sys/bus/platform/drivers/vivid")


@contextmanager
def opened(address: str) -> Iterator[V4l2Source]:
    source = V4l2Source(SourceAddress.parse(address))
    try:
        source.open()
        yield source
    finally:
        source.close()


def next_picture(source: V4l2Source, within: float = 5.0) -> Picture | FramePicture:
    """The next picture, whatever bad ones come before it."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            given = source.grab(0)
        except BadPicture:
            continue
        if given is not None:
            assert not isinstance(given, Packet)
            return given
    raise AssertionError("no picture came")


def fault_of(call: Callable[[], object], within: float = 6.0) -> tuple[str, float]:
    """Calls until the source is unavailable: its text, and after how many seconds it came."""
    began = time.monotonic()
    while time.monotonic() < began + within:
        try:
            call()
        except SourceUnavailable as fault:
            return str(fault), time.monotonic() - began
        except BadPicture:
            continue
    raise AssertionError("the source never said that it is unavailable")


def refusal(address: str) -> str:
    """Why an address cannot be opened."""

    def opens() -> None:
        with opened(address):
            pass

    return fault_of(opens)[0]


def pictures_show_what_the_driver_draws_and_have_the_drivers_times() -> object:
    with opened(f"{CAMERA}?size=320x180&fps=15&format=yuyv") as source:
        pictures = [next_picture(source) for _ in range(8)]
        bars = pictures[-1].pixels
        assert bars.shape == (180, 320, 3)
        # vivid's first picture of the day: bars, white at the left, black at the right.
        middle = bars[150, ::40].astype(int)
        times = [each.time for each in pictures]
        assert times == sorted(times) and len(set(times)) == len(times)
        assert all(0 <= time.time() * 1000 - each < 5000 for each in times)
        gaps = np.diff(times)
        assert 50 <= float(np.median(gaps)) <= 90, gaps
        return {"gaps": gaps.round(1).tolist(), "colours": middle.tolist()}


def every_format_gives_the_same_picture() -> object:
    device = V4l2Device("/dev/video0")
    device.open()
    has = device.formats()
    device.close()
    known = [code for code in AV_FORMATS if code in has]
    differences = {}
    with opened(f"{CAMERA}?size=320x180&format=rgb24") as source:
        wanted = next_picture(source).pixels.astype(int)
    for code in known:
        source = V4l2Source(SourceAddress.parse(f"{CAMERA}?size=320x180&format={code.lower()}"))
        try:
            source.open()
            given = next_picture(source).pixels
        finally:
            source.close()
        shown = given[..., np.newaxis].repeat(3, axis=2) if given.ndim == 2 else given
        if given.dtype == np.uint16:
            shown = shown >> (next_picture_bits(code) - 8)
        if code in ("BA81", "GBRG", "GRBG", "RGGB") or given.ndim == 2:
            differences[code] = float(abs(shown[150].mean() - wanted[150].mean()))
        else:
            # Apart from the text, which moves on, and the edges of the bars.
            differences[code] = float(np.median(abs(shown[150].astype(int) - wanted[150])))
    assert {"YUYV", "NV12", "RGB3", "GREY"} <= set(known), has
    assert max(differences.values()) < 25, differences
    return {"has": has, "differences": differences}


def next_picture_bits(code: str) -> int:
    return {"Y10": 10, "Y12": 12}.get(code, 16)


def formats_sizes_and_rates_are_listed() -> object:
    device = V4l2Device("/dev/video0")
    device.open()
    try:
        sizes = [str(each) for each in device.sizes("YUYV")]
        rates = device.rates("YUYV", 640, 360)
    finally:
        device.close()
    assert "320x180" in sizes and "1280x720" in sizes, sizes
    assert len(rates) > 3 and rates == sorted(rates), rates
    return {"sizes": sizes, "rates": rates}


def a_size_that_is_not_there_is_refused_with_those_that_are() -> object:
    text = refusal(f"{CAMERA}?size=333x222")
    assert text.startswith("video0 has no size 333x222") and "320x180" in text, text
    return text


def what_cannot_be_opened_says_why() -> object:
    texts = {
        "absent": refusal("v4l2:/dev/video9"),
        "no device": refusal("v4l2:/etc/hostname"),
        "no camera": refusal("v4l2:/dev/null"),
        "format": refusal(f"{CAMERA}?format=h264"),
        "input": refusal(f"{CAMERA}?input=9"),
    }
    assert texts["absent"] == "there is no device video9"
    assert texts["no device"] == "hostname is not a device"
    assert texts["no camera"] == "null is not a V4L2 device"
    assert texts["format"].startswith("video0 has no format h264; it has YUYV"), texts
    assert texts["input"] == "video0 has no input 9"
    return texts


def a_device_that_another_program_uses_is_said_to_be_in_use() -> object:
    with opened(f"{CAMERA}?size=320x180"):
        text = refusal(f"{CAMERA}?size=640x360")
    assert text == "video0 is in use by another program", text
    with opened(f"{CAMERA}?size=320x180") as source:
        next_picture(source)
    return text


def a_device_that_this_user_may_not_open_is_said_to_be_so() -> object:
    os.chmod("/dev/video0", 0o600)
    os.seteuid(65534)
    try:
        text = refusal(CAMERA)
    finally:
        os.seteuid(0)
    assert text.startswith("video0 may not be opened by this user"), text
    return text


def controls_are_listed_with_their_bounds_and_set_with_the_effective_value() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        controls = {each.name: each for each in source.controls()}
        brightness = controls["brightness"]
        assert (brightness.kind, brightness.least, brightness.most) == ("number", 0, 255), brightness
        before = next_picture(source).pixels[150].mean()
        assert source.set_control("brightness", 20) == 20
        for _ in range(4):
            next_picture(source)
        after = next_picture(source).pixels[150].mean()
        assert after < before - 20, (before, after)
        assert {each.name: each for each in source.controls()}["brightness"].value == 20
        assert source.set_control("brightness", 127) == 127
        assert source.set_control("horizontal_flip", True) is True
        # A control whose steps are coarse: the driver says which one it took.
        menus = [each for each in controls.values() if each.kind == "choice"]
        for menu in menus:
            assert menu.value in menu.choices, menu
        for value, text in ((256, "from 0 to 255"), ("much", "must be a number"), (None, "must be a number")):
            try:
                source.set_control("brightness", value)
            except ValueError as fault:
                assert text in str(fault), fault
            else:
                raise AssertionError(f"{value} was taken")
        return {name: (each.kind, each.value) for name, each in controls.items()}


def the_size_is_a_control_with_choices() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        size = {each.name: each for each in source.controls()}["size"]
        assert {"width": 640, "height": 360} in size.choices, size
        assert source.set_control("size", {"width": 640, "height": 360}) == {"width": 640, "height": 360}
        picture = next_picture(source)
        assert (picture.width, picture.height) == (640, 360)
        try:
            source.set_control("size", {"width": 641, "height": 360})
        except ValueError as fault:
            return str(fault)
        raise AssertionError("a size that the camera has not was taken")


def a_region_of_the_sensor_is_cropped() -> object:
    with opened(f"{HDMI}?format=yuyv") as source:
        controls = {each.name: each for each in source.controls()}
        region = controls["region"]
        assert isinstance(region.value, dict) and isinstance(region.most, dict), region
        wanted = {"left": 64, "top": 32, "width": 320, "height": 240}
        effective = source.set_control("region", wanted)
        assert isinstance(effective, dict)
        assert abs(effective["width"] - 320) <= 16 and abs(effective["left"] - 64) <= 16, effective
        assert {each.name: each for each in source.controls()}["region"].value == effective
        picture = next_picture(source)
        try:
            source.set_control("region", {"left": 0, "top": 0, "width": 99999, "height": 10})
        except ValueError as fault:
            text = str(fault)
        else:
            raise AssertionError("a region beyond the sensor was taken")
        whole = {name: region.most[name] for name in ("width", "height")}
        source.set_control("region", {"left": 0, "top": 0, **whole})
        return {"sensor": region.most, "region": effective, "picture": (picture.width, picture.height), "text": text}


def a_damaged_buffer_is_one_bad_picture_and_the_stream_goes_on() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
        source.set_control("percentage_of_dropped_buffers", 100)
        source.set_control("percentage_of_dropped_buffers", 0)
        source.set_control("inject_v4l2_buf_flag_error", None)
        bad = 0
        for _ in range(30):
            try:
                source.grab(0)
            except BadPicture as fault:
                assert str(fault) == "video0 marked a picture as damaged"
                bad += 1
        assert bad >= 1
        next_picture(source)
        return bad


def pictures_that_the_device_lost_are_counted() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv&fps=15") as source:
        next_picture(source)
        time.sleep(1.2)  # nobody takes the pictures, and the driver has no buffer left to write into
        for _ in range(4):
            fresh = next_picture(source)
        age = time.time() * 1000 - fresh.time
        assert source.lost > 3, source.lost
        assert age < 400, age
        return {"lost": source.lost, "age": age}


def a_reader_that_comes_late_gets_a_fresh_picture() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv&fps=15") as source:
        next_picture(source)
        time.sleep(2.0)
        fresh = next_picture(source)
        age = time.time() * 1000 - fresh.time
        assert age < 700, age
        return age


def a_device_that_gives_nothing_counts_as_hung_within_three_seconds() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv&fps=15") as source:
        next_picture(source)
        source.set_control("percentage_of_dropped_buffers", 100)
        text, after = fault_of(lambda: source.grab(0))
        source.set_control("percentage_of_dropped_buffers", 0)
        assert text == "video0 gave no picture for 2 s", text
        assert after < 3.0, after
        return text, after


def a_disconnected_device_is_noticed_within_three_seconds_and_can_be_opened_again() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
        source.set_control("disconnect", None)
        text, after = fault_of(lambda: source.grab(0))
        assert text == "video0 was unplugged", text
        assert after < 3.0, after
    # The last user that leaves lets vivid connect again.
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
    return text, after


def a_device_that_is_unplugged_goes_and_comes_back_under_its_name() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
        (DRIVER / "unbind").write_text("vivid.0")
        text, after = fault_of(lambda: source.grab(0))
        assert text == "video0 was unplugged", text
        assert after < 3.0, after
    gone = refusal(CAMERA)
    assert gone == "there is no device video0", gone
    (DRIVER / "bind").write_text("vivid.0")
    for path in ("/dev/video0", "/dev/video1"):
        until = time.monotonic() + 5
        while not os.path.exists(path) and time.monotonic() < until:
            time.sleep(0.05)
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
    return text, after


def a_queue_that_fails_is_noticed_and_the_device_can_be_opened_again() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
        source.set_control("inject_fatal_streaming_error", None)
        text, after = fault_of(lambda: source.grab(0))
        assert text == "video0 stopped streaming by itself", text
        assert after < 3.0, after
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
    return text, after


def a_stream_that_does_not_start_says_so_and_starts_the_next_time() -> object:
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        source.set_control("inject_vidioc_streamon_error", None)
        try:
            source.set_control("size", {"width": 640, "height": 360})
        except ValueError as fault:
            text = str(fault)
        else:
            raise AssertionError("the stream began")
        fault_of(lambda: source.grab(0))
    with opened(f"{CAMERA}?size=320x180&format=yuyv") as source:
        next_picture(source)
    return text


@contextmanager
def written(pictures: Sequence[bytes], code: str, width: int, height: int) -> Iterator[None]:
    """Writes encoded pictures into the loopback device, over and over, 20 a second."""
    device = V4l2Device("/dev/video2")
    device.fd = os.open("/dev/video2", os.O_RDWR)
    form = v4l2.Format(type=VIDEO_OUTPUT)
    form.fmt.pix = v4l2.PixelFormat(width=width, height=height, pixelformat=v4l2.fourcc(code), field=v4l2.FIELD_NONE)
    form.fmt.pix.sizeimage = 256 * 1024
    device.call(v4l2.S_FMT, form)
    ended = threading.Event()

    def write() -> None:
        index = 0
        while not ended.wait(0.05):
            os.write(device.fd, pictures[index % len(pictures)])
            index += 1

    # The driver has a format for readers as soon as something was written.
    os.write(device.fd, pictures[-1])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()
        device.close()


def packets_of(source: V4l2Source, count: int) -> list[Packet]:
    packets: list[Packet] = []
    until = time.monotonic() + 20
    while len(packets) < count and time.monotonic() < until:
        given = source.grab(0)
        if given is not None:
            assert isinstance(given, Packet)
            packets.append(given)
    assert len(packets) == count, f"{len(packets)} packets came"
    return packets


def shades_in_jpeg() -> list[bytes]:
    pictures = []
    for shade in (40, 120, 200):
        with BytesIO() as file:
            Image.fromarray(np.full((120, 160, 3), shade, np.uint8)).save(file, "JPEG")
            pictures.append(file.getvalue())
    return pictures


def jpegs_of_the_camera_are_passed_on_as_they_are() -> object:
    pictures = shades_in_jpeg()
    with written(pictures, "MJPG", 160, 120), opened(LOOPBACK) as source:
        assert source.packets == "jpeg"
        packets = packets_of(source, 12)
    assert {each.data for each in packets} == set(pictures)
    assert {(each.width, each.height) for each in packets} == {(160, 120)}
    times = [each.time for each in packets]
    assert times == sorted(times) and 0 <= time.time() * 1000 - times[-1] < 5000, times
    return len(packets[0].data)


def h264_of_the_camera_is_passed_on_from_a_key_on() -> object:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = 160, 120, "yuv420p", 5
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1"}
    shades = [np.full((120, 160, 3), 10 * index, np.uint8) for index in range(15)]
    units = [bytes(unit) for shade in shades for unit in encoder.encode(av.VideoFrame.from_ndarray(shade, "rgb24"))]
    with written(units, "H264", 160, 120), opened(f"{LOOPBACK}?format=h264") as source:
        assert source.packets == "h264"
        packets = packets_of(source, 12)
    assert packets[0].key and not all(each.key for each in packets)
    decoder = av.CodecContext.create("h264", "r")
    shown = [frame for each in packets for frame in decoder.decode(av.Packet(each.data))]
    assert len(shown) >= 11, shown
    return [each.key for each in packets]


def jpegs_of_the_camera_reach_viewers_of_the_actor_as_they_are() -> object:
    pictures = shades_in_jpeg()
    with written(pictures, "MJPG", 160, 120):
        return asyncio.run(_view_jpeg_of_the_actor(pictures))


async def _view_jpeg_of_the_actor(pictures: Sequence[bytes]) -> object:
    async with Probe(lambda: Camera(CameraSettings(source=LOOPBACK))) as camera:
        camera.set_viewers("camera", "main", 1, "jpeg")
        await eventually(lambda: {body for _, _, body in camera.frames} >= set(pictures))
    headers = [header for _, header, _ in camera.frames]
    assert {body for _, _, body in camera.frames} == set(pictures)
    assert {(header["encoded"], header["format"], header["source"]) for header in headers} == {
        ("source", "jpeg", "v4l2")
    }
    assert {(header["width"], header["height"]) for header in headers} == {(160, 120)}
    return len(headers)


def the_camera_actor_streams_is_unplugged_says_so_and_streams_again() -> object:
    return asyncio.run(_unplug_under_the_actor())


async def _unplug_under_the_actor() -> object:
    settings = CameraSettings(source=f"{CAMERA}?size=320x180&format=yuyv&fps=15")
    async with Probe(lambda: Camera(settings)) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 5)
        answer = await camera.ask("set_control", name="brightness", value=60)
        (DRIVER / "unbind").write_text("vivid.0")
        began = time.monotonic()
        await eventually(lambda: _reason(camera) == "video0 was unplugged")
        noticed = time.monotonic() - began
        assert noticed < 3.0, noticed
        await eventually(lambda: _reason(camera) == "there is no device video0")
        (DRIVER / "bind").write_text("vivid.0")
        before = len(camera.frames)
        await eventually(lambda: len(camera.frames) >= before + 5)
        orders = [(header["life"], header["seq"]) for _, header, _ in camera.frames if header.get("fresh") is not False]
        assert orders == sorted(set(orders)), orders
        assert camera.frames[-1][1]["source"] == "v4l2"
        return {"noticed": noticed, "controls": answer["controls"]["brightness"]["value"]}


def _reason(camera: Probe) -> object:
    states = [data for subject, data in camera.emitted if subject == "camera.main.state"]
    return states[-1]["reason"] if states else None


CHECKS = [
    pictures_show_what_the_driver_draws_and_have_the_drivers_times,
    formats_sizes_and_rates_are_listed,
    every_format_gives_the_same_picture,
    a_size_that_is_not_there_is_refused_with_those_that_are,
    what_cannot_be_opened_says_why,
    a_device_that_another_program_uses_is_said_to_be_in_use,
    a_device_that_this_user_may_not_open_is_said_to_be_so,
    controls_are_listed_with_their_bounds_and_set_with_the_effective_value,
    the_size_is_a_control_with_choices,
    a_region_of_the_sensor_is_cropped,
    a_damaged_buffer_is_one_bad_picture_and_the_stream_goes_on,
    pictures_that_the_device_lost_are_counted,
    a_reader_that_comes_late_gets_a_fresh_picture,
    a_device_that_gives_nothing_counts_as_hung_within_three_seconds,
    a_queue_that_fails_is_noticed_and_the_device_can_be_opened_again,
    a_stream_that_does_not_start_says_so_and_starts_the_next_time,
    a_disconnected_device_is_noticed_within_three_seconds_and_can_be_opened_again,
    a_device_that_is_unplugged_goes_and_comes_back_under_its_name,
    jpegs_of_the_camera_are_passed_on_as_they_are,
    h264_of_the_camera_is_passed_on_from_a_key_on,
    jpegs_of_the_camera_reach_viewers_of_the_actor_as_they_are,
    the_camera_actor_streams_is_unplugged_says_so_and_streams_again,
]

if __name__ == "__main__":
    run_checks(CHECKS)
