"""What `ensure_tools` builds, finds again, and refuses to use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtools.toolchain import ToolchainError, ensure_tools, find_tool
from devtools.toolchain.cache import BuildCache, default_cache_dir
from devtools.toolchain.catalog import TOOLS_DIR, catalog
from tests.support.toolchain import Recorder

if TYPE_CHECKING:
    from tests.support.toolchain import FakeGo

pytestmark = pytest.mark.unit

ROOT = TOOLS_DIR.parent


def built(path: Path) -> str:
    return subprocess.run([path], capture_output=True, text=True, check=True).stdout


def test_a_missing_tool_is_built_without_cgo_and_with_its_version_stamped(fake_go: FakeGo, recorder: Recorder) -> None:
    paths = ensure_tools(["kubectl"], progress=recorder)
    version = catalog()["kubectl"].version
    (command,) = fake_go.builds
    assert built(paths["kubectl"]) == "built\n"
    assert command.startswith("build -v -trimpath -mod=readonly -buildvcs=false -ldflags -s -w ")
    assert f"-X k8s.io/component-base/version.gitVersion=v{version}" in command
    assert command.endswith("k8s.io/kubernetes/cmd/kubectl CGO_ENABLED=0 GOTOOLCHAIN=auto")
    assert recorder.events == [
        f"1/1 kubectl {version} started",
        "1/0 packages",
        "ended",
        f"1/1 kubectl {version} built",
    ]


def test_a_second_call_finds_the_first_ones_build(fake_go: FakeGo, recorder: Recorder) -> None:
    first = ensure_tools(["etcd", "kwok"], progress=recorder)
    second = ensure_tools(["kwok", "etcd"], progress=recorder)
    assert first == second
    assert len(fake_go.builds) == 2
    assert [event.rsplit(" ", 3)[-3:] for event in recorder.events[-2:]] == [["in", "the", "cache"]] * 2


def test_the_cache_is_under_xdg_cache_home(fake_go: FakeGo, tmp_path: Path, recorder: Recorder) -> None:
    path = ensure_tools(["etcd"], progress=recorder)["etcd"]
    assert path.is_relative_to(tmp_path / "cache" / "k8s-mcp-server")
    assert path.name == "etcd"


@pytest.mark.parametrize("stated", [pytest.param("", id="unset"), pytest.param("caches", id="relative")])
def test_the_cache_is_in_the_home_folder_without_an_absolute_xdg_cache_home(
    stated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", stated)
    assert default_cache_dir() == Path.home() / ".cache" / "k8s-mcp-server"


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_changed_module_is_built_anew(fake_go: FakeGo, tools_dir: Path, recorder: Recorder, file: str) -> None:
    ensure_tools(["kwok"], progress=recorder, tools_dir=tools_dir)
    with (tools_dir / "kwok" / file).open("a") as changed:
        changed.write("\n")
    ensure_tools(["kwok"], progress=recorder, tools_dir=tools_dir)
    assert len(fake_go.builds) == 2


def test_another_go_version_builds_anew(fake_go: FakeGo, recorder: Recorder) -> None:
    ensure_tools(["kwok"], progress=recorder)
    fake_go.answers_env(version="go1.27.0")
    ensure_tools(["kwok"], progress=recorder)
    assert len(fake_go.builds) == 2


def test_finding_a_tool_builds_nothing(fake_go: FakeGo, recorder: Recorder) -> None:
    assert find_tool("kwok") is None
    path = ensure_tools(["kwok"], progress=recorder)["kwok"]
    assert find_tool("kwok") == path
    assert len(fake_go.builds) == 1


def test_a_failed_build_leaves_nothing_that_could_be_used(fake_go: FakeGo, recorder: Recorder) -> None:
    fake_go.builds_by('echo half > "$output"; exit 1')
    with pytest.raises(ToolchainError):
        ensure_tools(["kwok"], progress=recorder)
    assert list(BuildCache(default_cache_dir()).tools.iterdir()) == []


def test_a_build_whose_process_is_killed_is_never_used(fake_go: FakeGo, tmp_path: Path, recorder: Recorder) -> None:
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    fake_go.builds_by(f'echo half > "$output"; chmod +x "$output"; echo > {reached}; exec sleep 600')
    command = [sys.executable, "-m", "devtools.toolchain", "ensure", "kwok"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        reached.read_text()  # blocks until the build has written half of its result
        os.killpg(process.pid, signal.SIGKILL)
    assert find_tool("kwok") is None
    fake_go.builds_by()
    assert built(ensure_tools(["kwok"], progress=recorder)["kwok"]) == "built\n"
    assert len(list(BuildCache(default_cache_dir()).tools.iterdir())) == 1, "what was left over is gone"


def test_a_second_builder_says_that_it_waits_and_takes_the_firsts_result(fake_go: FakeGo, recorder: Recorder) -> None:
    cache = BuildCache(default_cache_dir())
    with ThreadPoolExecutor(max_workers=1) as pool:
        with cache.lock(on_wait=lambda: None):
            second = pool.submit(ensure_tools, ["kwok"], progress=recorder)
            assert recorder.waits.wait(timeout=20)
            assert fake_go.builds == [], "nothing is built while somebody else holds the cache"
        assert built(second.result(timeout=20)["kwok"]) == "built\n"


def test_two_builders_at_once_build_once(fake_go: FakeGo) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = [pool.submit(ensure_tools, ["kwok"], progress=Recorder()) for _ in range(2)]
        paths = {run.result(timeout=20)["kwok"] for run in runs}
    assert len(paths) == 1
    assert len(fake_go.builds) == 1


def test_an_unknown_name_is_refused_with_the_names_there_are(fake_go: FakeGo) -> None:
    with pytest.raises(ToolchainError, match=r"no tool is called podman; there are etcd, kubectl, "):
        ensure_tools(["podman"])


def test_a_cache_that_cannot_be_written_is_named(fake_go: FakeGo, tmp_path: Path, recorder: Recorder) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolchainError, match="set XDG_CACHE_HOME"):
        ensure_tools(["kwok"], progress=recorder, cache_dir=tmp_path / "file")


def put_asset(folder: Path, name: str, *, prints: str, mode: int = 0o755) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(mode)
    return path


def test_an_asset_of_the_right_version_is_taken_without_any_go(
    assets: Path, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    monkeypatch.setenv("PATH", str(assets))
    asset = put_asset(assets, "kube-apiserver", prints=f"Kubernetes v{catalog()['kube-apiserver'].version}")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert ensure_tools(["kube-apiserver"], progress=recorder) == {"kube-apiserver": asset}
    assert recorder.events[-1].endswith("in KUBEBUILDER_ASSETS")


@pytest.mark.parametrize(
    ("prints", "mode"),
    [
        pytest.param("Kubernetes v1.2.3", 0o755, id="another version"),
        pytest.param("Kubernetes v{version}-rc.1", 0o755, id="a release candidate of it"),
        pytest.param("Kubernetes v{version}1", 0o755, id="a version that begins like it"),
        pytest.param("Kubernetes v1{version}", 0o755, id="a version that ends like it"),
        pytest.param("", 0o755, id="no version"),
        pytest.param("Kubernetes v{version}", 0o644, id="not executable"),
    ],
)
def test_an_asset_that_is_not_the_pinned_version_is_left(
    fake_go: FakeGo, assets: Path, recorder: Recorder, prints: str, mode: int
) -> None:
    version = catalog()["kube-apiserver"].version
    asset = put_asset(assets, "kube-apiserver", prints=prints.format(version=version), mode=mode)
    assert ensure_tools(["kube-apiserver"], progress=recorder)["kube-apiserver"] != asset
    assert len(fake_go.builds) == 1


def test_an_asset_that_is_not_there_is_built(fake_go: FakeGo, assets: Path, recorder: Recorder) -> None:
    ensure_tools(["kube-apiserver"], progress=recorder)
    assert len(fake_go.builds) == 1
