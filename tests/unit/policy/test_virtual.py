"""Virtual resources: only a rule that names them literally gives them, whatever a cluster serves."""

from __future__ import annotations

import pytest

from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.decision import Reason, Verdict
from k8s_mcp_server.policy.virtual import ISTIOCTL_GROUP, VIRTUAL_RESOURCES, scope_of
from tests.support.asking import ask, grant, rule

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("resource", VIRTUAL_RESOURCES, ids=lambda each: f"{each.resource}.{each.group}")
def test_a_virtual_resource_has_its_own_scope_whatever_the_cluster_serves(resource: ApiResource) -> None:
    other = Scope.CLUSTER if resource.scope is Scope.NAMESPACED else Scope.NAMESPACED
    served = ApiResource(group=resource.group, resource=resource.resource, kind="Other", scope=other)
    for catalog in (Catalog(), Catalog([served])):
        assert scope_of(catalog, group=resource.group, resource=resource.resource) is resource.scope


def test_what_a_cluster_serves_in_a_virtual_group_has_no_scope() -> None:
    served = ApiResource(group="helm.sh", resource="charts", kind="Chart", scope=Scope.NAMESPACED)
    assert scope_of(Catalog([served]), group="helm.sh", resource="charts") is None


@pytest.mark.parametrize("resource", ["proxystatuses", "analyses"])
def test_what_istioctl_lists_is_given_whole_or_not_at_all(resource: str) -> None:
    """It comes from istiod, and nobody cuts it to some names."""
    everything = rule("get list", resource, groups=ISTIOCTL_GROUP)
    named = {**everything, "resourceNames": ["cart"]}
    asked = f"list {resource}.{ISTIOCTL_GROUP} -n team-a"
    assert ask(asked, grant(everything)).verdict is Verdict.EXACT
    assert not ask(asked, grant(named)).allowed
    assert ask(asked, grant(everything, deny=[named])).reason is Reason.DENIED_BY_RULE
