"""What docs/gitops.md gives Argo CD and Flux, run on the statuses that the service writes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime  # Argo CD's interpreter, gopher-lua, speaks Lua 5.1

from k8s_mcp_server.cluster.ceiling import within
from k8s_mcp_server.cluster.conditions import ROLE_PATIENCE, State, status_of
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.notices import Notice
from k8s_mcp_server.policy.snapshot import Snapshot
from tests.support.crd import schema
from tests.support.policies import policy_body

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[2] / "docs" / "gitops.md").read_text(encoding="utf-8")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
HELD = within(State.TRUE, "RightsHeld", "all of it")
LACKS = within(State.FALSE, "MissingRights", "read lacks get pods")
FOLLOWS = policy_body(rules=[{"namespaces": ["team-a"], "roleRef": {"kind": "ClusterRole", "name": "edit"}}])


def looked_at(body: dict[str, Any], *, rounds: int = 1, **options: Any) -> dict[str, Any]:
    """The object after the service has looked at it, so many times with a role's patience between."""
    policy = Snapshot.empty().following(read_policy(body))
    status: dict[str, Any] = {}
    for number in range(rounds):
        given = {"matched_namespaces": 1, "warnings": (), "within": HELD, **options}
        status = status_of(policy, previous=status, now=NOW + number * ROLE_PATIENCE, **given)
    return {**body, "status": status}


def not_looked_at() -> dict[str, Any]:
    """The object as the API server shows it at first, by the CRD's default."""
    return {**policy_body(), "status": schema()["properties"]["status"]["default"]}


def health(obj: dict[str, Any]) -> tuple[str, str]:
    """What Argo CD's script says about an object."""
    documents = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    (script,) = [
        text
        for document in documents
        for key, text in document.get("data", {}).items()
        if key == "resource.customizations.health.k8s-mcp.io_McpAccessPolicy"
    ]
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    found: Any = lua.execute(script)
    return found["status"], found["message"]


def flux(obj: dict[str, Any]) -> str:
    """kstatus, as far as it looks at such objects: ``checkGenericProperties`` and ``GetStandardConditions``' readers.

    sigs.k8s.io/cli-utils/pkg/kstatus/status/{generic,status}.go.
    """
    found = {item["type"]: item["status"] for item in obj["status"].get("conditions", ())}
    if obj["status"].get("observedGeneration", obj["metadata"]["generation"]) != obj["metadata"]["generation"]:
        return "InProgress"
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "Current" if found.get("Ready", "True") == "True" else "InProgress"


STATES = {
    "not looked at yet, or its spec changed a moment ago": [
        not_looked_at(),
        {**looked_at(policy_body()), "metadata": policy_body(generation=2)["metadata"]},
    ],
    "in force": [
        looked_at(policy_body()),
        looked_at(policy_body(), warnings=[Notice(reason="WorkloadWrites", message="writes")]),
    ],
    "suspended, expired or blocking": [
        looked_at(policy_body(suspend=True)),
        looked_at(policy_body(expiresAt="2026-05-01T00:00:00Z")),
        looked_at(policy_body(block=True)),
    ],
    "waiting for a role, for 5 minutes": [looked_at(FOLLOWS)],
    "without that role since": [looked_at(FOLLOWS, rounds=3)],
    "invalid": [looked_at(policy_body(spec={}))],
}


def rows() -> list[list[str]]:
    """The table: state, Ready, Reconciling, Stalled, Argo CD, Flux."""
    table = [line.strip("| ").replace("`", "").split("|") for line in PAGE.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in table[2:]]


def test_the_table_has_every_state() -> None:
    assert [row[0] for row in rows()] == list(STATES)


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in rows()])
def test_the_table_says_what_both_tools_take_from_the_status(row: list[str]) -> None:
    for obj in STATES[row[0]]:
        found = {item["type"]: item["status"] for item in obj["status"]["conditions"]}
        if obj["status"]["observedGeneration"] == obj["metadata"]["generation"]:
            assert [found.get(kind, "") for kind in ("Ready", "Reconciling", "Stalled")] == row[1:4]
        status, message = health(obj)
        assert (status, flux(obj)) == (row[4], row[5])
        assert message


def test_argo_cd_is_told_what_is_wrong() -> None:
    assert health(looked_at(policy_body(spec={})))[1].startswith("spec.subjects")
    assert health(looked_at(FOLLOWS))[1] == "rules[0] gives nothing: no ClusterRole edit"
    assert health(looked_at(policy_body(block=True)))[1].startswith("block:")


def test_a_policy_beyond_the_server_s_rights_is_healthy_and_says_what_it_lacks() -> None:
    assert health(looked_at(policy_body(), within=LACKS)) == ("Healthy", "read lacks get pods")


def test_argo_cd_survives_an_object_without_any_status() -> None:
    assert health(policy_body())[0] == "Progressing"
