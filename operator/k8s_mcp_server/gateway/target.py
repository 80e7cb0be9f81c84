"""The request target: read strictly, and written anew for the API server.

Between the client's bytes and what the API server understands stand Go's net/url, its router and the RequestInfo rules.
A target whose meaning could differ between any two of them is refused, and what is forwarded is our own serialisation
of what was decided on, never the client's bytes (RFC 9112 §3.2, RFC 3986 §3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from k8s_mcp_server.gateway.requestinfo import uses_verb_prefix

LONGEST_TARGET: Final = 16 * 1024
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ORIGIN_FORM: Final = re.compile(r"/[!-~]*")
_SEGMENT: Final = re.compile(r"[^\x00-\x20\x7f-\x9f/\\?#%;]+")
_SAFE_IN_PATH: Final = ":@!$&'()*+,=-._~"

# Parameters that say what a request means or does: one value each, for which of two counts is not ours to guess.
_SINGLE_VALUED: Final = frozenset(
    {
        "watch", "fieldSelector", "labelSelector", "shardSelector", "limit", "continue", "timeoutSeconds", "timeout",
        "resourceVersion", "resourceVersionMatch", "allowWatchBookmarks", "sendInitialEvents", "dryRun", "force",
        "fieldManager", "fieldValidation", "propagationPolicy", "orphanDependents", "gracePeriodSeconds", "uid",
        "ignoreStoreReadErrorWithClusterBreakingPotential", "includeObject", "pretty", "follow", "previous",
        "container", "tailLines", "limitBytes", "sinceSeconds", "sinceTime", "timestamps", "stream",
        "insecureSkipTLSVerifyBackend",
        "stdin", "stdout", "stderr", "tty", "path",
    }
)  # fmt: skip


class TargetRefused(ValueError):
    """The target is ambiguous or malformed; the text says how, for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A request target with one meaning.

    Args:
        path: decoded, without empty or dot segments; a trailing slash is kept (a proxied backend may care).
        query: decoded parameters in the client's order.
    """

    path: str
    query: tuple[tuple[str, str], ...] = ()

    def encode(self) -> str:
        """Our serialisation, which every reader on the way decodes to the same path and parameters."""
        path = quote(self.path, safe="/" + _SAFE_IN_PATH)
        if not self.query:
            return path
        return path + "?" + "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in self.query)

    def with_parameter(self, key: str, value: str) -> Target:
        """The same target with the parameter set to this value only."""
        return replace(self, query=(*self.without(key).query, (key, value)))

    def without(self, *keys: str) -> Target:
        """The same target without these parameters."""
        return replace(self, query=tuple(pair for pair in self.query if pair[0] not in keys))


def parse_target(raw: str) -> Target:
    """Read an origin-form target.

    Raises:
        TargetRefused: not origin-form, not printable ASCII, a bad or meaning-changing escape, an empty or dot segment,
            a ``;``, a backslash, a fragment, a repeated authoritative parameter, or a deprecated verb prefix.
    """
    if len(raw) > LONGEST_TARGET:
        raise TargetRefused("the request target is too long")
    if not _ORIGIN_FORM.fullmatch(raw) or "#" in raw:
        raise TargetRefused("the request target must be an absolute path of printable ASCII characters")
    raw_path, _, raw_query = raw.partition("?")
    target = Target(path=_read_path(raw_path), query=_read_query(raw_query))
    if uses_verb_prefix(target.path):
        raise TargetRefused("the deprecated /watch/ and /proxy/ path prefixes are not supported")
    return target


def _read_path(raw: str) -> str:
    path = _decode(raw)
    if path.count("/") != raw.count("/"):
        raise TargetRefused("the path holds an encoded slash")
    body = path[1:].removesuffix("/")
    if not body:
        if path != "/":
            raise TargetRefused("the path holds an empty segment")
        return path
    for segment in body.split("/"):
        if not segment:
            raise TargetRefused("the path holds an empty segment")
        if segment in {".", ".."}:
            raise TargetRefused("the path holds a dot segment")
        if not _SEGMENT.fullmatch(segment):
            raise TargetRefused("the path holds a character that is not allowed there")
    return path


def _read_query(raw: str) -> tuple[tuple[str, str], ...]:
    if ";" in raw:  # Go drops the pair, others split at it
        raise TargetRefused("the query holds a ';'")
    pairs, seen = [], set()
    for pair in raw.split("&"):
        if not pair:
            continue
        key, _, value = (_decode(part.replace("+", " ")) for part in pair.partition("="))
        if "\0" in key or "\0" in value:
            raise TargetRefused("the query holds a NUL")
        if key in seen and key in _SINGLE_VALUED:
            raise TargetRefused(f"the query parameter {key} is repeated")
        seen.add(key)
        pairs.append((key, value))
    return tuple(pairs)


def _decode(raw: str) -> str:
    if "%" not in raw:
        return raw
    if _BAD_ESCAPE.search(raw):
        raise TargetRefused("the request target holds a bad percent escape")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise TargetRefused("the request target is not UTF-8") from None
