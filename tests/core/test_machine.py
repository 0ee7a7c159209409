"""The memory and cores that a process may use, from the files of a kernel and its control groups."""

from pathlib import Path

from rescind.core.machine import available_cores, available_memory, out_of_memory_kills

GIB = 2**30


def system(root: Path, files: dict[str, object]) -> Path:
    """Write the files of a made-up /proc and /sys."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


MEMINFO = {"proc/meminfo": f"MemTotal: {16 * 2**20} kB\nMemAvailable:    {8 * 2**20} kB"}


def test_without_a_limit_the_kernel_says_what_is_available(tmp_path: Path) -> None:
    assert available_memory(system(tmp_path, MEMINFO)) == 8 * GIB


def test_a_container_of_version_2_has_what_its_limit_leaves(tmp_path: Path) -> None:
    files = {
        **MEMINFO,
        "proc/self/cgroup": "0::/jobs/demo",
        "sys/fs/cgroup/jobs/memory.max": 3 * GIB,
        "sys/fs/cgroup/jobs/memory.current": 2 * GIB,
        "sys/fs/cgroup/jobs/memory.stat": f"anon 5\ninactive_file {GIB // 2}",
        "sys/fs/cgroup/jobs/demo/memory.max": "max",
    }
    assert available_memory(system(tmp_path, files)) == GIB + GIB // 2


def test_a_container_of_version_1_has_what_its_limit_leaves(tmp_path: Path) -> None:
    files = {
        **MEMINFO,
        "proc/self/cgroup": "7:memory,pids:/box\n3:cpu,cpuacct:/box\n0::/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096,
        "sys/fs/cgroup/memory/box/x": "",
        "sys/fs/cgroup/memory,pids/box/memory.limit_in_bytes": "",
    }
    root = system(tmp_path, files)
    system(root, {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": GIB})
    system(root, {"sys/fs/cgroup/memory/box/memory.usage_in_bytes": GIB // 4})
    assert available_memory(root) == GIB - GIB // 4


def test_a_group_that_is_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    files = {
        **MEMINFO,
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/memory.max": GIB,
        "sys/fs/cgroup/memory.current": 2 * GIB,
    }
    assert available_memory(system(tmp_path, files)) == 0


def test_a_system_that_says_nothing_is_not_guessed_at(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    assert out_of_memory_kills(tmp_path) == 0
    assert available_cores(tmp_path) >= 1


def test_kills_for_want_of_memory_are_counted(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/box",
        "sys/fs/cgroup/box/memory.events": "low 0\noom 3\noom_kill 2",
        "proc/vmstat": "pgfault 9\noom_kill 1",
    }
    assert out_of_memory_kills(system(tmp_path, files)) == 2


def test_a_quota_of_half_a_core_is_one_core(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/box", "sys/fs/cgroup/box/cpu.max": "50000 100000"}
    assert available_cores(system(tmp_path, files)) == 1
