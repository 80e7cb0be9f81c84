"""Random requests near the edges of the API server's RequestInfo rules, and Go's lenient reading of their targets."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_METHODS = ("GET", "GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE", "DELETE", "HEAD", "OPTIONS", "TRACE")
_SEGMENTS = (
    "api", "apis", "v1", "v1beta1", "apps", "batch", "namespaces", "namespaces", "ns1", "team-a", "pods", "p-1",
    "status",
    "finalize", "watch", "proxy", "log", "exec", "deployments", "scale", "secrets", "nodes", "token",
    "serviceaccounts",
    "rbac.authorization.k8s.io", "clusterroles", "system%3Anode", "system:node", "a%2Fb", "%2e%2e", "..", ".", "",
    "x%25y",
    "%C3%A9", "a+b", "a%20b", "a%3Bb", "a;b", "%41", "pods%3Fwatch=1", "version", "healthz", "openapi", "*",
)  # fmt: skip
_BASES = (
    ("api", "v1"), ("api", "v1"), ("apis", "apps", "v1"), ("apis", "batch", "v1"),
    ("apis", "nothing.example.com", "v9"),
    ("apis", "k8s-mcp.io", "v1alpha1"), ("apis", "metrics.k8s.io", "v1beta1"),
)  # fmt: skip
_BOOLS = ("true", "false", "0", "1", "", "False", "FALSE", "f", "no", "%30", "fal%C5%BFe", "t")
_NUMBERS = (
    "5",
    "x",
    "",
    "-1",
    "+5",
    "99999999999999999999",
    "-9223372036854775808",
    "9223372036854775808",
    "0x1",
    "007",
    "1_0",
)
_LABELS = (
    "a=b", "a%20in%20(b)", "", "a", "!a", "a,b", "a,", ",", "a==b", "a!=b", "a%20notin%20(x,,y)", "a%20in%20()",
    "a%20in%20b",
    "a%3E5", "a%3Cx", "a=b=c", "A/b=c", "x.y/b=c", "a%20%20=%20b", "in=in", "in%20in%20(in)", "!a=b",
    "a%20in%20(b", "%C3%A9=b",
    "-a=b", "a=-b", "a%20b", "(", "a/b/c", "a=" + "b" * 64, "a" * 63 + "=b", "a!", "=", "a%09in%09(b)",
)  # fmt: skip
_FIELDS = (
    "metadata.name%3Dfoo", "metadata.name=foo", "metadata.name==foo", "metadata.name!%3Dfoo", "foo",
    "metadata.name=.",
    "metadata.name%3Da%2Cmetadata.name%3Db", "metadata.name%3Da%2Fb", "metadata.name%3Da%25b",
    "metadata.name=a%5C,b", "",
    "a%3Db%3Dc", "spec.nodeName=n1,metadata.name=zz", "metadata.name=b,metadata.name=a", "metadata.name=",
    ",metadata.name=x,",
    "metadata.name=a%5Cb", "metadata.name=a%5C", "metadata.name=..,metadata.name=x", "%20metadata.name=x",
    "metadata.name=%C3%A9",
    "metadata.namespace=team-a", "=", "metadata.name=x%20",
)  # fmt: skip
_PARAMETERS = {
    "watch": _BOOLS, "fieldSelector": _FIELDS, "labelSelector": _LABELS, "limit": _NUMBERS,
    "timeoutSeconds": (*_NUMBERS, "1.5"),
    "resourceVersion": ("0", "x", ""), "continue": ("abc",), "allowWatchBookmarks": _BOOLS,
    "sendInitialEvents": _BOOLS,
    "dryRun": ("All", ""), "x;y": ("1",), "bad%zz": ("1",), "unknown": ("%zz", "a%26b", "a+b"), "Watch": ("true",),
}  # fmt: skip
_LIKELY = ("watch", "fieldSelector", "labelSelector", "fieldSelector", "labelSelector", "limit")


@dataclass(frozen=True, slots=True)
class RandomRequest:
    """A request line's method and target."""

    method: str
    target: str


def random_request(rng: random.Random) -> RandomRequest:
    """One request; about half of them are well-formed."""
    if rng.random() < 0.25:
        return _selecting(rng)
    path = "/" + "/".join(_path(rng)) + ("/" if rng.random() < 0.08 else "")
    names = [rng.choice(_LIKELY) if rng.random() < 0.7 else rng.choice(list(_PARAMETERS)) for _ in range(_count(rng))]
    pairs = [f"{name}={rng.choice(_PARAMETERS[name])}" if rng.random() < 0.95 else name for name in names]
    return RandomRequest(rng.choice(_METHODS), path + ("?" + "&".join(pairs) if pairs else ""))


def _selecting(rng: random.Random) -> RandomRequest:
    """A list or watch whose selectors and numbers decide what it is taken for."""
    pairs = [f"fieldSelector={rng.choice(_FIELDS)}"]
    pairs += [f"{name}={rng.choice(_PARAMETERS[name])}" for name in ("labelSelector", "watch", "limit") if _toss(rng)]
    rng.shuffle(pairs)
    place = rng.choice(("", "namespaces/team-a/"))
    return RandomRequest("GET", f"/{'/'.join(rng.choice(_BASES))}/{place}pods?{'&'.join(pairs)}")


def _toss(rng: random.Random) -> bool:
    return rng.random() < 0.4


def _count(rng: random.Random) -> int:
    return rng.choice((0, 0, 1, 1, 2, 3))


def _path(rng: random.Random) -> list[str]:
    if rng.random() < 0.15:
        return [rng.choice(_SEGMENTS) for _ in range(rng.randint(0, 7))]
    path = list(rng.choice(_BASES))
    if rng.random() < 0.06:
        path.append(rng.choice(("watch", "proxy")))
    if rng.random() < 0.6:
        path += ["namespaces", rng.choice(("ns1", "team-a", "kube-system", "a%2Fb", "x%25y"))]
    if rng.random() < 0.6:
        path.append(rng.choice(("pods", "secrets", "deployments", "nodes", "namespaces", "widgets")))
    return path + [rng.choice(_SEGMENTS) for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3)))]


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def read_like_go(target: str) -> tuple[str, list[tuple[str, str]]] | None:
    """Path and query as net/url has them (``URL.Path``, ``URL.Query()``); None where net/http answers 400.

    Python strings stand in for Go's; only targets that are UTF-8 once decoded can be read.
    """
    raw_path, _, raw_query = target.partition("?")
    if _BAD_ESCAPE.search(raw_path):
        return None
    query = []
    for pair in raw_query.split("&"):
        if not pair or ";" in pair or _BAD_ESCAPE.search(pair):
            continue
        key, _, value = pair.partition("=")
        query.append((_unescape(key.replace("+", " ")), _unescape(value.replace("+", " "))))
    return _unescape(raw_path), query


def _unescape(text: str) -> str:
    return unquote_to_bytes(text).decode()
