"""docs/istioctl.md: every subcommand of istioctl, as it ended when it was run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from devtools.istio.process import MeshError
from k8s_mcp_server.commands.istioctl.catalog import ALIASES, SUBCOMMANDS, Group, Offered, Refused
from k8s_mcp_server.commands.istioctl.check import planned
from k8s_mcp_server.commands.istioctl.parts import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k8s_mcp_server.commands.istioctl.catalog import Path as Words
    from k8s_mcp_server.policy.request import RequestInfo

_SHOWN: Final = 800
_STDIN: Final = {"validate", "kube-inject"}
_OPERANDS: Final = {
    ("experimental", "describe", "service"): "SERVICE.NAMESPACE",
    ("proxy-config", "rootca-compare"): "POD.NAMESPACE POD.NAMESPACE",
}
# Forms of a subcommand that need other rights than its plainest.
_FORMS: Final[Mapping[Words, tuple[str, ...]]] = {
    ("analyze",): ("-n NAMESPACE", "-A", "--use-kube=false -"),
    ("proxy-config", "log"): ("POD.NAMESPACE", "POD.NAMESPACE --level debug"),
    ("proxy-status",): ("", "-n NAMESPACE", "POD.NAMESPACE"),
    ("version",): ("", "--remote=false"),
}
_WORKS: Final = frozenset({"succeeded", "truncated"})
# Commands whose own exit code says what they found, or that have nothing to find beside a plain Envoy without mTLS.
_FINDS: Final[Mapping[str, str]] = {
    "analyze": "IST0101",
    "experimental precheck": "Missing required permission",
    "proxy-config ecds": "EcdsConfigDump",
    "proxy-config rootca-compare": "cannot find ROOTCA",
    "waypoint list": "gateways.gateway.networking.k8s.io",
}

HEADER: Final = """\
# istioctl's subcommands

Each row is one subcommand of istioctl {version} as it ended when it was run through the service, against a real
istiod and a real Envoy. A rule gives a right by naming it: `apiGroups: [istioctl.istio.io]`, the resource and the
verb of the second column. Rights in a namespace need a rule with `namespaces`, `meshes` one with
`clusterScoped: true`. What a right gives is the command, not the port-forwards and reads that it is made of:
`kubectl port-forward` stays refused.

- † is sensitive. `proxysecrets` shows a proxy's certificates; Envoy leaves out private keys. `tokens` lets istioctl
  hold, while it runs, a token of `istio-system/default` for the audience `istio-ca`: istiod tells nobody without
  one which proxies it serves, and this istioctl uses one also with `--plaintext`. Whoever has it is that account to
  istiod.
- "ordinary rules": what `kubectl` would need to read the same. `analyze`, `precheck`, `tag list` and
  `injector list` go on without what the policy does not give, and the result's `not_seen` names it.
- `POD` may also be `deployment/NAME`, `statefulset/NAME`, `daemonset/NAME`, `replicaset/NAME`, `service/NAME` or
  `job/NAME`. A rule with `resourceNames` gives nothing then, because the pods are not named; nor does it ever give
  `proxy-status -n` and `analyze`, for nobody cuts what they print.
- `kube-inject` shows what istiod would add to a workload in any namespace, that namespace's ProxyConfigs among it.
- A deny of what a command is made of, such as `pods/portforward`, takes the command.
- `-i` names no other control plane than that of the setting `istio_namespace`.

Written by `make tables`; `make e2e` runs all of it again and compares, and fails where istioctl has a subcommand
that is not here.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended for a client that has every right.

    Args:
        status: of its result.
        text: all that the client got.
    """

    status: str
    text: str


def table(run: Callable[[str], Ended], *, version: str) -> str:
    """The document; runs everything that is offered, and everything that is refused.

    Args:
        run: runs a line, in which POD, SERVICE and NAMESPACE stand for what there is.
        version: istioctl's.

    Raises:
        MeshError: a subcommand ended in another way than the catalogue says.
    """
    works, refused = [], []
    for path, entry in sorted(SUBCOMMANDS.items()):
        if isinstance(entry, Offered):
            works += [_offered_row(path, form, run) for form in _forms(path, entry)]
        elif isinstance(entry, Refused):
            refused.append(_refused_row(path, entry, run))
    return "\n".join(
        [
            HEADER.format(version=version),
            "## Works\n",
            "| command | right |",
            "|---|---|",
            *works,
            "",
            "## Refused\n",
            "| subcommand | because it | instead |",
            "|---|---|---|",
            *refused,
            "",
        ]
    )


def names() -> dict[str, frozenset[str]]:
    """Every subcommand of the catalogue, with its aliases."""
    return {" ".join(path): frozenset(ALIASES.get(path, ())) for path in SUBCOMMANDS}


def _forms(path: Words, entry: Offered) -> tuple[str, ...]:
    if path in _FORMS:
        return _FORMS[path]
    if path[0] in _STDIN:
        return ("-f -",)
    return (_OPERANDS.get(path, " ".join(["POD.NAMESPACE"] * entry.operands[0])),)


def _offered_row(path: Words, form: str, run: Callable[[str], Ended]) -> str:
    line = " ".join((*path, form)).strip()
    ended = run(line)
    finds = _FINDS.get(" ".join(path), "")
    _expect(ended.status in _WORKS or bool(finds and finds in ended.text), line, ended)
    named = line.replace("POD", "pod").replace("SERVICE", "service").replace("NAMESPACE", "namespace")
    _, plan = planned(shlex.split(named), Surroundings(namespace="namespace", istio_namespace="istio-system"))
    rights = [_right(right) for right in dict.fromkeys(plan.rights)]
    if plan.may_see_less or path == ("waypoint", "list"):
        rights.append("ordinary rules")
    return f"| `istioctl {line}` | {', '.join(rights) or 'none: it asks nobody'} |"


def _right(right: RequestInfo) -> str:
    sensitive = "†" if right.resource in {"proxysecrets", "tokens"} else ""
    where = {"": "", "istio-system": " in istio-system"}.get(right.namespace, " in NAMESPACE")
    everywhere = " in any namespace" if right.resource == "analyses" and not right.namespace else where
    return f"`{right.resource}`{sensitive} {right.verb}{everywhere}"


def _refused_row(path: Words, entry: Refused, run: Callable[[str], Ended]) -> str:
    line = " ".join(path)
    ended = run(line)
    _expect(ended.status == "refused" and entry.instead in ended.text, line, ended)
    return f"| `istioctl {line}` | {entry.effect} | {entry.instead} |"


def _expect(holds: object, line: str, ended: Ended) -> None:
    if not holds:
        raise MeshError(f"{line} ended as {ended.status}: {ended.text[-_SHOWN:]}")


def is_complete(text: str) -> bool:
    """Whether the document has a row for every subcommand that is no group."""
    return all(
        re.search(rf"^\| `istioctl {re.escape(' '.join(path))}[ `]", text, re.MULTILINE)
        for path, entry in SUBCOMMANDS.items()
        if not isinstance(entry, Group)
    )
