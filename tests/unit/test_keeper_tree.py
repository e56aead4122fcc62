"""Whose a process is, as the kernel's own files tell it."""

from __future__ import annotations

import os
from pathlib import Path

from bartoc.keeper import tree

STAT = b"7 (%s) %s 3 7 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0"
MOUNT = "30 23 0:26 %s %s rw,relatime shared:4 - cgroup2 cgroup2 rw\n"


def test_a_name_with_blanks_and_parentheses_does_not_confuse() -> None:
    for name in (b"sh", b"a b", b") Z 9 9 (", b"))"):
        assert tree.parse_stat(7, STAT % (name, b"S")) == tree.Process(7, 3, 5, 4711, False)


def test_a_zombie_is_not_alive() -> None:
    found = tree.parse_stat(7, STAT % (b"sh", b"Z"))
    assert found is not None
    assert found.zombie


def test_a_line_cut_short_is_no_process() -> None:
    assert tree.parse_stat(7, b"7 (sh) S 3 7") is None
    assert tree.parse_stat(7, b"") is None


def test_we_find_ourselves_but_not_in_a_snapshot() -> None:
    found = tree.process(os.getpid())
    assert found is not None
    assert found.parent == os.getppid()
    snapshot = tree.Snapshot()
    assert os.getpid() not in snapshot.processes
    assert os.getppid() in snapshot.processes


def test_marks_are_whole_entries_and_there_are_two_or_none() -> None:
    env = {"BARTO_RUN": "r\udcff", "BARTO_ATTEMPT": "12", "HOME": "/"}
    assert tree.marks(env) == (b"BARTO_RUN=r\xff", b"BARTO_ATTEMPT=12")
    assert tree.marks({"BARTO_RUN": "r"}) == ()
    assert tree.marks({"BARTO_RUN": "r", "BARTO_ATTEMPT": ""}) == ()


def test_our_cgroup_is_found_wherever_it_is_mounted() -> None:
    cgroup1 = "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    unified = [cgroup1, MOUNT % ("/", "/sys/fs/cgroup/unified")]
    assert tree.own_cgroup("/", unified) == "/sys/fs/cgroup/unified"
    assert tree.own_cgroup("/system.slice/a", unified) == "/sys/fs/cgroup/unified/system.slice/a"
    inside = [MOUNT % ("/docker/1", "/sys/fs/cgroup")]
    assert tree.own_cgroup("/docker/1", inside) == "/sys/fs/cgroup"
    assert tree.own_cgroup("/docker/1/a", inside) == "/sys/fs/cgroup/a"
    assert tree.own_cgroup("/docker/12", inside) is None
    assert tree.own_cgroup("/", [cgroup1]) is None


def test_what_was_killed_for_memory_is_counted_where_the_kernel_counts_it(tmp_path: Path) -> None:
    own = tmp_path / "barto.1.run"
    own.mkdir()
    attempt = tree.Tree(tree.Snapshot, cgroup=str(own))
    assert attempt.memory_kills() == 0
    (tmp_path / "memory.events").write_bytes(b"low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert attempt.memory_kills() == 2
    (own / "memory.events").write_bytes(b"oom_kill 1\n")
    assert attempt.memory_kills() == 1
    (own / "memory.events").write_bytes(b"low 0\n")
    assert attempt.memory_kills() == 0
    assert tree.Tree(tree.Snapshot).memory_kills() == 0
