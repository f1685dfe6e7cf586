"""A small virtual machine for tests that need a driver of the kernel: QEMU, Debian's kernel, and this machine's files.

It boots an initramfs made here, mounts the host's whole file tree read-only, and runs a program of the repository with the
Python and the libraries of the tests. What the program writes to its second serial port is the answer. `.ci/kernel`
puts the kernel there; nothing is fetched here.
"""

from __future__ import annotations

import lzma
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import parts

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Where .ci/kernel unpacks Debian's kernel package.
KERNEL = Path(os.environ.get("CALLBOARD_TEST_KERNEL", "/var/tmp/callboard-kernel"))

# What sees the host's files.
_SHARE = ("virtio_pci", "9pnet_virtio", "9p")


def needed(*drivers: str) -> None:
    """Skips a test where the machine with these drivers cannot be run, and fails it where CI=true says that it can."""
    parts.program(parts.QEMU)
    parts.program(parts.GCC)
    if platform.machine() != "x86_64":
        pytest.skip("the virtual machine needs a processor of the kind x86-64")
    if not list(KERNEL.glob("boot/vmlinuz-*")):
        parts.missing(parts.KERNEL, "there is none unpacked; .ci/kernel does it")
    for driver in drivers:
        if not list(KERNEL.rglob(f"{driver}.ko*")):
            parts.missing(parts.KERNEL, f"it has no driver {driver}; .ci/kernel builds it")


@dataclass(frozen=True)
class VirtualMachine:
    """What to boot: kernel modules with their parameters, and the arguments of the Python that runs in it."""

    arguments: Sequence[str]
    modules: Sequence[tuple[str, str]] = ()
    memory: int = 768  # MiB
    folder: Path = field(kw_only=True)

    def run(self, within: float) -> str:
        """Boots, waits for the end, and gives what was written to the second serial port; fails with the console's text."""
        console, answer = self.folder / "console.txt", self.folder / "answer.txt"
        command = [
            *(
                parts.program(parts.QEMU),
                "-accel",
                "tcg",
                "-cpu",
                "max",
                "-m",
                str(self.memory),
                "-nodefaults",
                "-no-user-config",
            ),
            *("-display", "none", "-no-reboot", "-net", "none"),
            *("-kernel", str(self._kernel), "-initrd", str(self._initramfs())),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable"),
            *("-serial", f"file:{console}", "-serial", f"file:{answer}"),
            *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
        ]
        try:
            ended = subprocess.run(command, timeout=within, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the virtual machine did not end within {within:g} s\n{_tail(console)}")
        text = answer.read_text(errors="replace") if answer.exists() else ""
        if not text:
            pytest.fail(f"the virtual machine said nothing\n{ended.stderr}\n{_tail(console)}")
        return text

    @property
    def _kernel(self) -> Path:
        return sorted(KERNEL.glob("boot/vmlinuz-*"))[-1]

    def _initramfs(self) -> Path:
        init = self.folder / "init"
        subprocess.run(
            [parts.program(parts.GCC), "-static", "-Os", "-Wall", "-o", str(init), str(HERE / "init.c")], check=True
        )
        release = self._kernel.name.removeprefix("vmlinuz-")
        modules = KernelModules(next(KERNEL.glob(f"**/modules/{release}")))
        entries: list[tuple[str, bytes | None]] = [("proc", None), ("host", None), ("m", None), ("dev", None)]
        lines: list[str] = []
        parameters = dict(self.modules)
        for name in modules.closure([*_SHARE, *parameters]):
            entries.append((f"m/{name}.ko", modules.content(name)))
            lines.append(f"/m/{name}.ko {parameters.get(name, '')}".rstrip())
        entries.append(("modules", "\n".join(lines).encode() + b"\n"))
        command = [str(ROOT), sys.executable, *self.arguments]
        entries.append(("command", "\n".join(command).encode() + b"\n"))
        entries.append(("init", init.read_bytes()))
        made = self.folder / "initramfs.cpio"
        made.write_bytes(cpio(entries))
        return made


class KernelModules:
    """The modules of one kernel, with what each needs."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.name.split(".ko")[0].replace("-", "_"): path for path in folder.rglob("*.ko*") if path.is_file()
        }

    def closure(self, names: Sequence[str]) -> list[str]:
        """Those modules and all that they need, in the order in which they can be loaded."""
        ordered: dict[str, None] = {}

        def add(name: str) -> None:
            if name in self._files and name not in ordered:  # what is no file is built into the kernel
                for needed in self._needed(name):
                    add(needed)
                ordered[name] = None

        for name in names:
            add(name.replace("-", "_"))
        return list(ordered)

    def content(self, name: str) -> bytes:
        """A module, unpacked."""
        path = self._files[name]
        return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()

    def _needed(self, name: str) -> Iterator[str]:
        # Of the section .modinfo, which holds texts that end with a zero byte.
        for text in self.content(name).split(b"\0"):
            if text.startswith(b"depends="):
                yield from (each.replace("-", "_") for each in text[8:].decode().split(",") if each)
                return


def cpio(entries: Sequence[tuple[str, bytes | None]]) -> bytes:
    """An archive in the format newc, which the kernel unpacks; an entry without content is a folder."""
    made = bytearray()
    for number, (name, content) in enumerate([*entries, ("TRAILER!!!", b"")], start=1):
        mode = 0o040755 if content is None else 0o100755
        size, path = len(content or b""), name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(path), 0)
        made += b"070701" + b"".join(b"%08x" % each for each in fields) + path
        made += b"\0" * (-len(made) % 4)
        made += content or b""
        made += b"\0" * (-len(made) % 4)
    return bytes(made)


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-6000:] if path.exists() else ""
