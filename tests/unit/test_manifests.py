"""The manifests agree with the code and with themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from devtools.image.build import CLIS, DEFAULT_NAME
from k8s_mcp_server.cluster.permissions import REQUIRED_PERMISSIONS
from k8s_mcp_server.gateway.outgoing import COMMANDS_GROUP
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.model import ToolName
from k8s_mcp_server.settings import Settings, load_settings
from tests.support.monitoring import alerts, dashboard

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
BASE = ROOT / "manifests" / "base"


def _load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((BASE / name).read_text(encoding="utf-8")))


@pytest.fixture
def deployment() -> dict[str, Any]:
    (body,) = _load("deployment.yaml")
    return body


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (config_map,) = _load("configmap.yaml")
    file = tmp_path / "config.yaml"
    file.write_text(config_map["data"]["config.yaml"], encoding="utf-8")
    return load_settings(file)


def test_the_pod_outlives_its_longest_command(deployment: dict[str, Any], settings: Settings) -> None:
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= settings.max_timeout + settings.drain + 10


def test_the_runtime_folder_is_a_writable_volume_whatever_the_settings_file_says(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    stated = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    mount = mounts[stated["K8S_MCP_RUNTIME_DIR"]]
    assert not mount.get("readOnly")
    assert any(volume["name"] == mount["name"] and "emptyDir" in volume for volume in pod["volumes"])


def test_ports_names_and_namespace_are_the_defaults_of_the_settings(
    deployment: dict[str, Any], settings: Settings
) -> None:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "mcp": settings.port,
        "health": settings.health_port,
    }
    (namespace,) = _load("namespace.yaml")
    (account,) = _load("serviceaccount.yaml")
    environment = Environment()
    assert namespace["metadata"]["name"] == environment.own_namespace
    assert account["metadata"]["name"] == environment.own_service_account == settings.service_account
    (service,) = _load("service.yaml")
    assert service["metadata"]["name"] == settings.service_name


def test_the_pod_meets_the_restricted_pod_security_standard(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_settings_of_the_production_example_can_be_used_and_fit_its_ingress(tmp_path: Path) -> None:
    folder = ROOT / "examples" / "production"
    config_map = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
    ingress = yaml.safe_load((folder / "ingress.yaml").read_text(encoding="utf-8"))
    (tmp_path / "config.yaml").write_text(config_map["data"]["config.yaml"], encoding="utf-8")
    loaded = load_settings(tmp_path / "config.yaml")
    (rule,) = ingress["spec"]["rules"]
    assert loaded.allowed_hosts == (rule["host"],)
    assert loaded.public_url == f"https://{rule['host']}{rule['http']['paths'][0]['path']}"
    annotations = ingress["metadata"]["annotations"]
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > loaded.max_timeout
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == f"{loaded.max_request_body // 2**20}m"
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == loaded.service_name


def test_only_one_policy_for_egress_stands_by_itself() -> None:
    """The first that selects a Pod closes all else: in a component of its own it would cut the API server off."""
    components = (ROOT / "manifests" / "components").rglob("*.yaml")
    bodies = [body for path in components for body in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    closing = [body for body in bodies if "Egress" in body.get("spec", {}).get("policyTypes", ())]
    assert [body["metadata"]["name"] for body in closing] == ["k8s-mcp-server-egress"]
    ports = {port["port"] for rule in closing[0]["spec"]["egress"] for port in rule["ports"]}
    assert {443, 6443, 53} <= ports


def test_helm_s_rights_are_bound_to_nobody_until_the_administrator_says_where() -> None:
    component = ROOT / "manifests" / "components" / "helm-rbac" / "rbac.yaml"
    (role,) = yaml.safe_load_all(component.read_text(encoding="utf-8"))
    assert role["kind"] == "ClusterRole"
    verbs = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}
    assert set(verbs) == {"secrets", "serviceaccounts"}
    assert "patch" not in verbs["secrets"]


def test_every_file_of_the_base_is_in_its_kustomization() -> None:
    (kustomization,) = _load("kustomization.yaml")
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files


def test_no_role_of_the_service_holds_secrets_exec_tokens_or_another_s_identity() -> None:
    component = ROOT / "manifests" / "components" / "edit-rbac" / "rbac.yaml"
    documents = [
        *_load("rbac-own.yaml"),
        *_load("rbac-ceiling.yaml"),
        *yaml.safe_load_all(component.read_text("utf-8")),
    ]
    rules = [rule for document in documents for rule in document.get("rules", ())]
    assert rules
    for rule in rules:
        forbidden = {"secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "*"}
        assert forbidden.isdisjoint(rule["resources"])
        assert "*" not in rule["verbs"]
        if "impersonate" in rule["verbs"]:
            assert (
                rule.get("resourceNames") == ["k8s-mcp-server"]
                or rule["resources"] == ["userextras/k8s-mcp.io/client"]
                or COMMANDS_GROUP in rule["resourceNames"]
            )


def test_commands_are_told_from_the_service_s_own_requests_by_the_group_that_the_gateway_sends() -> None:
    schemas = [body for body in _load("flow-control.yaml") if body["kind"] == "FlowSchema"]
    schemas.sort(key=lambda body: int(body["spec"]["matchingPrecedence"]))
    subjects = [body["spec"]["rules"][0]["subjects"] for body in schemas]
    own = {"name": "k8s-mcp-server", "namespace": "k8s-mcp-system"}
    assert subjects == [
        [{"kind": "Group", "group": {"name": COMMANDS_GROUP}}],
        [{"kind": "ServiceAccount", "serviceAccount": own}],
    ]
    levels = {body["metadata"]["name"] for body in _load("flow-control.yaml") if body not in schemas}
    assert {body["spec"]["priorityLevelConfiguration"]["name"] for body in schemas} == levels
    (groups,) = (permission.resource_names for permission in REQUIRED_PERMISSIONS if permission.resource == "groups")
    assert COMMANDS_GROUP in groups


def test_the_version_of_the_image_is_that_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)
    assert version
    for folder in ("manifests", "manifests/preflight"):
        kustomization = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text(encoding="utf-8"))
        assert kustomization["images"][0]["newTag"] == version[1]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^ARG VERSION=(.+)$", dockerfile, re.MULTILINE) == [version[1]]
    assert DEFAULT_NAME.endswith(f":{version[1]}")


def test_the_clis_of_the_image_are_those_that_the_dockerfile_builds_and_the_service_knows() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (stated,) = re.findall(r'^ARG CLIS="(.+)"$', dockerfile, re.MULTILINE)
    assert tuple(stated.split()) == CLIS
    assert set(CLIS) == set(get_args(ToolName))


def test_the_operating_guide_explains_every_alert_with_its_severity() -> None:
    guide = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    explained = dict(re.findall(r"^\| `(K8sMcp\w+)` \| (\w+) \|", guide, re.MULTILINE))
    assert explained == {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}


def test_panels_of_the_dashboard_have_their_own_ids_and_places() -> None:
    panels = dashboard()["panels"]
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_scraper_selects_the_deployment_s_pods_and_their_health_port(deployment: dict[str, Any]) -> None:
    component = ROOT / "manifests" / "components" / "monitoring" / "pod-monitor.yaml"
    spec = yaml.safe_load(component.read_text(encoding="utf-8"))["spec"]
    template = deployment["spec"]["template"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}


def test_no_role_of_ours_is_aggregated_to_the_usual_roles() -> None:
    """Else every namespace's admin could write policies, which hand out the Pod's rights."""
    files = [*ROOT.glob("manifests/**/*.yaml"), *ROOT.glob("crds/*.yaml")]
    documents = [item for file in files for item in yaml.safe_load_all(file.read_text("utf-8")) if item]
    roles = [item for item in documents if item.get("kind") == "ClusterRole"]
    assert roles
    labels = [label for role in roles for label in role["metadata"].get("labels", {})]
    assert [label for label in labels if label.startswith("rbac.authorization.k8s.io/aggregate-to-")] == []
