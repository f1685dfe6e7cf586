"""What `callboard doctor` says of the connections that this machine holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ops.cli.checks import kernel
from ops.cli.checks.findings import INFO, OK, WARN
from ops.cli.checks.kernel import KernelLimits, examine_connections

WIDE = KernelLimits(
    open_files=20_000,
    all_files=2_000_000,
    used_files=1_000,
    somaxconn=4096,
    first_port=32768,
    last_port=60999,
    tcp_pages=400_000,
    conntrack=262_144,
    memory=1 << 34,
)


def test_a_worker_is_limited_by_its_files_and_the_machine_by_its_narrowest_table() -> None:
    connections, ports = examine_connections(1, WIDE)

    assert (connections.check, connections.verdict) == ("connections", OK)
    assert connections.found == "a worker holds 19,800 (20,000 open files); this machine 262,144 (nf_conntrack_max)"
    assert (ports.verdict, ports.found[:6]) == (INFO, "28,232")


@pytest.mark.parametrize(
    ("limits", "why", "setting"),
    [
        (replace(WIDE, conntrack=65_536), "65,536 (nf_conntrack_max)", "nf_conntrack_max="),
        (replace(WIDE, tcp_pages=50_000), "50,000 (tcp_mem, a page each)", "tcp_mem="),
        (replace(WIDE, all_files=70_000), "69,000 (file-max less what is open)", "file-max="),
        (replace(WIDE, memory=164_000_000), "10,000 (memory that is free, 16 kB each)", "memory"),
    ],
)
def test_what_holds_less_than_the_workers_is_a_warning_with_what_to_set(
    limits: KernelLimits, why: str, setting: str
) -> None:
    found = examine_connections(4, limits)[0]

    assert found.verdict == WARN and setting in found.mend
    assert f"4 workers 79,200; this machine {why}" in found.found


def test_a_short_accept_queue_is_a_warning() -> None:
    assert [each.check for each in examine_connections(1, replace(WIDE, somaxconn=4096))] == [
        "connections",
        "local ports",
    ]

    queue = examine_connections(1, replace(WIDE, somaxconn=128))[1]
    assert (queue.check, queue.verdict) == ("accept queue", WARN)
    assert "net.core.somaxconn=4096" in queue.mend


def test_where_the_kernel_does_not_say_only_files_count() -> None:
    (found,) = examine_connections(2, KernelLimits(open_files=1_000))

    assert (found.verdict, found.found) == (OK, "a worker holds 800 (1,000 open files), 2 workers 1,600")


def test_limits_are_read_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "attainable", lambda: 5_000)
    files = {
        "sys/net/ipv4/ip_local_port_range": "1024\t65535\n",
        "sys/net/ipv4/tcp_mem": "1\t2\t3\n",
        "sys/fs/file-max": "400\n",
        "sys/fs/file-nr": "7\t0\t400\n",
        "sys/net/core/somaxconn": "128\n",
        "sys/net/netfilter/nf_conntrack_max": "99\n",
        "meminfo": "MemTotal:  10 kB\nMemAvailable:  5 kB\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert KernelLimits.here(tmp_path) == KernelLimits(5_000, 400, 7, 128, 1024, 65535, 2, 99, 5 * 1024)
    (tmp_path / "sys/net/ipv4/tcp_mem").write_text("not numbers\n")
    (tmp_path / "sys/net/netfilter/nf_conntrack_max").unlink()
    assert KernelLimits.here(tmp_path) == KernelLimits(5_000, 400, 7, 128, 1024, 65535, None, None, 5 * 1024)
    assert KernelLimits.here(tmp_path / "none") == KernelLimits(5_000)


@pytest.mark.parametrize(("tracked", "limit"), [("0\n", None), ("12\n", 99)])
def test_a_table_of_tracked_connections_limits_nothing_where_none_is_tracked(
    tmp_path: Path, tracked: str, limit: int | None
) -> None:
    folder = tmp_path / "sys/net/netfilter"
    folder.mkdir(parents=True)
    (folder / "nf_conntrack_max").write_text("99\n")
    (folder / "nf_conntrack_count").write_text(tracked)

    assert KernelLimits.here(tmp_path).conntrack == limit
