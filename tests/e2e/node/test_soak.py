"""What takes many minutes: the kubelet renews a replica's token while clients call."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.node.site import NAME, NAMESPACE, READER, SHOP
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Measured
    from tests.e2e.node.site import Site
    from tests.support.agent import Agent

_TOKEN_SECONDS: Final = 600  # the shortest that the API server gives; the kubelet renews it at four fifths
_RENEWED_WITHIN: Final = 720.0
_ACCOUNT: Final = f"system:serviceaccount:{NAMESPACE}:{NAME}"
_EXTRA: Final = "authentication.kubernetes.io"

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


def test_a_token_that_the_kubelet_renews_costs_no_call(
    site: Site, agent_factory: Callable[..., Agent], measured: Measured
) -> None:
    agent = agent_factory({**READER, "limits": {"concurrentCommands": 50, "commandsPerMinute": 10000}})
    _shorten(site)
    pods = {pod["metadata"]["name"] for pod in site.pods()}
    tokens = _Tokens(site)
    with Load(agent, f"get pods -n {SHOP}", keeping=1, renewing=1) as load:
        site.eventually(lambda: all(len(tokens.seen()[pod]) > 1 for pod in pods), within=_RENEWED_WITHIN)
        load.more(20)
    assert load.calls.failures == []
    measured("token renewed under load", f"{load.calls.answered} calls, none failed")


def _shorten(site: Site) -> None:
    """Give the replicas tokens that live for ten minutes, in place of the manifest's hour."""
    found = site.node.kubectl("get", "deployment", NAME, f"--namespace={NAMESPACE}", "--output=json").stdout
    volumes: list[dict[str, Any]] = json.loads(found)["spec"]["template"]["spec"]["volumes"]
    path = next(
        f"/spec/template/spec/volumes/{number}/projected/sources/{index}/serviceAccountToken/expirationSeconds"
        for number, volume in enumerate(volumes)
        for index, source in enumerate(volume.get("projected", {}).get("sources", ()))
        if "serviceAccountToken" in source
    )
    patch = json.dumps([{"op": "replace", "path": path, "value": _TOKEN_SECONDS}])
    site.node.kubectl("patch", "deployment", NAME, f"--namespace={NAMESPACE}", "--type=json", f"--patch={patch}")
    site.await_rollout()
    site.eventually(lambda: len(site.pods()) == 2)


class _Tokens:
    """Which tokens each replica used, by what the API server's audit log says of them."""

    def __init__(self, site: Site) -> None:
        self._log = site.node.layout.audit_log
        self._position = 0
        self._seen: defaultdict[str, set[str]] = defaultdict(set)

    def seen(self) -> defaultdict[str, set[str]]:
        """Token ids by Pod, up to now."""
        with self._log.open("rb") as log:
            log.seek(self._position)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                self._note(json.loads(line).get("user", {}))
        return self._seen

    def _note(self, user: dict[str, Any]) -> None:
        extra = user.get("extra") or {}
        if user.get("username") == _ACCOUNT and f"{_EXTRA}/pod-name" in extra:
            self._seen[extra[f"{_EXTRA}/pod-name"][0]].update(extra[f"{_EXTRA}/credential-id"])
