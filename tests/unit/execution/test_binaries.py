"""Finding programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from k8s_mcp_server.execution.binaries import FILTERS, find_binaries, inspect_program

pytestmark = pytest.mark.unit


def test_filters_of_this_machine_are_found_with_what_they_need() -> None:
    binaries = find_binaries(Path("/nonexistent"))
    assert set(binaries.filters) >= set(FILTERS) - {"column", "yq"}
    grep = binaries.find("grep")
    assert grep is not None
    assert grep.loader is not None
    assert any(path.name.startswith("libc.so") or "musl" in path.name for path in grep.libraries)


def test_the_real_file_behind_an_alternative_is_what_runs() -> None:
    awk = find_binaries(Path("/nonexistent")).find("awk")
    assert awk is not None
    assert awk.path == Path("/usr/bin/awk").resolve()
    assert not awk.path.is_symlink()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    shutil.copy("/usr/bin/wc", tmp_path / "helm")
    (tmp_path / "argocd").write_text("not executable", encoding="ascii")
    binaries = find_binaries(tmp_path, filter_folders=(tmp_path,))
    assert binaries.is_cli("helm")
    assert binaries.missing == tuple(sorted({"argocd", "istioctl", "kubectl", *FILTERS} - {"column"}))
    assert binaries.find("kubectl") is None


def test_the_first_folder_wins(tmp_path: Path) -> None:
    shutil.copy("/usr/bin/wc", tmp_path / "wc")
    found = find_binaries(tmp_path, filter_folders=(tmp_path, Path("/usr/bin"))).find("wc")
    assert found is not None
    assert found.path.parent == tmp_path


def test_a_filter_that_comes_with_the_clis_is_taken_from_their_folder_alone(tmp_path: Path) -> None:
    own, others = tmp_path / "own", tmp_path / "others"
    for folder in (own, others):
        folder.mkdir()
        shutil.copy("/usr/bin/wc", folder / "yq")
    found = find_binaries(own, filter_folders=(others,)).find("yq")
    assert found is not None
    assert found.path.parent == own
    assert find_binaries(tmp_path, filter_folders=(others,)).find("yq") is None


def test_a_script_is_no_program(tmp_path: Path) -> None:
    script = tmp_path / "kubectl"
    script.write_text(
        "#!/bin/sh\necho not kubectl at all, but long enough to have a header to read\n", encoding="ascii"
    )
    script.chmod(0o755)
    with pytest.raises(OSError, match="ELF"):
        find_binaries(tmp_path)
    with pytest.raises(OSError, match="ELF"):
        inspect_program("kubectl", path=script)
