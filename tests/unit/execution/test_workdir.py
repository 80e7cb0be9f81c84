"""A command's private folder."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from k8s_mcp_server.execution import workdir as module
from k8s_mcp_server.execution.result import ApiAccess
from k8s_mcp_server.execution.workdir import Workdir, kubeconfig_text, remove_leftovers, remove_tree

pytestmark = pytest.mark.unit

ACCESS = ApiAccess(server_url="https://127.0.0.1:7", ca_pem="CA", token="one-shot")


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    made = Workdir(tmp_path, access=ACCESS)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.kubeconfig.stat().st_mode) == 0o600


def test_a_command_without_access_has_no_kubeconfig(tmp_path: Path) -> None:
    assert not Workdir(tmp_path, access=None).kubeconfig.exists()


def test_the_kubeconfig_has_one_of_each() -> None:
    config = json.loads(kubeconfig_text(ACCESS))
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:7",
        "certificate-authority-data": "Q0E=",
    }
    assert config["users"][0]["user"] == {"token": "one-shot"}
    assert config["contexts"][0]["context"] == {"cluster": "gateway", "user": "gateway"}


def test_a_folder_that_cannot_be_filled_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: ApiAccess) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(module, "kubeconfig_text", full)
    with pytest.raises(OSError, match="space"):
        Workdir(tmp_path, access=ACCESS)
    assert list(tmp_path.iterdir()) == []


def test_files_are_put_where_the_command_works(tmp_path: Path) -> None:
    made = Workdir(tmp_path, access=None, files={"a.yaml": b"a", "base/b.yaml": b"b"})
    assert (made.work / "a.yaml").read_bytes() == b"a"
    assert (made.work / "base" / "b.yaml").read_bytes() == b"b"


def test_what_is_new_or_changed_comes_back_and_the_rest_does_not(tmp_path: Path) -> None:
    made = Workdir(tmp_path, access=None, files={"same": b"1", "changed": b"1"})
    (made.work / "changed").write_bytes(b"2")
    (made.work / "deep").mkdir()
    (made.work / "deep" / "new").write_bytes(b"3")
    (made.home / "not here").write_bytes(b"4")
    assert made.changed_files(max_bytes=10) == ({"changed": b"2", "deep/new": b"3"}, ())


def test_what_is_too_large_or_no_regular_file_is_named_and_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret", encoding="utf-8")
    made = Workdir(tmp_path, access=None)
    (made.work / "a").write_bytes(b"12345")
    (made.work / "b").write_bytes(b"123456")
    (made.work / "link").symlink_to(outside)
    os.mkfifo(made.work / "pipe")
    assert made.changed_files(max_bytes=10) == ({"a": b"12345"}, ("b", "link", "pipe"))


def test_files_that_come_back_are_counted(tmp_path: Path) -> None:
    made = Workdir(tmp_path, access=None)
    for number in range(module.MOST_FILES_KEPT * 3):
        (made.work / f"{number:04}").write_bytes(b"")
    kept, left_out = made.changed_files(max_bytes=10)
    assert (len(kept), len(left_out)) == (module.MOST_FILES_KEPT, module.MOST_FILES_KEPT)


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    Workdir(tmp_path, access=ACCESS)
    Workdir(tmp_path, access=None)
    (tmp_path / "discovery").mkdir()
    assert remove_leftovers(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["discovery"]


def test_symbolic_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    (outside / "kept").write_text("x", encoding="ascii")
    tree.mkdir()
    (tree / "link").symlink_to(outside, target_is_directory=True)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_a_deep_and_locked_tree_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    folder = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.mkdir("locked", 0, dir_fd=folder)
    os.fchmod(folder, 0o500)
    os.close(folder)
    remove_tree(tree)
    assert not tree.exists()


def test_quota_counts_bytes_and_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Workdir(tmp_path, access=None)
    assert not made.over_quota()
    monkeypatch.setattr(module, "QUOTA_BYTES", 8192)
    (made.temporary / "big").write_bytes(b"x" * 20_000)
    assert made.over_quota()
    monkeypatch.setattr(module, "QUOTA_BYTES", 1_000_000)
    assert not made.over_quota()
    monkeypatch.setattr(module, "QUOTA_ENTRIES", 2)
    assert made.over_quota()
