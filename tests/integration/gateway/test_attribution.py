"""Who asked: the API server's own audit log, beside our record."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.support.gateway_site import (
    AGENT,
    Rig,
)

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_the_api_servers_audit_log_names_the_client_and_joins_our_record(rig: Rig) -> None:
    if rig.site.cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read")
    await rig.kubectl("get", "pods", "-o", "name")
    [ours] = [line for line in rig.requests() if line["attributes"].get("resource") == "pods"]
    event: dict[str, Any] = {}
    async with asyncio.timeout(20):
        while not event:
            for line in rig.site.cluster.audit_log.read_text(encoding="utf-8").splitlines():
                if ours["auditID"] in line:
                    event = json.loads(line)
            await asyncio.sleep(0.1)
    assert event["user"]["username"] == rig.site.service_account
    assert event["impersonatedUser"]["username"] == rig.site.service_account
    assert event["impersonatedUser"]["extra"] == {"k8s-mcp.io/client": [AGENT.username]}
    assert "system:serviceaccounts" in event["impersonatedUser"]["groups"]
    assert re.match(rf"kubectl/\S+ {AGENT.username} command/c-1 ", event["userAgent"])
    assert (ours["policyUID"], ours["policyResourceVersion"], ours["rule"]) == ("5c6f", "41", "deploy")
