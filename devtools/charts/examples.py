"""Examples of each subcommand of helm that works here, in an order in which they can be run one after another.

The chart has a ConfigMap, a hook and a test; both are ServiceAccounts, so that the requests for them can be told apart.
``acme`` is a repository that the policy names.
"""

from __future__ import annotations

from typing import Final

OBJECTS: Final = "configmaps"
"""The resource of the chart's object."""
HOOKS: Final = "serviceaccounts"
"""The resource of its hook and of its test."""

_NAMED: Final = "metadata:\n  name: {{ .Release.Name }}%s\n"
FILES: Final = {
    "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "chart/values.yaml": "a: b\n",
    "chart/templates/NOTES.txt": "{{ .Values.a }}\n",
    "chart/templates/map.yaml": (
        f"apiVersion: v1\nkind: ConfigMap\n{_NAMED % ''}data: {{a: {{{{ .Values.a | quote }}}}}}\n"
    ),
    "chart/templates/hook.yaml": (
        f"apiVersion: v1\nkind: ServiceAccount\n{_NAMED % '-hook'}"
        "  annotations: {helm.sh/hook: 'pre-install,pre-upgrade,pre-rollback,pre-delete'}\n"
    ),
    "chart/templates/test.yaml": (
        f"apiVersion: v1\nkind: ServiceAccount\n{_NAMED % '-test'}  annotations: {{helm.sh/hook: test}}\n"
    ),
}
"""The files argument of each."""

EXAMPLES: Final[tuple[tuple[str, str], ...]] = (
    ("version", "version"),
    ("help", "help install"),
    ("search repo", "search repo web"),
    ("pull", "pull acme/web"),
    ("show all", "show all ./chart"),
    ("show all", "show all acme/web"),
    ("show chart", "show chart ./chart"),
    ("show crds", "show crds ./chart"),
    ("show readme", "show readme ./chart"),
    ("show values", "show values ./chart"),
    ("lint", "lint ./chart"),
    ("template", "template web ./chart"),
    ("template", "template web ./chart --dry-run=server"),
    ("install", "install web ./chart --no-hooks"),
    ("uninstall", "uninstall web --no-hooks"),
    ("install", "install web acme/web"),
    ("uninstall", "uninstall web"),
    ("install", "install web ./chart"),
    ("install", "install other ./chart --wait"),
    ("list", "list"),
    ("list", "list --all-namespaces"),
    ("status", "status web"),
    ("history", "history web"),
    ("get all", "get all web"),
    ("get hooks", "get hooks web"),
    ("get manifest", "get manifest web"),
    ("get metadata", "get metadata web"),
    ("get metadata", "get metadata web --revision 1"),
    ("get notes", "get notes web"),
    ("get values", "get values web"),
    ("get values", "get values web --revision 1"),
    ("test", "test web"),
    ("upgrade", "upgrade web ./chart --set a=c"),
    ("upgrade", "upgrade web acme/web --no-hooks"),
    ("upgrade", "upgrade new ./chart --install"),
    ("rollback", "rollback web 1"),
    ("uninstall", "uninstall other --wait"),
    ("uninstall", "uninstall new --keep-history"),
)
"""Subcommands, and a line of each."""
