"""What a request asks of the API server, by the API server's own rules.

A port of ``RequestInfoFactory.NewRequestInfo`` (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go, v0.37) with the
prefixes that kube-apiserver sets: ``api`` and ``apis``, of which ``api`` has no group. It maps whatever it is given,
the odd and the deprecated too, so that it can be compared with the API server's audit log; target.py refuses what must
not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from k8s_mcp_server.gateway.selectors import (
    SelectorError,
    is_int64,
    label_selector_parses,
    parse_field_selector,
)
from k8s_mcp_server.policy.request import RequestInfo

Query = Sequence[tuple[str, str]]

_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_RESOURCE_AT: Final = {"api": 2, "apis": 3}  # behind prefix, group and version
_SPECIAL_VERBS: Final = frozenset({"proxy", "watch"})
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})


class UnresolvableRequest(ValueError):
    """The API server answers 500 to this: a path that ends in a verb prefix, such as ``/api/v1/watch``."""


def request_info(method: str, path: str, query: Query) -> RequestInfo:
    """The request's authorization attributes.

    Args:
        method: the HTTP method, upper case.
        path: the decoded path.
        query: the decoded query parameters, in order; the first of a repeated one counts.

    Raises:
        UnresolvableRequest: the API server cannot tell either.
    """
    parts = _split(path)
    resource_at = _RESOURCE_AT.get(parts[0]) if parts else None
    if resource_at is None or len(parts) <= resource_at:
        return RequestInfo(is_resource_request=False, path=path, verb=method.lower())
    prefix, *_, version = parts[:resource_at]
    rest = parts[resource_at:]

    verb = _VERBS.get(method, "")
    if rest[0] in _SPECIAL_VERBS:
        if rest[1:] == []:
            raise UnresolvableRequest(path)
        verb, rest = rest[0], rest[1:]

    namespace = ""
    if rest[0] == "namespaces" and rest[1:]:
        namespace = rest[1]
        if rest[2:] and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]

    resource, name, subresource, *_ = (*rest, "", "")
    if not name and verb == "get":
        verb, name = _read_list_options(query)
    if not name and verb == "delete":
        verb = "deletecollection"
    return RequestInfo(
        is_resource_request=True,
        path=path,
        verb=verb,
        api_prefix=prefix,
        api_group=parts[1] if prefix == "apis" else "",
        api_version=version,
        namespace=namespace,
        resource=resource,
        subresource="" if verb == "proxy" else subresource,
        name=name,
    )


def uses_verb_prefix(path: str) -> bool:
    """Whether the path names its verb, as the deprecated ``/api/v1/watch/…`` and ``/api/v1/proxy/…`` do."""
    parts = _split(path)
    resource_at = _RESOURCE_AT.get(parts[0]) if parts else None
    return resource_at is not None and len(parts) > resource_at and parts[resource_at] in _SPECIAL_VERBS


def _split(path: str) -> list[str]:
    stripped = path.strip("/")
    return stripped.split("/") if stripped else []


def first(query: Query, key: str) -> str | None:
    """The first value of a parameter, as Go's ``url.Values.Get`` sees it, or None."""
    return next((value for name, value in query if name == key), None)


def _read_list_options(query: Query) -> tuple[str, str]:
    """Verb and name of a GET without a name in its path: ListOptions decide, and are ignored whole when one is bad."""
    watch = first(query, "watch")
    # Convert_Slice_string_To_bool uses strings.EqualFold, which also folds U+017F to "s".
    is_watch = watch is not None and watch != "0" and watch.casefold() != "false"
    name = ""
    try:
        name = _exact_name(query)
    except SelectorError:
        is_watch = watch is not None and watch.lower() not in {"0", "false"}
    return ("watch" if is_watch else "list"), name


def _exact_name(query: Query) -> str:
    for number in ("timeoutSeconds", "limit"):
        value = first(query, number)
        if value is not None and not is_int64(value):
            raise SelectorError(number)
    if not label_selector_parses(first(query, "labelSelector") or ""):
        raise SelectorError("labelSelector")
    for term in parse_field_selector(first(query, "fieldSelector") or ""):
        if term.field == "metadata.name" and not term.negated:
            return term.value if _is_path_segment_name(term.value) else ""
    return ""


def _is_path_segment_name(name: str) -> bool:
    """``IsPathSegmentName`` of k8s.io/apimachinery/pkg/api/validate/content/path.go."""
    return name not in {".", ".."} and "/" not in name and "%" not in name
