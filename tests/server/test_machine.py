"""What the operating system is asked."""

import os
import resource
import subprocess
import sys

import pytest

from carboy.server.machine import cpu_quota, descriptor_limit, pin, processors, raise_descriptor_limit, resident_memory


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        ({"": "max 100000"}, None),
        ({"a/b": "150000 100000"}, 1.5),
        ({"a/b": "400000 100000", "a": "50000 100000"}, 0.5),
        ({"": "200000 100000", "a/b": "max 100000"}, 2.0),
        ({"a/b": "rubbish"}, None),
        ({}, None),
    ],
)
def test_quota_of_cgroup_v2(tmp_path, limits, quota):
    """The least limit of the group and of all above it."""
    for group, text in limits.items():
        write(tmp_path / "fs" / group / "cpu.max", text)
    write(tmp_path / "cgroup", "0::/a/b\n")

    assert cpu_quota(tmp_path / "fs", tmp_path / "cgroup") == quota


def test_quota_of_cgroup_v1(tmp_path):
    """Older kernels keep it in two files of the cpu controller."""
    write(tmp_path / "fs" / "cpu,cpuacct" / "a" / "cpu.cfs_quota_us", "250000")
    write(tmp_path / "fs" / "cpu,cpuacct" / "a" / "cpu.cfs_period_us", "100000")
    write(tmp_path / "cgroup", "5:memory:/x\n4:cpu,cpuacct:/a\n")

    assert cpu_quota(tmp_path / "fs", tmp_path / "cgroup") == 2.5


def test_no_cgroups_at_all(tmp_path):
    """Elsewhere there is no limit to read."""
    assert cpu_quota(tmp_path, tmp_path / "nothing") is None


def test_processors_are_at_least_one_and_within_the_affinity():
    """A worker always runs; more than the affinity allows never do."""
    assert 1 <= processors() <= len(os.sched_getaffinity(0))


def test_a_pinned_process_keeps_to_one_of_our_processors():
    """The first process gets the first processor; one more than there are begins anew."""
    ours = sorted(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = []
        for number in (0, len(ours) - 1, len(ours)):
            pin(process.pid, number)
            found.append(os.sched_getaffinity(process.pid))

    assert found == [{ours[0]}, {ours[-1]}, {ours[0]}]
    with pytest.raises(ProcessLookupError):
        pin(process.pid, 0)


def test_memory_of_this_process_is_plausible():
    """More than 5 MB, as any Python; a process that is not has none."""
    assert resident_memory(os.getpid()) > 5_000_000
    assert resident_memory(2**22 + 1) == 0


def test_soft_limit_of_descriptors_is_raised_to_the_hard_one():
    """Connections cost descriptors; the usual soft limit of 1,024 is far too low."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
    try:
        raised = raise_descriptor_limit()

        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[1] == descriptor_limit()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
