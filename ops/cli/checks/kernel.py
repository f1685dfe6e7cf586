"""Checks how many connections this machine holds: open files, the kernel's queues and tables, memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.cli.checks.findings import INFO, OK, WARN, CheckResult
from ops.process.descriptors import attainable

# Files that a worker has open beside its readers; webhooks may take half of all where it posts any.
SPARE_FILES = 200
# What the edge asks for: connections that came and were not accepted yet.
BACKLOG = 4096
PAGE = 4096
# An idle reader takes some 7 kB in the edge and the kernel (ops/runbooks/sizing.md); the rest is for what it is sent.
READER_BYTES = 16_400


@dataclass(frozen=True)
class KernelLimits:
    """What the kernel allows; None where it does not say."""

    open_files: int
    # Of all processes together, and how many are open.
    all_files: int | None = None
    used_files: int = 0
    somaxconn: int | None = None
    first_port: int | None = None
    last_port: int | None = None
    # From here on the kernel takes memory from sockets.
    tcp_pages: int | None = None
    # None, too, where the kernel could track connections and tracks none.
    conntrack: int | None = None
    memory: int | None = None

    @staticmethod
    def here(proc: Path = Path("/proc")) -> KernelLimits:
        """Reads those of this machine."""
        first, last = _numbers(proc / "sys/net/ipv4/ip_local_port_range", 2) or (None, None)
        pages = _numbers(proc / "sys/net/ipv4/tcp_mem", 3)
        used = _numbers(proc / "sys/fs/file-nr", 3)
        return KernelLimits(
            attainable(),
            _number(proc / "sys/fs/file-max"),
            used[0] if used else 0,
            _number(proc / "sys/net/core/somaxconn"),
            first,
            last,
            pages[1] if pages else None,
            _conntrack(proc / "sys/net/netfilter"),
            _available(proc / "meminfo"),
        )


def examine_connections(workers: int, limits: KernelLimits) -> list[CheckResult]:
    """How many readers a worker and the machine hold, what limits them, and what to set where the kernel is the limit."""
    return [_connections(workers, limits), *_queue(limits), *_ports(limits)]


def _connections(workers: int, limits: KernelLimits) -> CheckResult:
    each = max(0, limits.open_files - SPARE_FILES)
    most, why, mend = min(_bounds(limits), default=(each * workers, "", ""))
    found = f"a worker holds {each:,} ({limits.open_files:,} open files)"
    if workers > 1:
        found += f", {workers} workers {each * workers:,}"
    if not why:
        return CheckResult("connections", OK, found)
    found += f"; this machine {most:,} ({why})"
    if most < each * workers:
        return CheckResult("connections", WARN, found, mend)
    return CheckResult("connections", OK, found)


def _bounds(limits: KernelLimits) -> Iterator[tuple[int, str, str]]:
    """What limits the connections of the whole machine: how many, by what, and what to set."""
    if limits.conntrack is not None:
        mend = "`sysctl -w net.netfilter.nf_conntrack_max=1048576`, or rules that do not track the edge's port"
        yield limits.conntrack, "nf_conntrack_max", mend
    if limits.tcp_pages is not None:
        # A connection that is being written to holds a page at least.
        mend = "`sysctl -w net.ipv4.tcp_mem='786432 1048576 1572864'`, in pages, where there is memory for it"
        yield limits.tcp_pages, "tcp_mem, a page each", mend
    if limits.all_files is not None:
        mend = "`sysctl -w fs.file-max=2097152`"
        yield max(0, limits.all_files - limits.used_files), "file-max less what is open", mend
    if limits.memory is not None:
        yield limits.memory // READER_BYTES, "memory that is free, 16 kB each", "add memory, or machines"


def _queue(limits: KernelLimits) -> Iterator[CheckResult]:
    if limits.somaxconn is not None and limits.somaxconn < BACKLOG:
        found = (
            f"somaxconn is {limits.somaxconn:,}: of more connections that come at once some wait a second and longer"
        )
        mend = f"`sysctl -w net.core.somaxconn={BACKLOG} net.ipv4.tcp_max_syn_backlog={BACKLOG}`"
        yield CheckResult("accept queue", WARN, found, mend)


def _ports(limits: KernelLimits) -> Iterator[CheckResult]:
    if limits.first_port is not None and limits.last_port is not None:
        count = limits.last_port - limits.first_port + 1
        found = f"{count:,} outgoing connections from one address to one other: webhooks, or a proxy on this machine to the edge"
        yield CheckResult("local ports", INFO, found)


def _numbers(file: Path, count: int) -> list[int]:
    """So many numbers in a file of the kernel; none where it is not there, is not for us, or says something else."""
    try:
        found = [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
    return found if len(found) == count else []


def _number(file: Path) -> int | None:
    return next(iter(_numbers(file, 1)), None)


def _conntrack(folder: Path) -> int | None:
    """How many connections a firewall may track: where it tracks any, for who runs this has some."""
    return _number(folder / "nf_conntrack_max") if _number(folder / "nf_conntrack_count") != 0 else None


def _available(file: Path) -> int | None:
    """Bytes of memory that programs may still have."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), "")
    return int(found) * 1024 if found.isdigit() else None
