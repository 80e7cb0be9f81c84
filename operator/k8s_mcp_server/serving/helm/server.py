"""What helm wants to know of the API server, to render a chart without asking it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_BYTES: Final = 100_000  # of one word of a command line the kernel takes 128 KiB (MAX_ARG_STRLEN, execve(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerVersion:
    """Its version, and what it serves as ``apps/v1`` and ``apps/v1/Deployment``."""

    kube_version: str = ""
    api_versions: tuple[str, ...] = ()

    @classmethod
    def read(cls, documents: Mapping[str, Any]) -> ServerVersion:
        """From what kubectl's cache is made of: aggregated discovery by path, and ``gitVersion``.

        Where one word would get too long, kinds are left out.
        """
        names = sorted(dict.fromkeys(_names(documents)), key=lambda name: (name.count("/"), name))
        size, kept = 0, []
        for name in names:
            size += len(name) + 1
            if size > _MOST_BYTES:
                break
            kept.append(name)
        return cls(kube_version=str(documents.get("gitVersion") or ""), api_versions=tuple(kept))


def _names(documents: Mapping[str, Any]) -> Iterator[str]:
    for path in ("/api", "/apis"):
        for group in documents[path].get("items") or ():
            prefix = f"{name}/" if (name := group.get("metadata", {}).get("name", "")) else ""
            for version in group.get("versions") or ():
                yield f"{prefix}{version['version']}"
                for item in version.get("resources") or ():
                    if kind := (item.get("responseKind") or {}).get("kind", ""):
                        yield f"{prefix}{version['version']}/{kind}"
