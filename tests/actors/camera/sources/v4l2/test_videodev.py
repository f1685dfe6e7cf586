"""The structures of V4L2 have the layout that the C compiler gives them."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from actors.camera.sources.v4l2 import videodev as v4l2
from tests import parts

STRUCTURES = {
    "v4l2_capability": v4l2.Capability,
    "v4l2_fmtdesc": v4l2.FormatDescription,
    "v4l2_pix_format": v4l2.PixelFormat,
    "v4l2_format": v4l2.Format,
    "v4l2_requestbuffers": v4l2.RequestBuffers,
    "v4l2_buffer": v4l2.Buffer,
    "v4l2_streamparm": v4l2.StreamParameters,
    "v4l2_frmsizeenum": v4l2.FrameSize,
    "v4l2_frmivalenum": v4l2.FrameInterval,
    "v4l2_query_ext_ctrl": v4l2.QueryControl,
    "v4l2_querymenu": v4l2.QueryMenu,
    "v4l2_ext_control": v4l2.ExtControl,
    "v4l2_ext_controls": v4l2.ExtControls,
    "v4l2_selection": v4l2.Selection,
}
OFFSETS = {
    ("v4l2_buffer", "timestamp"): v4l2.Buffer.timestamp.offset,
    ("v4l2_buffer", "sequence"): v4l2.Buffer.sequence.offset,
    ("v4l2_buffer", "m"): v4l2.Buffer.m.offset,
    ("v4l2_buffer", "length"): v4l2.Buffer.length.offset,
    ("v4l2_format", "fmt"): v4l2.Format.fmt.offset,
    ("v4l2_ext_control", "value64"): v4l2.ExtControl.u.offset,
    ("v4l2_ext_controls", "controls"): v4l2.ExtControls.controls.offset,
    ("v4l2_query_ext_ctrl", "flags"): v4l2.QueryControl.flags.offset,
    ("v4l2_selection", "r"): v4l2.Selection.r.offset,
}
REQUESTS = (
    *("QUERYCAP", "ENUM_FMT", "G_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF"),
    *("G_PARM", "S_PARM", "QUERYMENU", "S_INPUT", "G_EXT_CTRLS", "S_EXT_CTRLS", "ENUM_FRAMESIZES"),
    *("ENUM_FRAMEINTERVALS", "G_SELECTION", "S_SELECTION", "QUERY_EXT_CTRL"),
)


def test_sizes_offsets_and_requests_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    gcc = parts.program(parts.GCC)
    if not Path("/usr/include/linux/videodev2.h").exists():
        parts.missing(parts.GCC, "linux/videodev2.h is not on this machine")
    values = [f"sizeof(struct {name})" for name in STRUCTURES]
    values += [f"offsetof(struct {name}, {member})" for name, member in OFFSETS]
    values += [f"(unsigned long)VIDIOC_{name}" for name in REQUESTS]
    prints = "\n".join(f'printf("%lu\\n", (unsigned long){value});' for value in values)
    code = f"#include <stdio.h>\n#include <stddef.h>\n#include <linux/videodev2.h>\nint main(void) {{\n{prints}\n}}\n"
    (tmp_path / "sizes.c").write_text(code)
    subprocess.run([gcc, "-o", tmp_path / "sizes", tmp_path / "sizes.c"], check=True)

    told = subprocess.run([tmp_path / "sizes"], check=True, capture_output=True, text=True).stdout.split()

    ours = [ctypes.sizeof(each) for each in STRUCTURES.values()]
    ours += [*OFFSETS.values(), *(getattr(v4l2, name) for name in REQUESTS)]
    assert dict(zip(values, ours, strict=True)) == dict(zip(values, map(int, told), strict=True))


@pytest.mark.parametrize("code", ["YUYV", "Y16", "MJPG"])
def test_four_letters_become_a_number_and_letters_again(code: str) -> None:
    assert v4l2.letters(v4l2.fourcc(code)) == code
