"""What a container may use, by folders as the kernel makes them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from pretune.base.limits import Memory, memory, usable_cores

MiB = 1 << 20


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 GiB, of which 60 are free, and eight cores."""
    found = psutil.virtual_memory()._replace(total=65536 * MiB, available=61440 * MiB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: found)
    monkeypatch.setattr("pretune.base.limits._cores", lambda: 8)


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n", encoding="ascii")


def own(folder: Path, *lines: str) -> Path:
    (folder / "cgroup").write_text("\n".join(lines) + "\n", encoding="ascii")
    return folder / "cgroup"


def test_the_least_of_all_groups_above_binds_and_cached_files_count_as_free(tmp_path: Path) -> None:
    root, leaf = tmp_path / "fs", tmp_path / "fs" / "pod" / "job"
    group(root)
    stat = f"anon 5\ninactive_file {100 * MiB}"
    group(root / "pod", memory__max=str(2000 * MiB), memory__current=str(500 * MiB), memory__stat=stat)
    group(leaf, memory__max="max", memory__current=str(300 * MiB), cpu__max="150000 100000")
    path = own(tmp_path, "0::/pod/job")
    assert memory(root, path) == Memory(2000 * MiB, 1600 * MiB)
    assert usable_cores(root, path) == 2, "a core and a half"


def test_the_first_version_is_read_where_the_group_is_the_mount_itself(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    used = {"memory__usage_in_bytes": str(900 * MiB), "memory__stat": f"total_inactive_file {50 * MiB}"}
    group(root / "memory", memory__limit_in_bytes=str(1000 * MiB), **used)
    group(root / "cpu", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    path = own(tmp_path, "9:cpu,cpuacct:/docker/1", "8:memory:/docker/1", "1:name=systemd:/")
    assert memory(root, path) == Memory(1000 * MiB, 150 * MiB)
    assert usable_cores(root, path) == 3


def test_without_a_limit_it_is_the_machine_s(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    group(root / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="1")
    group(root / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    path = own(tmp_path, "2:memory:/", "1:cpu:/")
    assert memory(root, path) == memory(root, tmp_path / "none") == Memory(65536 * MiB, 61440 * MiB)
    assert usable_cores(root, path) == 8
