"""helm operations that policy does not give whole are refused before they begin, with the lines that would give them.

The real helm renders, the real API server is looked at: after a refusal there is nothing, not even a release's Secret.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from devtools.demo.teams import AGENTS_NAMESPACE
from tests.integration.through_mcp.conftest import AgentFactory, apply_policy, eventually

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory
    from tests.support.agent import Agent, Answer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.usefixtures("no_ceiling")]

LABELS = {"pod-security.kubernetes.io/enforce": "baseline"}
CHART = {"chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"}
MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
"""
HOOK = """
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations:
    helm.sh/hook: pre-install,pre-upgrade,pre-rollback,pre-delete
    helm.sh/hook-delete-policy: hook-succeeded
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: migrate, image: migrate}]}
"""
LIST = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: web}}
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}], selector: {app: web}}}
"""
EVERYTHING = f"{MAP}\n---\n{DEPLOYMENT}\n---\n{HOOK}\n---\n{LIST}"


def crd(group: str) -> str:
    return (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
        f"metadata: {{name: things.{group}}}\n"
        f"spec:\n  group: {group}\n  scope: Namespaced\n  names: {{plural: things, kind: Thing}}\n"
        "  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]\n"
    )


def helm(agent: Agent, command: str, template: str = MAP, **more: str) -> Answer:
    files = {**CHART, "chart/templates/all.yaml": template, **more}
    return agent.call("execute_helm", {"command": command, "files": files})


def policy(namespace: str, *rules: dict[str, Any]) -> dict[str, Any]:
    """Helm's records in a namespace, and these rules."""
    records = {"apiGroups": ["helm.sh"], "resources": ["releases", "releases/content"]}
    verbs = ["get", "list", "create", "update", "delete"]
    own = {"namespaces": [namespace], **records, "verbs": verbs}
    return {"tools": ["helm"], "defaultNamespace": namespace, "rules": [own, *rules]}


def maps(namespace: str) -> dict[str, Any]:
    verbs = ["get", "create", "patch", "delete"]
    return {"namespaces": [namespace], "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}


def state(cluster: TestCluster, *namespaces: str) -> str:
    """All that an operation could have left in these namespaces or above them."""
    kinds = "secrets,configmaps,services,deployments,jobs,pods,roles,rolebindings,serviceaccounts"
    inside = [cluster.kubectl("get", kinds, "-n", each, "-o", "name").stdout for each in namespaces]
    above = cluster.kubectl("get", "crds,clusterroles,clusterrolebindings", "-o", "name").stdout
    return "\n".join([*inside, above])


@pytest.fixture
def mine(namespace_factory: NamespaceFactory) -> str:
    return namespace_factory("helm", labels=LABELS)


@pytest.fixture
def other(namespace_factory: NamespaceFactory) -> str:
    return namespace_factory("helm-other", labels=LABELS)


BEYOND = [
    pytest.param(DEPLOYMENT, "deployments.apps", id="a kind that no rule gives"),
    pytest.param(HOOK, "jobs.batch", id="a hook"),
    pytest.param(LIST, "serviceaccounts", id="an object in a list"),
    pytest.param("{apiVersion: v1, kind: Secret, metadata: {name: s}}", "secrets", id="a Secret"),
    pytest.param(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: far, namespace: OTHER}}",
        "configmaps",
        id="another namespace",
    ),
    pytest.param(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: far, namespace: kube-system}}",
        "configmaps",
        id="kube-system",
    ),
    pytest.param("{apiVersion: v1, kind: Namespace, metadata: {name: made}}", "namespaces", id="a namespace"),
    pytest.param(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: made}\nrules: []\n",
        "clusterroles.rbac.authorization.k8s.io",
        id="a ClusterRole",
    ),
    pytest.param("{apiVersion: example.org/v9, kind: Nothing, metadata: {name: a}}", "not serve", id="an unknown kind"),
    pytest.param("{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}", "no name", id="generateName"),
    pytest.param(
        '{{ if lookup "v1" "Secret" "OTHER" "password" }}{{ end }}' + MAP, "secrets", id="a lookup beyond the policy"
    ),
    pytest.param(
        "x: &m {name: a, namespace: OTHER}\napiVersion: v1\nkind: ConfigMap\nmetadata: *m\n",
        "an alias",
        id="a namespace behind an alias",
    ),
]


@pytest.mark.parametrize(("template", "said"), BEYOND)
def test_nothing_exists_after_the_refusal_of_an_install(
    cluster: TestCluster, agent_factory: AgentFactory, mine: str, other: str, *, template: str, said: str
) -> None:
    agent = agent_factory(policy(mine, maps(mine)))
    before = state(cluster, mine, other, "kube-system")

    for command in ("install web ./chart", "upgrade --install web ./chart", "install -g ./chart"):
        answer = helm(agent, command, f"{MAP.replace('settings', 'first')}\n---\n{template.replace('OTHER', other)}")

        assert answer.status == "denied", answer
        assert "nothing was changed" in answer.text
        assert said in answer.text
    assert state(cluster, mine, other, "kube-system") == before


def test_nothing_exists_after_the_refusal_of_a_chart_s_crds(
    cluster: TestCluster, agent_factory: AgentFactory, mine: str
) -> None:
    agent = agent_factory(policy(mine, maps(mine)))
    before = state(cluster, mine)

    answer = helm(agent, "install web ./chart", **{"chart/crds/thing.yaml": crd("foreseen.example.com")})

    assert (answer.status, "customresourcedefinitions.apiextensions.k8s.io" in answer.text) == ("denied", True), answer
    assert state(cluster, mine) == before


def test_a_chart_with_its_own_kind_is_installed_by_who_may_write_both(
    cluster: TestCluster, agent_factory: AgentFactory, mine: str
) -> None:
    group = f"{mine}.example.com"
    definitions = {
        "clusterScoped": True,
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "verbs": ["get", "list", "watch", "create", "patch"],
    }
    things = {"namespaces": [mine], "apiGroups": [group], "resources": ["things"], "verbs": ["get", "create", "patch"]}
    agent = agent_factory(policy(mine, definitions, things))
    thing = f"{{apiVersion: {group}/v1, kind: Thing, metadata: {{name: a}}}}"
    try:
        answer = helm(agent, "install web ./chart", thing, **{"chart/crds/thing.yaml": crd(group)})
        assert answer.status == "succeeded", answer
        assert cluster.kubectl("get", f"things.{group}", "-n", mine, "-o", "name").stdout
    finally:
        cluster.kubectl("delete", "crd", f"things.{group}", "--ignore-not-found")


def test_an_upgrade_that_is_not_given_whole_leaves_the_release_as_it_was(
    cluster: TestCluster, agent_factory: AgentFactory, mine: str
) -> None:
    undeletable = maps(mine) | {"verbs": ["get", "create", "patch"]}
    agent = agent_factory(policy(mine, undeletable))
    assert helm(agent, "install web ./chart").status == "succeeded"
    before = state(cluster, mine)

    for template, said in ((DEPLOYMENT, "deployments.apps"), ("# nothing", 'delete configmaps "settings"')):
        for command in ("upgrade web ./chart", "upgrade web ./chart --reuse-values --install --set a=b"):
            answer = helm(agent, command, template)
            assert (answer.status, said in answer.text) == ("denied", True), answer
    answer = helm(agent, "uninstall web")
    assert (answer.status, 'delete configmaps "settings"' in answer.text) == ("denied", True), answer

    assert state(cluster, mine) == before
    assert "deployed" in helm(agent, "status web").stdout


def test_a_rollback_to_what_is_not_given_any_more_leaves_the_release_as_it_was(
    cluster: TestCluster, agent_factory: AgentFactory, mine: str
) -> None:
    deployments = {"namespaces": [mine], "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]}
    agent = agent_factory(policy(mine, maps(mine), deployments))
    assert helm(agent, "install web ./chart", DEPLOYMENT).status == "succeeded"
    assert helm(agent, "upgrade web ./chart", MAP).status == "succeeded"
    _replace(cluster, agent, policy(mine, maps(mine)))
    before = state(cluster, mine)
    eventually(lambda: "deployments.apps" in helm(agent, "rollback web").text, "the rollback was not refused")

    answer = helm(agent, "rollback web 1")

    assert (answer.status, 'create, patch deployments.apps "web"' in answer.text) == ("denied", True), answer
    assert state(cluster, mine) == before


LIFE = (
    "install web ./chart --wait --timeout 20s",
    "upgrade web ./chart --timeout 20s",
    "upgrade web ./chart --server-side=false --timeout 20s",
    "rollback web 1 --timeout 20s",
    "uninstall web --timeout 20s",
    "upgrade --install web ./chart --server-side=false --rollback-on-failure --timeout 20s",
    "upgrade web ./chart --force-replace --timeout 20s",
    "uninstall web --timeout 20s",
)


def test_with_the_lines_that_refusals_name_the_whole_life_of_a_release_succeeds(
    cluster: TestCluster, agent_factory: AgentFactory, mine: str
) -> None:
    """What is foreseen is all that helm asks for: after one refusal, and with what it named, each command succeeds."""
    spec = policy(mine)
    agent = agent_factory(spec)
    for command in LIFE:
        answer = helm(agent, command, EVERYTHING)
        if answer.status == "denied":
            assert "nothing was changed" in answer.text, (command, answer)
            spec["rules"] += yaml.safe_load(str(answer.fields["hint"]).partition("\n")[2])
            _replace(cluster, agent, spec)
            answer = _once_in_force(agent, command)
        assert answer.status == "succeeded", (command, answer, json.dumps(spec["rules"]))


def _once_in_force(agent: Agent, command: str) -> Answer:
    answers: list[Answer] = []

    def has_begun() -> bool:
        answers.append(helm(agent, command, EVERYTHING))
        return "nothing was changed" not in answers[-1].text

    eventually(has_begun, f"{command} was still refused")
    return answers[-1]


def test_the_name_that_was_decided_is_the_name_that_is_installed(agent_factory: AgentFactory, mine: str) -> None:
    agent = agent_factory(policy(mine, maps(mine)))
    template = MAP.replace("settings", "{{ .Release.Name }}")
    answer = helm(agent, "install ./chart --name-template 'web-{{ randNumeric 8 }}'", template)
    assert answer.status == "succeeded", answer
    names = re.findall(r"NAME: (web-[0-9]{8})", answer.stdout)
    assert names
    assert names[0] in helm(agent, f"get manifest {names[0]}").stdout


def test_values_from_a_pipe_count_in_what_is_foreseen(
    cluster: TestCluster, agent_factory: AgentFactory, mine: str, other: str
) -> None:
    agent = agent_factory(policy(mine, maps(mine)))
    template = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: {{ .Values.place }}}}"
    before = state(cluster, other)
    source = f"show chart ./values | sed 's/.*/place: {other}/' | head -1"

    answer = helm(
        agent, f"{source} | helm install web ./chart -f -", template, **{"values/Chart.yaml": CHART["chart/Chart.yaml"]}
    )

    assert (answer.status, other in answer.text) == ("denied", True), answer
    assert state(cluster, other) == before


def _replace(cluster: TestCluster, agent: Agent, spec: dict[str, Any]) -> None:
    subject = {"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": agent.account}
    apply_policy(cluster, agent.account, {"subjects": [subject], **spec})
