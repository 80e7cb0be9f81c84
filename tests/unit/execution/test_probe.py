"""What the service says about a node's sandbox."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from k8s_mcp_server.execution.sandbox import kernel, landlock, probe, seccomp
from k8s_mcp_server.execution.sandbox.level import SandboxLevel, SandboxReport
from k8s_mcp_server.execution.sandbox.spawn import Sandbox

pytestmark = pytest.mark.unit


def test_this_kernel_confines_a_process() -> None:
    report = probe.probe()
    assert (report.level, report.reason) == (SandboxLevel.REQUIRED, "")
    assert report.abi >= 4


@pytest.mark.parametrize("abi", [1, 2, 3])
def test_without_tcp_rules_only_the_filesystem_level_is_there(monkeypatch: pytest.MonkeyPatch, abi: int) -> None:
    monkeypatch.setattr(probe, "supported_abi", lambda: abi)
    report = probe.probe()
    assert report.level is SandboxLevel.FILESYSTEM
    assert "6.7" in report.reason
    assert report.satisfies(SandboxLevel.FILESYSTEM)
    assert not report.satisfies(SandboxLevel.REQUIRED)


def test_without_scopes_signals_are_reported_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "supported_abi", lambda: 5)
    report = probe.probe()
    assert (report.level, report.signals_confined) == (SandboxLevel.REQUIRED, False)


def test_without_scopes_a_process_is_still_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as this kernel can play an older one: the ruleset asks for no more than ABI 4 has."""
    monkeypatch.setattr(probe, "supported_abi", lambda: 4)
    assert probe.probe() == SandboxReport(abi=4, level=SandboxLevel.REQUIRED)


def test_without_landlock_nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_system_call(*_: object) -> int:
        raise OSError(errno.ENOSYS, "no such call")

    monkeypatch.setattr(kernel, "system_call", no_system_call)
    assert landlock.supported_abi() == 0
    report = probe.probe()
    assert report.level is None
    assert not report.satisfies(SandboxLevel.FILESYSTEM)
    with pytest.raises(OSError, match="Landlock"):
        Sandbox(abi=0)


@pytest.mark.parametrize(
    ("hole", "found"),
    [
        pytest.param("seccomp", "TCP fast open", id="no seccomp filter"),
        pytest.param("seccomp", "have the server signalled, share memory", id="no arguments filtered"),
        pytest.param("landlock", "read another file", id="no Landlock rules"),
    ],
)
def test_a_sandbox_with_a_hole_is_no_sandbox(monkeypatch: pytest.MonkeyPatch, hole: str, found: str) -> None:
    """One layer is left out, and the probe notices by what the process could do."""
    if hole == "seccomp":
        monkeypatch.setattr(seccomp, "restrict_this_thread", lambda _: None)
    else:
        monkeypatch.setattr(landlock.Ruleset, "restrict_this_thread", lambda _: None)
    report = probe.probe()
    assert report.level is None
    assert found in report.reason


def test_a_kernel_that_refuses_the_filter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> None:
        raise OSError(errno.EINVAL, "no filters")

    monkeypatch.setattr(seccomp, "restrict_this_thread", refuse)
    report = probe.probe()
    assert report.level is None
    assert "no filters" in report.reason


def test_the_server_hides_itself_and_takes_in_orphans() -> None:
    """In a process of its own, because this one is a test runner."""
    script = (
        "import ctypes, sys; sys.path[:0] = sys.argv[1:]\n"
        "from k8s_mcp_server.execution.sandbox.kernel import guard_process\n"
        "guard_process()\nlibc = ctypes.CDLL(None)\nadopts = ctypes.c_int()\n"
        "libc.prctl(37, ctypes.byref(adopts), 0, 0, 0)\nprint(libc.prctl(3, 0, 0, 0, 0), adopts.value)"
    )
    done = subprocess.run([sys.executable, "-c", script, *sys.path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1"]


@pytest.mark.parametrize(
    ("level", "wanted", "enough"),
    [
        pytest.param(SandboxLevel.REQUIRED, SandboxLevel.REQUIRED, True, id="as asked"),
        pytest.param(SandboxLevel.REQUIRED, SandboxLevel.FILESYSTEM, True, id="more than asked"),
        pytest.param(SandboxLevel.FILESYSTEM, SandboxLevel.REQUIRED, False, id="less than asked"),
        pytest.param(None, SandboxLevel.FILESYSTEM, False, id="nothing"),
    ],
)
def test_what_is_enough(level: SandboxLevel | None, wanted: SandboxLevel, enough: bool) -> None:
    assert SandboxReport(abi=7, level=level).satisfies(wanted) is enough
