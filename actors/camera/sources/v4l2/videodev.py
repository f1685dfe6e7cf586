"""The structures and request numbers of V4L2 that are used here, as the kernel's `videodev2.h` defines them.

Structures that the kernel fills in are written with the layout of the C compiler; reserved fields stay zero.
"""

from __future__ import annotations

import ctypes
from ctypes import Structure, Union, c_char, c_int32, c_int64, c_long, c_uint8, c_uint32, c_uint64
from enum import IntEnum, IntFlag

VIDEO_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
MEMORY_MMAP = 1
FIELD_NONE = 1  # progressive pictures


class Capability(Structure):
    """struct v4l2_capability"""

    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class DeviceCap(IntFlag):
    """V4L2_CAP_*"""

    VIDEO_CAPTURE = 0x00000001
    VIDEO_CAPTURE_MPLANE = 0x00001000
    STREAMING = 0x04000000
    DEVICE_CAPS = 0x80000000


class FormatDescription(Structure):
    """struct v4l2_fmtdesc"""

    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class PixelFormat(Structure):
    """struct v4l2_pix_format"""

    _fields_ = [
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    ]


class _FormatUnion(Union):
    # The union has 200 bytes, and the alignment of a pointer: struct v4l2_window holds some.
    _fields_ = [("pix", PixelFormat), ("raw", c_uint8 * 200), ("_aligned", ctypes.c_void_p)]


class Format(Structure):
    """struct v4l2_format"""

    _fields_ = [("type", c_uint32), ("fmt", _FormatUnion)]


class RequestBuffers(Structure):
    """struct v4l2_requestbuffers"""

    _fields_ = [
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("reserved", c_uint32),
    ]


class _Time(Structure):
    _fields_ = [("seconds", c_long), ("microseconds", c_long)]


class _TimeCode(Structure):
    _fields_ = [
        ("type", c_uint32),
        ("flags", c_uint32),
        ("frames", c_uint8),
        ("seconds", c_uint8),
        ("minutes", c_uint8),
        ("hours", c_uint8),
        ("userbits", c_uint8 * 4),
    ]


class _Memory(Union):
    _fields_ = [("offset", c_uint32), ("userptr", ctypes.c_ulong), ("planes", ctypes.c_void_p), ("fd", c_int32)]


class Buffer(Structure):
    """struct v4l2_buffer"""

    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", _Time),
        ("timecode", _TimeCode),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _Memory),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    ]


class BufferFlag(IntFlag):
    """V4L2_BUF_FLAG_*"""

    ERROR = 0x00000040
    TIMESTAMP_MASK = 0x0000E000
    TIMESTAMP_MONOTONIC = 0x00002000


class Fraction(Structure):
    """struct v4l2_fract"""

    _fields_ = [("numerator", c_uint32), ("denominator", c_uint32)]


class _CaptureParameters(Structure):
    _fields_ = [
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fraction),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    ]


class _StreamUnion(Union):
    _fields_ = [("capture", _CaptureParameters), ("raw", c_uint8 * 200)]


class StreamParameters(Structure):
    """struct v4l2_streamparm"""

    _fields_ = [("type", c_uint32), ("parm", _StreamUnion)]


CAP_TIMEPERFRAME = 0x1000


class _Discrete(Structure):
    _fields_ = [("width", c_uint32), ("height", c_uint32)]


class _Stepwise(Structure):
    _fields_ = [
        ("min_width", c_uint32),
        ("max_width", c_uint32),
        ("step_width", c_uint32),
        ("min_height", c_uint32),
        ("max_height", c_uint32),
        ("step_height", c_uint32),
    ]


class _SizeUnion(Union):
    _fields_ = [("discrete", _Discrete), ("stepwise", _Stepwise)]


class FrameSize(Structure):
    """struct v4l2_frmsizeenum"""

    _fields_ = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", _SizeUnion),
        ("reserved", c_uint32 * 2),
    ]


class _StepwiseInterval(Structure):
    _fields_ = [("min", Fraction), ("max", Fraction), ("step", Fraction)]


class _IntervalUnion(Union):
    _fields_ = [("discrete", Fraction), ("stepwise", _StepwiseInterval)]


class FrameInterval(Structure):
    """struct v4l2_frmivalenum"""

    _fields_ = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("interval", _IntervalUnion),
        ("reserved", c_uint32 * 2),
    ]


DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE and V4L2_FRMIVAL_TYPE_DISCRETE; 2 and 3 are ranges


class QueryControl(Structure):
    """struct v4l2_query_ext_ctrl"""

    _fields_ = [
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int64),
        ("maximum", c_int64),
        ("step", c_uint64),
        ("default_value", c_int64),
        ("flags", c_uint32),
        ("elem_size", c_uint32),
        ("elems", c_uint32),
        ("nr_of_dims", c_uint32),
        ("dims", c_uint32 * 4),
        ("reserved", c_uint32 * 32),
    ]


class ControlType(IntEnum):
    """V4L2_CTRL_TYPE_*"""

    INTEGER = 1
    BOOLEAN = 2
    MENU = 3
    BUTTON = 4
    INTEGER64 = 5
    INTEGER_MENU = 9


class ControlFlag(IntFlag):
    """V4L2_CTRL_FLAG_*"""

    DISABLED = 0x0001
    READ_ONLY = 0x0004
    WRITE_ONLY = 0x0040
    NEXT_CTRL = 0x80000000


class ControlId(IntEnum):
    """V4L2_CID_*: those whose meaning is used here."""

    BRIGHTNESS = 0x00980900
    GAMMA = 0x00980910
    EXPOSURE = 0x00980911
    GAIN = 0x00980913
    EXPOSURE_AUTO = 0x009A0901
    EXPOSURE_ABSOLUTE = 0x009A0902  # in units of 100 µs
    ANALOGUE_GAIN = 0x009E0903


class _MenuUnion(Union):
    _pack_ = 1
    _fields_ = [("name", c_char * 32), ("value", c_int64)]


class QueryMenu(Structure):
    """struct v4l2_querymenu"""

    _pack_ = 1
    _fields_ = [("id", c_uint32), ("index", c_uint32), ("u", _MenuUnion), ("reserved", c_uint32)]


class _ControlUnion(Union):
    _pack_ = 1
    _fields_ = [("value", c_int32), ("value64", c_int64), ("pointer", ctypes.c_void_p)]


class ExtControl(Structure):
    """struct v4l2_ext_control"""

    _pack_ = 1
    _fields_ = [("id", c_uint32), ("size", c_uint32), ("reserved2", c_uint32), ("u", _ControlUnion)]


class ExtControls(Structure):
    """struct v4l2_ext_controls"""

    _fields_ = [
        ("which", c_uint32),
        ("count", c_uint32),
        ("error_idx", c_uint32),
        ("request_fd", c_int32),
        ("reserved", c_uint32),
        ("controls", ctypes.POINTER(ExtControl)),
    ]


class Rectangle(Structure):
    """struct v4l2_rect"""

    _fields_ = [("left", c_int32), ("top", c_int32), ("width", c_uint32), ("height", c_uint32)]


class Selection(Structure):
    """struct v4l2_selection"""

    _fields_ = [
        ("type", c_uint32),
        ("target", c_uint32),
        ("flags", c_uint32),
        ("r", Rectangle),
        ("reserved", c_uint32 * 9),
    ]


class Target(IntEnum):
    """V4L2_SEL_TGT_*"""

    CROP = 0
    CROP_DEFAULT = 1
    CROP_BOUNDS = 2


_WRITE, _READ = 1, 2


def _request(direction: int, number: int, size: int) -> int:
    """_IOC('V', …) of the kernel's `asm-generic/ioctl.h`."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


def _both(number: int, of: type[ctypes.Structure] | type[ctypes.c_int]) -> int:
    return _request(_READ | _WRITE, number, ctypes.sizeof(of))


QUERYCAP = _request(_READ, 0, ctypes.sizeof(Capability))
ENUM_FMT = _both(2, FormatDescription)
G_FMT = _both(4, Format)
S_FMT = _both(5, Format)
REQBUFS = _both(8, RequestBuffers)
QUERYBUF = _both(9, Buffer)
QBUF = _both(15, Buffer)
DQBUF = _both(17, Buffer)
STREAMON = _request(_WRITE, 18, ctypes.sizeof(ctypes.c_int))
STREAMOFF = _request(_WRITE, 19, ctypes.sizeof(ctypes.c_int))
G_PARM = _both(21, StreamParameters)
S_PARM = _both(22, StreamParameters)
QUERYMENU = _both(37, QueryMenu)
S_INPUT = _both(39, ctypes.c_int)
G_EXT_CTRLS = _both(71, ExtControls)
S_EXT_CTRLS = _both(72, ExtControls)
ENUM_FRAMESIZES = _both(74, FrameSize)
ENUM_FRAMEINTERVALS = _both(75, FrameInterval)
G_SELECTION = _both(94, Selection)
S_SELECTION = _both(95, Selection)
QUERY_EXT_CTRL = _both(103, QueryControl)


def fourcc(code: str) -> int:
    """The number of a pixel format's four letters."""
    return int.from_bytes(code.ljust(4).encode("ascii"), "little")


def letters(number: int) -> str:
    """The four letters of a pixel format's number; bit 31 (big-endian variants) is left out."""
    return (number & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").rstrip()
