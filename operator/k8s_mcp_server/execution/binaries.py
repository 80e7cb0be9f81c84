"""Where the programs are that a pipeline may name, and which of them this machine lacks.

A program is known by the name that a client types; what is executed is the real file behind it (``awk`` may be
``mawk`` or ``gawk``), because the sandbox allows that one file. Libraries are asked of the program's own loader
once, at start, so that a filter's profile names exactly the files that it needs.
"""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILTERS: Final = ("awk", "column", "cut", "grep", "head", "jq", "sed", "sort", "tail", "tr", "uniq", "wc", "yq")
BUILT_FILTERS: Final = frozenset({"yq"})
"""Those that come with the CLIs: programs of Go's, where distributions may have another of the same name."""
OPTIONAL_FILTERS: Final = frozenset({"column"})
HELPERS: Final = ("diff",)
FILTER_FOLDERS: Final = (Path("/usr/bin"), Path("/bin"))

_ELF_HEADER = struct.Struct("<16xHHIQQQIHHH")  # up to e_phnum, 64-bit little endian
_PROGRAM_HEADER = struct.Struct("<IIQQQQ")
_PT_INTERP = 3
_LOADER_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One executable.

    Args:
        name: as clients type it.
        path: the real file.
        loader: its dynamic loader, None when it is statically linked.
        libraries: the files that the loader maps.
    """

    name: str
    path: Path
    loader: Path | None = None
    libraries: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The programs of this machine.

    Args:
        clis: the bundled CLIs that were found, by name (a ``Tool``).
        filters: the filters that were found, by name.
        helpers: programs that a CLI starts and a client cannot name, by name.
    """

    clis: Mapping[str, Program]
    filters: Mapping[str, Program]
    helpers: Mapping[str, Program] = field(default_factory=dict)

    def find(self, name: str) -> Program | None:
        """The program that a client calls ``name``."""
        return self.clis.get(name) or self.filters.get(name)

    def is_cli(self, name: str) -> bool:
        """Whether ``name`` is a bundled CLI, which talks to the gateway, and not a filter."""
        return name in self.clis

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of CLIs and filters that this machine lacks, sorted; optional filters are not counted."""
        wanted = {*(tool.value for tool in Tool), *FILTERS} - OPTIONAL_FILTERS
        return tuple(sorted(wanted - {*self.clis, *self.filters}))


def find_binaries(folder: Path, *, filter_folders: tuple[Path, ...] = FILTER_FOLDERS) -> Binaries:
    """Look for the CLIs in ``folder`` and for the filters in ``filter_folders``, the first that has one winning.

    Raises:
        OSError: a file cannot be read, or is no ELF program of this machine.
    """
    own = _find(BUILT_FILTERS, folders=(folder,))
    clis = {
        tool.value: inspect_program(tool.value, path=folder / tool.value)
        for tool in Tool
        if _usable(folder / tool.value)
    }
    return Binaries(
        clis=clis,
        filters=own | _find(set(FILTERS) - BUILT_FILTERS, folders=filter_folders),
        helpers=_find(HELPERS, folders=filter_folders),
    )


def _find(names: Iterable[str], *, folders: tuple[Path, ...]) -> dict[str, Program]:
    return {
        name: inspect_program(name, path=each / name)
        for name in names
        for each in reversed(folders)
        if _usable(each / name)
    }


def inspect_program(name: str, *, path: Path) -> Program:
    """Resolve one program and its libraries.

    Raises:
        OSError: it cannot be read, is no 64-bit ELF file, or its loader cannot find a library.
    """
    real = path.resolve(strict=True)
    loader = _loader_of(real)
    if loader is None:
        return Program(name=name, path=real)
    return Program(name=name, path=real, loader=loader.resolve(strict=True), libraries=_libraries(real, loader=loader))


def _usable(path: Path) -> bool:
    return path.is_file() and bool(path.stat().st_mode & 0o111)


def _loader_of(path: Path) -> Path | None:
    """The path in the file's PT_INTERP header (elf(5))."""
    with path.open("rb") as file:
        head = file.read(_ELF_HEADER.size)
        if len(head) < _ELF_HEADER.size or head[:6] != b"\x7fELF\x02\x01":
            raise OSError(f"{path} is not a 64-bit ELF program")
        fields = _ELF_HEADER.unpack(head)
        table, entry_size, entries = fields[4], fields[8], fields[9]
        for index in range(entries):
            file.seek(table + index * entry_size)
            kind, _, offset, _, _, size = _PROGRAM_HEADER.unpack(file.read(_PROGRAM_HEADER.size))
            if kind == _PT_INTERP:
                file.seek(offset)
                return Path(file.read(size).rstrip(b"\0").decode())
    return None


def _libraries(path: Path, *, loader: Path) -> tuple[Path, ...]:
    try:
        listing = subprocess.run(
            [loader, "--list", path], env={}, capture_output=True, text=True, check=True, timeout=_LOADER_SECONDS
        ).stdout
    except subprocess.SubprocessError as error:
        raise OSError(f"{loader} cannot list the libraries of {path}") from error
    words = (line.split() for line in listing.splitlines())
    named = {word for line in words for word in line if word.startswith("/")}
    return tuple(sorted({Path(name).resolve(strict=True) for name in named}))
