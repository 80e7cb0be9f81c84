"""Where a kubectl command reads files: what is in the ``files`` argument is there, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.files import find_file
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from k8s_mcp_server.commands.words import Flag, KubectlWords

    Files = Mapping[str, object] | Collection[str]

_STDIN_NAMES: Final = frozenset({"-", "/dev/stdin"})
_FOLLOW_VERBS: Final = frozenset({"logs"})  # where -f means --follow
_CONTENT_FLAGS: Final = frozenset({"from-file", "from-env-file", "patch-file"})
_OUTPUT_FILES: Final = ("jsonpath-file", "go-template-file", "templatefile", "custom-columns-file")
_KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def check_files(read: KubectlWords, *, files: Collection[str]) -> None:
    """Refuse a command that reads what is not in ``files``.

    Raises:
        CommandRefused: with what to pass.
    """
    known = dict.fromkeys(files)
    for flag in read.flags:
        _check_flag(flag, verb=read.verb, files=known)
    if read.verb == "kustomize":
        _check_kustomization(read.operands[0] if read.operands else ".", what="`kubectl kustomize`", files=known)
    if read.verb == "cp":
        _check_copy(read, files=known)


def _check_flag(flag: Flag, *, verb: str, files: Mapping[str, object]) -> None:
    value = flag.value or ""
    if _is(flag, short="f", long="filename") and verb not in _FOLLOW_VERBS:
        for name in _each(value):
            _check_name(name, what=f"{flag} {name[:80]}", instead=f"kubectl {verb} -f -", files=files)
    if _is(flag, short="k", long="kustomize") and verb != "kustomize":
        _check_kustomization(value, what=f"{flag} {value[:80]}", files=files)
    if flag.name in _CONTENT_FLAGS:
        key = "KEY=" if flag.name == "from-file" else ""
        name = value.rpartition("=")[2]
        _check_name(name, what=f"{flag}={value[:80]}", instead=f"{flag}={key}/dev/stdin", files=files)
    form, _, name = value.partition("=")
    if _is(flag, short="o", long="output") and form in _OUTPUT_FILES and not find_file(name, files):
        raise CommandRefused(
            "NoFiles",
            f"-o {form} reads a file that is not in `files`.",
            instead="Write the template in the command: -o jsonpath='…', go-template='…' or custom-columns='…'.",
        )


def _each(value: str) -> Iterator[str]:
    """``-f a,b`` names two files, as kubectl reads it."""
    return iter(value.split(","))


def _check_name(name: str, *, what: str, instead: str, files: Mapping[str, object]) -> None:
    if name in _STDIN_NAMES or find_file(name, files):
        return
    if name.startswith(("http://", "https://")):
        raise CommandRefused(
            "NoFiles",
            f"{what} is an address outside the cluster, which cannot be reached from here.",
            instead=f"Pass its content in the stdin argument, and write: `{instead}`",
        )
    raise _not_given(what, name=name, instead=instead)


def _not_given(what: str, *, name: str, instead: str) -> CommandRefused:
    return CommandRefused(
        "NoFiles",
        f"{what} is a local file, and it was not given: a command sees only what is in its `files` argument.",
        instead=f'Pass files={{"{_relative(name)}": "…"}} and name it so; or pass the text in the stdin argument, and '
        f"write: `{instead}`",
    )


def _check_kustomization(folder: str, *, what: str, files: Mapping[str, object]) -> None:
    root = folder.rstrip("/")
    if any(find_file(f"{root}/{name}", files) for name in _KUSTOMIZATIONS):
        return
    raise CommandRefused(
        "NoFiles",
        f"{what} builds from a folder with a kustomization, and none was given there.",
        instead='Pass files={"kustomization.yaml": "…", …} with all that it names, and write -k . (or the folder).',
    )


def _check_copy(read: KubectlWords, *, files: Mapping[str, object]) -> None:
    """``cp`` between a pod and the command's own folder, whose new files come back in the result."""
    source, target, *_ = (*read.operands, "", "")
    if not source or not target:
        return  # kubectl says what is missing
    if ":" not in source and not find_file(source, files):
        raise CommandRefused(
            "NoFiles",
            f"{source[:80]} is not in `files`.",
            instead=f'Pass files={{"{_relative(source)}": "…"}}, and name it so.',
        )
    if ":" not in target and (target.startswith(("/", "~", "../")) or "/../" in target):
        raise CommandRefused(
            "NoFiles",
            "What is copied from a pod comes back in the result, so its name here is a relative one.",
            instead=f"Write {_relative(target)} in place of {target[:80]}.",
        )


def _relative(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2][:80] or "file"


def _is(flag: Flag, *, short: str, long: str) -> bool:
    return flag.name == (short if flag.is_short else long)
