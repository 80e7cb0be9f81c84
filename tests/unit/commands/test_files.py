"""The `files` argument."""

from __future__ import annotations

import pytest

from k8s_mcp_server.commands.files import MAX_BYTES, MAX_FILES, find_file, read_files
from k8s_mcp_server.errors import CommandRefused

pytestmark = pytest.mark.unit


def test_files_are_taken_as_utf_8_by_their_names() -> None:
    assert read_files({"a.yaml": "ä", "base/b_1.yaml": ""}) == {"a.yaml": "ä".encode(), "base/b_1.yaml": b""}


def test_no_files_are_no_files() -> None:
    assert read_files(None) == {} == read_files({})


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "a/",
        "-f",
        "a/-k",
        ".bashrc",
        "a/.git",
        "a b",
        "a\0b",
        "a\nb",
        "ä",
        "a\\b",
        "~",
        "x" * 201,
        "/".join("abcdefghi"),
        7,
    ],
)
def test_a_name_that_could_mean_something_else_is_refused(name: object) -> None:
    with pytest.raises(CommandRefused) as refused:
        read_files({name: "text"})
    assert refused.value.reason == "InvalidFiles"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param("a.yaml", id="a text"),
        pytest.param(["a.yaml"], id="a list"),
        pytest.param({"a": 1}, id="a number"),
        pytest.param({"a": None}, id="nothing"),
        pytest.param({"a": "\ud800"}, id="half of a surrogate pair"),
        pytest.param({"a": "", "a/b": ""}, id="a file that is a folder"),
        pytest.param({f"f{number}": "" for number in range(MAX_FILES + 1)}, id="too many"),
        pytest.param({"a": "x" * MAX_BYTES, "b": "x"}, id="too much"),
    ],
)
def test_what_cannot_be_files_is_refused(files: object) -> None:
    with pytest.raises(CommandRefused) as refused:
        read_files(files)
    assert refused.value.reason == "InvalidFiles"


def test_a_word_names_a_file_or_a_folder_of_files() -> None:
    files = {"a.yaml": b"", "base/b.yaml": b""}
    assert all(find_file(word, files) for word in ("a.yaml", "./a.yaml", "base", "base/", ".", "base/b.yaml"))
    assert not any(find_file(word, files) for word in ("", "b.yaml", "/a.yaml", "../a.yaml", "a.yaml/x", "bas"))
    assert not find_file(".", {})
