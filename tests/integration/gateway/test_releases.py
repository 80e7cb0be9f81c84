"""Helm's releases through the gateway: the real helm, the real API server, and policies that give more or less."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from devtools.toolchain import ensure_tools
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.snapshot import Snapshot
from k8s_mcp_server.policy.tools import Tool
from tests.support.gateway_site import AGENT, Finished, Rig
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(180)]

HIDDEN = "hunter2-in-the-values"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: '9'\n",
    "values.yaml": "password: none\n",
    "templates/config.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
        "data:\n  password: {{ .Values.password }}\n  revision: '{{ .Release.Revision }}'\n"
    ),
    "templates/NOTES.txt": "The password is {{ .Values.password }}\n",
}
READ = ["get", "list"]
WRITE = [*READ, "create", "update", "delete"]


@dataclass
class HelmRig:
    """A gateway, and a helm command's session in it under the rules that a test states."""

    rig: Rig
    chart: Path

    @property
    def team(self) -> str:
        return self.rig.site.team

    def rules(self, *rules: dict[str, Any], deny: tuple[dict[str, Any], ...] = (), **spec: Any) -> None:
        """The policy of the agent, from now on, for a new command."""
        policy = {
            "apiVersion": "k8s-mcp.io/v1alpha1",
            "kind": "McpAccessPolicy",
            "metadata": {"name": "helm", "uid": "5c6f", "resourceVersion": "41", "generation": 1},
            "spec": {
                "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": "deployer"}],
                "tools": ["helm"],
                "rules": list(rules),
                "deny": list(deny),
                **spec,
            },
        }
        known = self.rig.policies.snapshot.namespaces.values()
        self.rig.policies.snapshot = Snapshot.build([read_policy(policy)], known)
        session = self.rig.gateway.open(client=AGENT, tool=Tool.HELM, command_id=f"c-{uuid.uuid4().hex[:6]}")
        self.rig = replace(self.rig, session=session)

    async def helm(self, *arguments: str, stdin: str = "") -> Finished:
        environment = {"HELM_NO_PLUGINS": "1"}
        return await self.rig.kubectl(*arguments, stdin=stdin, environment=environment)

    async def install(self, release: str, *arguments: str) -> Finished:
        return await self.helm("install", release, str(self.chart), "--set", f"password={HIDDEN}", *arguments)

    def as_administrator(self, *arguments: str, stdin: str = "") -> str:
        return self.rig.site.cluster.kubectl(*arguments, input=stdin).stdout

    def secrets(self) -> list[dict[str, Any]]:
        """Every Secret of the team's namespace that holds a release."""
        found = self.as_administrator(
            "get", "secrets", "-n", self.team, "--field-selector=type=helm.sh/release.v1", "-o", "json"
        )
        items: list[dict[str, Any]] = json.loads(found)["items"]
        return items

    def record(self, release: str, revision: int) -> dict[str, Any]:
        """What is stored of a revision."""
        name = f"sh.helm.release.v1.{release}.v{revision}"
        data = next(item["data"]["release"] for item in self.secrets() if item["metadata"]["name"] == name)
        record: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(data))))
        return record


def releases(team: str, *, verbs: list[str], content: bool = True) -> dict[str, Any]:
    resources = ["releases", "releases/content"] if content else ["releases"]
    return {"name": "releases", "namespaces": [team], "apiGroups": ["helm.sh"], "resources": resources, "verbs": verbs}


def configmaps(team: str) -> dict[str, Any]:
    return {"name": "objects", "namespaces": [team], "apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}


@pytest.fixture(scope="session")
def helm_path() -> Path:
    return ensure_tools(["helm"])["helm"]


@pytest.fixture
def helm(rig: Rig, helm_path: Path, tmp_path: Path) -> HelmRig:
    chart = tmp_path / "web"
    for name, text in CHART.items():
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return HelmRig(rig=replace(rig, kubectl_path=helm_path), chart=chart)


@pytest.fixture
def release() -> str:
    return f"web-{uuid.uuid4().hex[:6]}"


async def test_a_deployer_without_secrets_installs_upgrades_rolls_back_and_uninstalls(
    helm: HelmRig, release: str
) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    for expected, arguments in (
        ("STATUS: deployed", ("install", release, str(helm.chart), "--set", f"password={HIDDEN}")),
        ("has been upgraded", ("upgrade", release, str(helm.chart), "--set", "password=second")),
        (f"password: {HIDDEN}", ("get", "values", release, "--revision", "1")),
        ("kind: ConfigMap", ("get", "manifest", release)),
        ("Rollback was a success", ("rollback", release, "1")),
        ("Rollback to 1", ("history", release)),
        (release, ("list",)),
        ("STATUS: deployed", ("status", release)),
        ("uninstalled", ("uninstall", release)),
    ):
        got = await helm.helm(*arguments)
        assert (got.code, expected in got.stdout) == (0, True), (arguments, got)
    assert helm.rig.session.requests_denied == 0
    assert [item for item in helm.secrets() if release in item["metadata"]["name"]] == []


async def test_helms_own_record_is_stored_as_helm_wrote_it(helm: HelmRig, release: str) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    assert (await helm.install(release)).code == 0
    record = helm.record(release, 1)
    assert record["config"] == {"password": HIDDEN}
    assert record["info"]["status"] == "deployed"
    assert record["chart"]["metadata"]["version"] == "1.2.3"


async def test_metadata_alone_is_enough_to_list_and_tells_nothing_of_values_manifest_or_notes(
    helm: HelmRig, release: str
) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    assert (await helm.install(release)).code == 0
    helm.rules(releases(helm.team, verbs=READ, content=False))
    seen = ""
    for expected, arguments in (
        ("web-1.2.3", ("list",)),
        ("web-1.2.3", ("list", "-A")),
        ("Install complete", ("history", release)),
        ("STATUS: deployed", ("status", release)),
        ("STATUS: deployed", ("status", release, "--revision", "1")),
        ('"app_version"', ("list", "-o", "json")),
        ("VERSION: 1.2.3", ("get", "metadata", release)),
        ("", ("get", "values", release)),
        ("", ("get", "manifest", release)),
        ("", ("get", "all", release)),
        ("", ("status", release, "-o", "json")),
        ("", ("status", release, "--debug")),
    ):
        got = await helm.helm(*arguments)
        assert expected in got.stdout, (arguments, got)
        seen += got.stdout + got.stderr
    assert HIDDEN not in seen
    assert "The password is" not in seen
    assert "kind: ConfigMap" not in seen


async def test_who_sees_metadata_only_cannot_write_it_back(helm: HelmRig, release: str) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    assert (await helm.install(release)).code == 0
    helm.rules(releases(helm.team, verbs=WRITE, content=False), configmaps(helm.team))
    for arguments in (
        ("upgrade", release, str(helm.chart)),
        ("rollback", release, "1"),
        ("uninstall", release),
    ):
        got = await helm.helm(*arguments)
        assert got.code != 0, arguments
    assert [item["metadata"]["name"] for item in helm.secrets() if release in item["metadata"]["name"]] == [
        f"sh.helm.release.v1.{release}.v1"
    ]
    record = helm.record(release, 1)
    assert (record["config"], record["info"]["status"]) == ({"password": HIDDEN}, "deployed")
    assert "releases/content" in " ".join(helm.rig.session.denials)


async def test_a_deny_of_secrets_takes_releases_too(helm: HelmRig, release: str) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    assert (await helm.install(release)).code == 0
    deny = {"name": "no", "namespaces": [helm.team], "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team), deny=(deny,))
    for arguments in (("list",), ("status", release), ("uninstall", release), ("install", "new", str(helm.chart))):
        got = await helm.helm(*arguments)
        assert (got.code != 0, release in got.stdout) == (True, False), (arguments, got)
    assert helm.record(release, 1)["info"]["status"] == "deployed"


async def test_denies_take_releases_out_of_a_list_by_their_name_and_by_that_of_the_secret(
    helm: HelmRig, release: str
) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    for name in (f"{release}-a", f"{release}-b", f"{release}-c"):
        assert (await helm.install(name)).code == 0
    by_release = {"name": "r", "resourceNames": [f"{release}-a"], "apiGroups": ["helm.sh"], "resources": ["releases"]}
    by_secret = {"name": "s", "resourceNames": [f"*.{release}-b.*"], "apiGroups": [""], "resources": ["secrets"]}
    denies = tuple({**deny, "namespaces": ["*"], "verbs": ["*"]} for deny in (by_release, by_secret))
    helm.rules(releases(helm.team, verbs=READ), deny=denies)
    got = await helm.helm("list", "-A", "-q")
    assert (f"{release}-a" in got.stdout, f"{release}-b" in got.stdout, f"{release}-c" in got.stdout) == (
        False,
        False,
        True,
    )
    assert (await helm.helm("status", f"{release}-a")).code != 0
    assert (await helm.helm("status", f"{release}-b", "--revision", "1")).code != 0


async def test_a_rule_about_some_releases_gives_those(helm: HelmRig, release: str) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    for name in (f"{release}-a", f"{release}-b"):
        assert (await helm.install(name)).code == 0
    one = {**releases(helm.team, verbs=READ), "resourceNames": [f"{release}-a"]}
    everything = releases(helm.team, verbs=READ, content=False)
    helm.rules(one, {**everything, "name": "all"})
    assert HIDDEN in (await helm.helm("get", "values", f"{release}-a")).stdout
    assert HIDDEN not in (await helm.helm("get", "values", f"{release}-b")).stdout
    assert (await helm.helm("list", "-q", "-f", release)).stdout.split() == [f"{release}-a", f"{release}-b"]
    helm.rules(one)
    assert (await helm.helm("list", "-q", "-f", release)).stdout.split() == [f"{release}-a"]
    assert (await helm.helm("status", f"{release}-b")).code != 0


async def test_the_right_to_releases_gives_no_other_secret(helm: HelmRig, release: str) -> None:
    """Neither by name, nor by labels or a name that look like Helm's, nor through a chart that looks objects up."""
    disguised: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"sh.helm.release.v1.{release}.v1",
            "namespace": helm.team,
            "labels": {"owner": "helm", "name": release, "status": "deployed", "version": "1"},
        },
        "stringData": {"release": HIDDEN},
    }
    helm.as_administrator("apply", "-f", "-", stdin=json.dumps(disguised))
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team))
    assert release not in (await helm.helm("list", "-A")).stdout
    assert (await helm.helm("status", release, "--revision", "1")).code != 0
    assert (await helm.helm("uninstall", release)).code != 0
    lookup = helm.chart / "templates" / "lookup.yaml"
    lookup.write_text(
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: copy}\ndata:\n  a: {{ (lookup "v1" "Secret" '
        f'"{helm.team}" "password").data | toJson | quote }}}}\n',
        encoding="utf-8",
    )
    got = await helm.helm("install", f"{release}-x", str(helm.chart), "--dry-run=server")
    assert (got.code != 0, "aGlkZGVu" in got.stdout) == (True, False), got
    assert helm.as_administrator("get", "secret", disguised["metadata"]["name"], "-n", helm.team, "-o", "name")
    helm.as_administrator("delete", "secret", disguised["metadata"]["name"], "-n", helm.team)


async def test_the_right_to_secrets_gives_their_releases_whole(helm: HelmRig, release: str) -> None:
    secrets = {"name": "s", "namespaces": [helm.team], "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}
    helm.rules(secrets, configmaps(helm.team))
    assert (await helm.install(release)).code == 0
    assert HIDDEN in (await helm.helm("get", "values", release)).stdout


async def test_a_dry_run_policy_stores_no_release(helm: HelmRig, release: str) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team), mode="DryRun")
    await helm.install(release)
    assert [item for item in helm.secrets() if release in item["metadata"]["name"]] == []
    assert helm.rig.session.writes == 0
    assert helm.rig.session.dry_runs > 0


HOOK = (
    "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {{ .Release.Name }}-hook\n"
    "  annotations: {helm.sh/hook: 'pre-install,pre-upgrade,pre-rollback'}\n"
    "spec:\n  suspend: true\n  template:\n    spec:\n      restartPolicy: Never\n"
    "      containers: [{name: main, image: 'example.com/never'}]\n"
)


def jobs(team: str) -> dict[str, Any]:
    rule = {"name": "jobs", "namespaces": [team], "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]}
    return {**rule, "allowPrivilegedWorkloads": True}


@pytest.mark.parametrize("operation", ["install", "upgrade", "rollback"])
async def test_a_command_that_is_killed_leaves_no_pending_release(helm: HelmRig, release: str, operation: str) -> None:
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team), jobs(helm.team))
    hook = helm.chart / "templates" / "hook.yaml"
    hook.write_text(HOOK, encoding="utf-8")
    if operation != "install":
        assert (await helm.install(release, "--no-hooks")).code == 0
    arguments = (release, "1") if operation == "rollback" else (release, str(helm.chart))
    process = await helm.rig.start(operation, *arguments)
    revision = 1 if operation == "install" else 2
    name = f"sh.helm.release.v1.{release}.v{revision}"
    await eventually(lambda: name in {item["metadata"]["name"] for item in helm.secrets()}, seconds=20)
    assert helm.record(release, revision)["info"]["status"] == f"pending-{operation}"
    process.kill()
    await process.communicate()
    await helm.rig.gateway.close_session(helm.rig.session)
    assert helm.record(release, revision)["info"]["status"] == "failed"
    labels = next(item["metadata"]["labels"] for item in helm.secrets() if item["metadata"]["name"] == name)
    assert labels["status"] == "failed"
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team), jobs(helm.team))
    hook.unlink()
    got = await helm.helm("upgrade", release, str(helm.chart))
    assert got.code == 0, got


async def test_a_hook_that_fails_leaves_no_pending_rollback(helm: HelmRig, release: str) -> None:
    """Helm itself leaves the revision pending then, and refuses every further operation."""
    helm.rules(releases(helm.team, verbs=WRITE), configmaps(helm.team), jobs(helm.team))
    (helm.chart / "templates" / "hook.yaml").write_text(HOOK, encoding="utf-8")
    assert (await helm.install(release, "--no-hooks")).code == 0
    assert (await helm.helm("rollback", release, "1", "--timeout", "1s")).code != 0
    assert helm.record(release, 2)["info"]["status"] == "pending-rollback"
    await helm.rig.gateway.close_session(helm.rig.session)
    assert helm.record(release, 2)["info"]["status"] == "failed"
