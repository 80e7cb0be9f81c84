"""What kubectl writes through the gateway, under a policy for two namespaces."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.support.gateway_site import (
    Rig,
    configmap,
)

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_manifest_is_created_applied_changed_and_deleted(rig: Rig) -> None:
    name = f"made-{uuid.uuid4().hex[:6]}"
    manifest = json.dumps(configmap(name))
    changed = json.dumps({**configmap(name), "data": {"a": "2"}})
    for arguments, stdin, expected in (
        (("create", "-f", "-"), manifest, "created"),
        (("apply", "-f", "-"), changed, "configured"),
        (("apply", "--server-side", "--force-conflicts", "-f", "-"), changed, "serverside-applied"),
        (("replace", "-f", "-"), manifest, "replaced"),
        (("label", "configmap", name, "x=y"), "", "labeled"),
        (("delete", "configmap", name), "", "deleted"),
    ):
        got = await rig.kubectl(*arguments, stdin=stdin)
        assert (got.code, expected in got.stdout) == (0, True), (arguments, got)
    assert rig.session.requests_denied == 0


async def test_a_rollout_is_created_waited_for_restarted_and_deleted(rig: Rig) -> None:
    name = f"app-{uuid.uuid4().hex[:6]}"
    steps = (
        ("create", "deployment", name, "--image=example.com/app:1", "--replicas=2"),
        ("rollout", "status", f"deployment/{name}", "--timeout=20s"),
        ("rollout", "restart", f"deployment/{name}"),
        ("wait", "--for=condition=Available", f"deployment/{name}", "--timeout=20s"),
        ("scale", f"deployment/{name}", "--replicas=1"),
        ("delete", "deployment", name),
    )
    for arguments in steps:
        got = await rig.kubectl(*arguments)
        assert got.code == 0, (arguments, got)
