"""What the tests of attacks share: rules in short words, commands under way, and the names of what is attacked."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.integration.through_mcp.conftest import eventually

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from tests.support.agent import Agent, Answer

ENFORCE = "pod-security.kubernetes.io/enforce"
OWN, OWN_ACCOUNT = "k8s-mcp-system", "k8s-mcp-server"
EVERY_VERB = "get list watch create update patch delete deletecollection"
LONG_SECONDS = 45  # of a command that only its revocation ends in time
REVOKED_SECONDS = 10.0  # within which it does: a second is the aim, and a test machine may be busy
TOKEN_SECONDS = 40.0 + 5.0  # docs/operating.md, and the time that the last call takes
IMAGE = "registry.example.com/app:1.0"


def rule(verbs: str, resources: str, *, groups: str = "-", **scope: Any) -> dict[str, Any]:
    """Words between blanks; ``-`` is the core group."""
    api_groups = [group.removeprefix("-") for group in groups.split()]
    return {"apiGroups": api_groups, "resources": resources.split(), "verbs": verbs.split(), **scope}


def denied(answer: Answer, *reasons: str) -> bool:
    """Refused by policy, for one of these reasons."""
    return answer.status == "denied" and (not reasons or answer.fields["reason"] in reasons)


def change_policy(cluster: TestCluster, name: str, **spec: Any) -> None:
    """Set fields of a policy's spec; None removes one."""
    cluster.kubectl("patch", "mcpap", name, "--type=merge", "--patch", json.dumps({"spec": spec}))


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A harmless Pod, but for ``spec``."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": IMAGE}], **spec},
    }


def exists(cluster: TestCluster, *words: str) -> bool:
    return cluster.kubectl("get", *words, check=False).returncode == 0


class Running:
    """A command under way, in a thread of its own; a context manager that waits for its end."""

    def __init__(self, cluster: TestCluster, agent: Agent, command: str, **arguments: Any) -> None:
        if cluster.audit_log is None:
            pytest.skip("this cluster's audit log, which tells when a request has begun, cannot be read")
        self._log = cluster.audit_log
        self._offset = self._log.stat().st_size
        self._agent = agent
        self._answers: list[Answer] = []
        self._thread = threading.Thread(
            target=lambda: self._answers.append(agent.kubectl(command, **{"timeout": LONG_SECONDS, **arguments}))
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(LONG_SECONDS + 10)

    def await_request(self, verb: str, *, subresource: str = "") -> None:
        """Wait until the API server answers a request of the command's."""
        eventually(lambda: self._has_begun(verb, subresource), f"no {verb} {subresource} had begun")

    def answer(self, *, within: float = LONG_SECONDS + 10) -> Answer:
        """The command's answer, which comes within so many seconds."""
        self._thread.join(within)
        assert self._answers, f"the command still ran after {within:.0f} s"
        return self._answers[0]

    def _has_begun(self, verb: str, subresource: str) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._offset)
            lines = [line for line in log if self._agent.account.encode() in line]
        events = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"\n")]
        ours = [event for event in events if self._is_ours(event)]
        return (verb, subresource) in {
            (event["verb"], event.get("objectRef", {}).get("subresource", "")) for event in ours
        }

    def _is_ours(self, event: dict[str, Any]) -> bool:
        client = event.get("impersonatedUser", {}).get("extra", {}).get("k8s-mcp.io/client", [""])[0]
        return str(client).endswith(f":{self._agent.account}")
