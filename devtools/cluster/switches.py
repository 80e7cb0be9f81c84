"""The environment variables that decide which cluster tests use, and what is left behind.

| variable | default | meaning |
|---|---|---|
| `K8S_MCP_TEST_USE_KWOK` | true | start a KWOK cluster for the tests |
| `K8S_MCP_TEST_USE_EXISTING_CLUSTER` | false | use the cluster of the current kubeconfig instead |
| `K8S_MCP_TEST_KUBERNETES` | pinned | which release KWOK runs: `pinned`, or `oldest`, the oldest that is supported |
| `K8S_CONTEXT` | the current context | which context of that kubeconfig |
| `K8S_SKIP_CLEANUP` | false | leave the cluster, or what was made in it, and say how to delete it |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devtools.cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The variables above, read."""

    use_kwok: bool = True
    use_existing: bool = False
    use_oldest: bool = False
    context: str | None = None
    skip_cleanup: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Switches:
        """Read them; an empty variable counts as unset. Raises ClusterError for a word without a meaning."""
        return cls(
            use_kwok=_truth(environment, "K8S_MCP_TEST_USE_KWOK", default=True),
            use_existing=_truth(environment, "K8S_MCP_TEST_USE_EXISTING_CLUSTER", default=False),
            use_oldest=_release(environment) == "oldest",
            context=environment.get("K8S_CONTEXT") or None,
            skip_cleanup=_truth(environment, "K8S_SKIP_CLEANUP", default=False),
        )


def _truth(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    word = environment.get(name, "").strip().lower()
    if not word:
        return default
    if word not in _WORDS:
        raise ClusterError(f"{name} is {word!r}; write true or false")
    return _WORDS[word]


def _release(environment: Mapping[str, str]) -> str:
    word = environment.get("K8S_MCP_TEST_KUBERNETES", "").strip().lower() or "pinned"
    if word not in ("pinned", "oldest"):
        raise ClusterError(f"K8S_MCP_TEST_KUBERNETES is {word!r}; write pinned or oldest")
    return word
