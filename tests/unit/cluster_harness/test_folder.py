"""The folder of a cluster and the processes in it: what is removed, and what is never touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtools.cluster import ClusterError
from devtools.cluster.guard import Guard
from devtools.cluster.kwok import KwokCluster, _claim, delete_cluster
from devtools.cluster.processes import cluster_processes, remove_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit

CAT = shutil.which("cat") or "/bin/cat"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A folder that looks like the one of a cluster."""
    folder = tmp_path / "cluster"
    (folder / "bin").mkdir(parents=True)
    (folder / "kwokctl.yaml").write_text("")
    (folder / "bin" / "etcd").symlink_to(CAT)
    return folder


@pytest.fixture
def component(workdir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that executes a link inside the folder, as kwokctl's components do."""
    with subprocess.Popen([workdir / "bin" / "etcd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"up\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


def test_a_component_is_found_by_what_it_executes(workdir: Path, component: subprocess.Popen[bytes]) -> None:
    assert cluster_processes(workdir) == [component.pid]


def test_removing_ends_the_components_and_deletes_the_folder(workdir: Path, component: subprocess.Popen[bytes]) -> None:
    remove_cluster(workdir)
    assert component.wait(timeout=10) == -9
    assert not workdir.exists()


def test_a_process_that_only_mentions_the_folder_is_left_alone(workdir: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", str(workdir / "logs" / "audit.log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as reader:
        remove_cluster(workdir)
        assert reader.poll() is None
        reader.communicate(timeout=10)
        assert reader.returncode == 0


def test_a_folder_whose_name_begins_alike_is_another_cluster(workdir: Path, component: subprocess.Popen[bytes]) -> None:
    assert cluster_processes(Path(str(workdir)[:-1])) == []


def test_removing_twice_is_no_error(workdir: Path) -> None:
    remove_cluster(workdir)
    remove_cluster(workdir)


def test_the_guard_removes_the_cluster_when_its_owners_end_of_the_pipe_closes(
    workdir: Path, component: subprocess.Popen[bytes]
) -> None:
    guard = Guard(workdir)
    guard._process.communicate(timeout=20)  # closes the pipe, as the kernel does for a dead owner
    assert component.wait(timeout=10) == -9
    assert not workdir.exists()


def test_a_released_guard_removes_nothing(workdir: Path) -> None:
    guard = Guard(workdir)
    guard.release()
    guard.release()
    assert guard._process.returncode == 0
    assert workdir.exists()


def test_a_guard_that_is_gone_is_noticed(workdir: Path) -> None:
    guard = Guard(workdir)
    guard.check()
    guard._process.kill()
    guard._process.wait(timeout=10)
    with pytest.raises(ClusterError, match="ended by itself, with -9"):
        guard.check()
    guard.release()


def test_a_new_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    assert _claim(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_the_leftovers_of_a_cluster_that_does_not_run_are_cleared(workdir: Path) -> None:
    assert list(_claim(workdir).iterdir()) == []


def test_the_folder_of_a_running_cluster_is_refused(workdir: Path, component: subprocess.Popen[bytes]) -> None:
    with pytest.raises(ClusterError, match=r"a cluster is running in .*devtools\.cluster delete "):
        _claim(workdir)
    assert component.poll() is None


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(ClusterError, match="other things in it"):
        _claim(tmp_path)


def test_only_the_folder_of_a_cluster_is_deleted(tmp_path: Path, workdir: Path) -> None:
    with pytest.raises(ClusterError, match="isn't the folder of a cluster"):
        delete_cluster(tmp_path)
    delete_cluster(workdir)
    assert not workdir.exists()
    assert tmp_path.exists()


@pytest.mark.parametrize("name", ["", "UPPER", "-dash", "dash-", "a" * 41, "../up", "two words"])
def test_a_name_that_is_no_dns_label_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is no name for a cluster"):
        KwokCluster.start(name=name, workdir=tmp_path / "cluster")
    assert not (tmp_path / "cluster").exists()
