"""Processors that a process may use, on trees of files as the kernel shows them."""

import os
import statistics
import threading
import time

import pytest
from sardonyx.runtime.processors import available_processors


class Machine:
    """Files of a machine's ``/proc`` and ``/sys`` in a folder."""

    def __init__(self, folder):
        self.proc, self.sys = folder / "proc", folder / "sys"
        self.cgroups = self.sys / "fs" / "cgroup"
        self.cpus = self.sys / "devices" / "system" / "cpu"

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def cores(self, *lists, name="core_cpus_list"):
        """Say of each list of processors, such as ``"0,4"`` or ``"0-3"``, that it is one core."""
        for text in lists:
            for part in text.split(","):
                first, _, last = part.partition("-")
                for processor in range(int(first), int(last or first) + 1):
                    self.topology(processor, text + "\n", name)

    def topology(self, processor, text, name="core_cpus_list"):
        self.write(self.cpus / f"cpu{processor}" / "topology" / name, text)

    def process(self, *groups, mounts):
        """Put the process into cgroups; mounts have a root, a folder, a type and options."""
        self.write(self.proc / "self" / "cgroup", "".join(f"{group}\n" for group in groups))
        lines = [f"24 1 0:22 / {self.proc} rw,nosuid - proc proc rw\n"]
        for number, (root, folder, kind, options) in enumerate(mounts):
            point = str(self.cgroups / folder).rstrip("/").replace(" ", r"\040")
            lines.append(f"{30 + number} 24 0:26 {root} {point} rw shared:4 - {kind} x {options}\n")
        self.write(self.proc / "self" / "mountinfo", "".join(lines))

    def v2(self, folder, text):
        self.write(self.cgroups / folder / "cpu.max", text)

    def v1(self, folder, quota, period="100000\n"):
        self.write(self.cgroups / folder / "cpu.cfs_quota_us", quota)
        self.write(self.cgroups / folder / "cpu.cfs_period_us", period)

    def count(self):
        return available_processors(str(self.proc), str(self.sys))


V2 = ("/", "", "cgroup2", "rw")
V1 = ("/", "cpu", "cgroup", "rw,cpu,cpuacct")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which the process may use processors 0 to 7; its files say nothing."""
    allow(monkeypatch, range(8))
    return Machine(tmp_path)


def allow(monkeypatch, allowed):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(allowed), raising=False)


# --- affinity and cores -----------------------------------------------------------------------


def test_processors_outside_the_mask_do_not_count(machine, monkeypatch):
    machine.cores(*map(str, range(8)))
    assert machine.count() == 8
    allow(monkeypatch, {1, 6})
    assert machine.count() == 2


@pytest.mark.parametrize("lists", [["0,4", "1,5", "2,6", "3,7"], ["0-1", "2-3", "4-5", "6-7"]])
@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_hyper_threads_of_a_core_count_once(machine, monkeypatch, lists, name):
    machine.cores(*lists, name=name)
    assert machine.count() == 4
    allow(monkeypatch, {0, 1, 4})
    assert machine.count() == 2


def test_four_threads_of_a_core_count_once(machine):
    machine.cores("0-3", "4,5,6,7")
    assert machine.count() == 2


def test_topology_is_not_read_where_hyper_threads_are_off(machine):
    machine.cores("0,4")
    machine.write(machine.cpus / "smt" / "active", "0\n")
    assert machine.count() == 8


@pytest.mark.parametrize("text", ["", "\n", "0;4", "-", "0-", "x", "4-0", "0,99999999999999"])
def test_a_malformed_topology_joins_no_processors(machine, text):
    for processor in (0, 4):
        machine.topology(processor, text)
    assert machine.count() == 8


def test_a_range_beyond_all_processors_takes_no_time(machine):
    machine.topology(0, "0-99999999999999")
    assert machine.count() == 1


@pytest.mark.parametrize("count, wanted", [(6, 6), (None, 1)])
def test_without_a_mask_all_processors_count(machine, monkeypatch, count, wanted):
    monkeypatch.setattr(os, "cpu_count", lambda: count)

    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    assert machine.count() == wanted
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.count() == wanted


# --- version 2 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("1000 100000\n", 1),
        ("max 100000\n", 8),
        ("9900000 100000\n", 8),
        ("400000 200000\n", 2),
    ],
)
def test_quotas_are_rounded_up_and_at_most_the_cores(machine, text, wanted):
    machine.process("0::/app", mounts=[V2])
    machine.v2("app", text)
    assert machine.count() == wanted


@pytest.mark.parametrize(
    "text",
    ["", "\n", "max", "200000", "0 100000", "200000 0", "-1 100000", "a b", "2 1 0", "9" * 5000],
)
def test_malformed_quotas_limit_nothing(machine, text):
    machine.process("0::/app", mounts=[V2])
    machine.v2("app", text)
    assert machine.count() == 8


@pytest.mark.parametrize("folder", ["", "pods", "pods/pod", "pods/pod/app"])
def test_quotas_of_all_cgroups_above_count(machine, folder):
    machine.process("0::/pods/pod/app", mounts=[V2])
    for level in ("pods", "pods/pod", "pods/pod/app"):
        machine.v2(level, "600000 100000\n")
    machine.v2(folder, "300000 100000\n")
    machine.v2("pods/other", "100000 100000\n")
    machine.v2("pods/pod/app/child", "100000 100000\n")
    assert machine.count() == 3


def test_quotas_in_a_namespace_are_those_of_its_root(machine):
    machine.process("0::/", mounts=[V2])
    machine.v2("", "200000 100000\n")
    assert machine.count() == 2


def test_a_mount_of_a_cgroup_shows_what_is_below_it(machine):
    machine.process("0::/docker/box/app", mounts=[("/docker/box", "", "cgroup2", "rw")])
    machine.v2("app", "300000 100000\n")
    assert machine.count() == 3
    machine.v2("", "200000 100000\n")
    machine.v2("docker/box", "100000 100000\n")  # another, deeper down
    assert machine.count() == 2


def test_a_mount_from_outside_a_namespace_shows_the_cgroups_above(machine):
    machine.process("0::/app", mounts=[("/../..", "", "cgroup2", "rw")])
    machine.v2("", "200000 100000\n")
    machine.v2("app", "100000 100000\n")  # not the process's: names in between are not known
    assert machine.count() == 2


@pytest.mark.parametrize(
    ("group", "root"),
    [("/../other", "/"), ("/docker/box", "/docker/bo"), ("/a", "/../b"), ("/../../a", "/..")],
)
def test_mounts_of_other_cgroups_limit_nothing(machine, group, root):
    machine.process(f"0::{group}", mounts=[(root, "", "cgroup2", "rw")])
    machine.v2("", "100000 100000\n")
    machine.write(machine.cgroups.parent / "other" / "cpu.max", "100000 100000\n")
    assert machine.count() == 8


def test_a_group_outside_the_namespace_is_found_by_a_mount_that_shows_it(machine):
    machine.process("0::/../other", mounts=[("/..", "", "cgroup2", "rw")])
    machine.v2("other", "200000 100000\n")
    assert machine.count() == 2


def test_paths_may_hold_spaces_and_colons(machine):
    machine.process("0::/a b:c", mounts=[("/", "the groups", "cgroup2", "rw")])
    machine.v2("the groups/a b:c", "200000 100000\n")
    assert machine.count() == 2


# --- version 1 and both -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "period", "wanted"),
    [
        ("150000\n", "100000\n", 2),
        ("-1\n", "100000\n", 8),
        ("150000\n", "", 8),
        ("", "100000\n", 8),
        ("x", "y", 8),
    ],
)
def test_version_1_has_quota_and_period_in_two_files(machine, quota, period, wanted):
    machine.process("4:cpuset:/", "3:cpu,cpuacct:/user/app", mounts=[V1])
    machine.v1("cpu/user/app", quota, period)
    assert machine.count() == wanted


def test_only_the_controller_of_the_cpu_counts(machine):
    machine.process(
        "5:cpuset:/app", "4:cpuacct:/app", "3:cpu:/app", "1:name=cpu:/app",
        mounts=[("/", "cpuset", "cgroup", "rw,cpuset"), ("/", "cpu", "cgroup", "rw,cpu")],
    )  # fmt: skip
    machine.v1("cpuset/app", "100000\n")
    machine.v1("cpu/app", "400000\n")
    assert machine.count() == 4
    machine.v1("cpu", "200000\n")
    assert machine.count() == 2


def test_a_container_of_version_1_sees_its_own_cgroup_as_root(machine):
    machine.process(
        "3:cpu,cpuacct:/docker/box", mounts=[("/docker/box", "cpu", "cgroup", "rw,cpu,cpuacct")]
    )
    machine.v1("cpu", "200000\n")
    assert machine.count() == 2


def test_of_both_versions_the_smaller_quota_counts(machine):
    mounts = [V1, ("/", "unified", "cgroup2", "rw")]
    machine.process("3:cpu,cpuacct:/app", "0::/app", mounts=mounts)
    machine.v1("cpu/app", "300000\n")
    assert machine.count() == 3
    machine.v2("unified/app", "200000 100000\n")
    assert machine.count() == 2


# --- files that cannot be read ----------------------------------------------------------------


def test_without_files_the_mask_counts(machine):
    assert machine.count() == 8


@pytest.mark.parametrize("name", ["cgroup", "mountinfo"])
@pytest.mark.parametrize(
    "text",
    ["", "\n", ":", "::", "0::", "- - -", " - cgroup2", "1 2 3 - cgroup2 x rw", "\0", "\\000"],
)
def test_malformed_tables_limit_nothing(machine, name, text):
    machine.process("0::/app", mounts=[V2])
    machine.v2("app", "100000 100000\n")
    machine.write(machine.proc / "self" / name, text)
    assert machine.count() == 8


def test_bytes_that_are_no_text_are_not_in_the_way(machine):
    machine.process("0::/app", mounts=[V2])
    machine.v2("app", "200000 100000\n")
    table = machine.proc / "self" / "mountinfo"
    table.write_bytes(b"25 1 0:9 / /mnt/\xff\xfe rw - ext4 /dev/sda rw\n" + table.read_bytes())
    assert machine.count() == 2


def test_a_folder_in_place_of_a_file_limits_nothing(machine):
    machine.process("0::/app", mounts=[V2])
    (machine.cgroups / "app" / "cpu.max").mkdir(parents=True)
    assert machine.count() == 8


# --- this machine -----------------------------------------------------------------------------


def test_this_machine_is_counted_in_less_than_a_millisecond():
    assert 1 <= available_processors() <= (os.cpu_count() or 1)
    times = []
    for _ in range(51):
        start = time.perf_counter()
        available_processors()
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 1e-3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_a_changed_mask_counts_at_once():
    counts = []

    def pinned():
        counts.append(available_processors())
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        counts.append(available_processors())

    thread = threading.Thread(target=pinned)  # the mask is that of a thread
    thread.start()
    thread.join()
    assert counts == [available_processors(), 1]
