"""Every subcommand of helm and every flag of those that work here; a test compares with the helm that is bundled.

Helm's words are read strictly, because what is run is written anew from them: a flag that is not here is refused.
Notation: ``name:x`` has the letter ``x``; ``=`` takes a value, ``?`` takes one only when it is joined to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

VERSION: Final = "4.3"


class Value(StrEnum):
    """What may follow a flag."""

    NONE = "none"
    NEEDED = "needed"
    JOINED = "joined"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSpec:
    """One flag: its long name, its letter or nothing, and what may follow it."""

    name: str
    letter: str = ""
    value: Value = Value.NONE


def _flags(text: str) -> dict[str, FlagSpec]:
    found = {}
    for word in text.split():
        kind = {"=": Value.NEEDED, "?": Value.JOINED}.get(word[-1], Value.NONE)
        name, _, letter = word.rstrip("=?").partition(":")
        found[name] = FlagSpec(name=name, letter=letter, value=kind)
    return found


GLOBAL_FLAGS: Final = _flags("namespace:n= debug help:h color= colour= qps= burst-limit=")

_VALUES: Final = "set= set-file= set-json= set-literal= set-string= values:f="
_CHART: Final = "version= devel repo="
_RENDER: Final = (
    f"{_VALUES} {_CHART} create-namespace description= disable-openapi-validation force-conflicts force-replace force "
    "generate-name:g labels:l= name-template= no-hooks replace rollback-on-failure atomic server-side skip-crds "
    "skip-schema-validation take-ownership timeout= wait? wait-for-jobs hide-notes render-subchart-notes dry-run?"
)
_SHOW: Final = _flags(_CHART)
_GET: Final = "revision="

FLAGS: Final[dict[str, dict[str, FlagSpec]]] = {
    "get all": _flags(f"{_GET} template="),
    "get hooks": _flags(_GET),
    "get manifest": _flags(_GET),
    "get metadata": _flags(f"{_GET} output:o="),
    "get notes": _flags(_GET),
    "get values": _flags(f"{_GET} output:o= all:a"),
    "help": {},
    "history": _flags("max= output:o= show-rollback-revision"),
    "install": _flags(f"{_RENDER} output:o= hide-secret"),
    "lint": _flags(f"{_VALUES} kube-version= quiet skip-schema-validation strict with-subcharts"),
    "list": _flags(
        "all-namespaces:A date:d deployed failed filter:f= max:m= no-headers offset= output:o= pending reverse:r "
        "selector:l= short:q superseded time-format= uninstalled uninstalling"
    ),
    "pull": _flags(f"{_CHART} untar"),
    "rollback": _flags(
        "cleanup-on-fail description= dry-run? force-conflicts force-replace force history-max= no-hooks server-side= "
        "timeout= wait? wait-for-jobs"
    ),
    "search repo": _flags("devel fail-on-no-result max-col-width= output:o= regexp:r version= versions:l"),
    "show all": _SHOW,
    "show chart": _SHOW,
    "show crds": _SHOW,
    "show readme": _SHOW,
    "show values": {**_SHOW, **_flags("jsonpath=")},
    "status": _flags(f"{_GET} output:o="),
    "template": _flags(
        f"{_RENDER} api-versions:a= include-crds is-upgrade kube-version= show-only:s= skip-tests validate"
    ),
    "test": _flags("filter= logs timeout="),
    "uninstall": _flags("cascade= description= dry-run ignore-not-found keep-history no-hooks timeout= wait?"),
    "upgrade": {
        **_flags(_RENDER),
        **_flags(
            "cleanup-on-fail hide-secret history-max= install:i output:o= reset-then-reuse-values reset-values "
            "reuse-values server-side="
        ),
    },
    "version": _flags("short template="),
}
"""Of each subcommand that works here, the flags that work here, beside the global ones."""

for _name in ("generate-name", "name-template", "replace"):
    del FLAGS["upgrade"][_name]

GROUPS: Final = frozenset({"completion", "dependency", "get", "plugin", "registry", "repo", "search", "show"})
"""Words that are subcommands only together with a second one."""

ALIASES: Final = {
    "del": "uninstall",
    "delete": "uninstall",
    "dep": "dependency",
    "dependencies": "dependency",
    "dependency ls": "dependency list",
    "dependency up": "dependency update",
    "fetch": "pull",
    "hist": "history",
    "inspect": "show",
    "ls": "list",
    "plugin add": "plugin install",
    "plugin ls": "plugin list",
    "plugin remove": "plugin uninstall",
    "plugin rm": "plugin uninstall",
    "plugin up": "plugin update",
    "repo ls": "repo list",
    "repo rm": "repo remove",
    "repo up": "repo update",
    "un": "uninstall",
}

_GIVE_FILES: Final = "Pass the chart's files in the files argument, and write: `helm install NAME ./FOLDER`"
_LOCAL_FILES: Final = ("leaves local files, and nothing is kept here", _GIVE_FILES)
_REPOSITORIES: Final = (
    "is about a list of repositories, and that list is the policy's",
    "`helm search repo` shows their charts; write `helm install NAME REPOSITORY/CHART`",
)
_CREDENTIALS: Final = (
    "keeps credentials, and those of chart hosts are the service's",
    "Write `helm install NAME oci://HOST/CHART` without it",
)
_PUBLISHING: Final = ("publishes a chart, and nothing is sent from here", "Publish it where the chart is built")
_HUB: Final = ("asks a public hub, which no policy names", "`helm search repo` searches the policy's repositories")
_PLUGIN: Final = ("manages local programs, and there are none here", "Use helm's own subcommands")
_SHELL: Final = ("is for a shell, and there is none here", "Write the subcommand itself; `help` shows them")

REFUSED: Final[dict[str, tuple[str, str]]] = {
    "completion bash": _SHELL,
    "completion fish": _SHELL,
    "completion powershell": _SHELL,
    "completion zsh": _SHELL,
    "create": _LOCAL_FILES,
    "dependency build": _LOCAL_FILES,
    "dependency list": ("works on a chart and its folder", "`helm show chart ./FOLDER` shows the dependencies"),
    "dependency update": _LOCAL_FILES,
    "docs": ("writes local files", "`help SUBCOMMAND` shows the same"),
    "env": ("prints the environment of a process that is gone with the command", "check_access says what you may do"),
    "package": _LOCAL_FILES,
    "plugin install": _PLUGIN,
    "plugin list": _PLUGIN,
    "plugin package": _PLUGIN,
    "plugin uninstall": _PLUGIN,
    "plugin update": _PLUGIN,
    "plugin verify": _PLUGIN,
    "push": _PUBLISHING,
    "registry login": _CREDENTIALS,
    "registry logout": _CREDENTIALS,
    "repo add": _REPOSITORIES,
    "repo index": _LOCAL_FILES,
    "repo list": _REPOSITORIES,
    "repo remove": _REPOSITORIES,
    "repo update": _REPOSITORIES,
    "search hub": _HUB,
    "verify": ("checks the signature of a packaged chart", _GIVE_FILES),
}
"""Of each subcommand that does not work here: what it does, and what to do instead."""

_IDENTITY: Final = ("The service connects as itself for you, so who asks and where cannot be chosen", "")
_FIXED_HOSTS: Final = ("How chart hosts are reached and trusted is the service's and the policy's to say", "")
_UNSIGNED: Final = ("Nothing here can check a chart's signature", "Leave it out where the chart may be used unchecked")
_OWN_FILES: Final = ("Files of helm's own have no place here", "")
_OUTPUT_FILES: Final = ("Nothing that is written to a file could be read", "The output comes back to you")

REFUSED_FLAGS: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(
        (
            "kube-apiserver", "kube-as-group", "kube-as-user", "kube-ca-file", "kube-context",
            "kube-insecure-skip-tls-verify", "kube-tls-server-name", "kube-token", "kubeconfig",
        ),
        _IDENTITY,
    ),
    **dict.fromkeys(
        (
            "ca-file", "cert-file", "insecure-skip-tls-verify", "key-file", "keyring", "pass-credentials", "password",
            "plain-http", "username",
        ),
        _FIXED_HOSTS,
    ),
    **dict.fromkeys(("content-cache", "registry-config", "repository-cache", "repository-config"), _OWN_FILES),
    **dict.fromkeys(("destination", "output-dir", "release-name", "untardir"), _OUTPUT_FILES),
    **dict.fromkeys(("prov", "verify"), _UNSIGNED),
    "dependency-update": ("A chart's dependencies come with it", "Pass them as folders below charts/"),
    "enable-dns": ("A chart cannot look up names from here", "Pass addresses as values"),
    "post-renderer": ("There are no local programs here", "Change the output with values"),
    "post-renderer-args": ("There are no local programs here", "Change the output with values"),
}  # fmt: skip
"""Of each flag that no subcommand takes here: why, and what to do instead."""

SAME_WITHOUT: Final = frozenset(
    name for name, reason in REFUSED_FLAGS.items() if reason in (_IDENTITY, _FIXED_HOSTS, _OWN_FILES, _OUTPUT_FILES)
)
"""Of these, those without which a command does the same, as far as it can be done here at all."""

SWITCHES_REFUSED: Final = frozenset(
    {
        "dependency-update", "enable-dns", "insecure-skip-tls-verify", "kube-insecure-skip-tls-verify",
        "pass-credentials", "plain-http", "prov", "release-name", "verify",
    }
)  # fmt: skip
"""Of these, those that take no value."""

CHART_OPERAND: Final = {
    "install": -1,
    "template": -1,
    "upgrade": 1,
    "lint": 0,
    "pull": 0,
    **{name: 0 for name in FLAGS if name.startswith("show ")},
}
"""Where, among its operands, a subcommand has its chart."""
