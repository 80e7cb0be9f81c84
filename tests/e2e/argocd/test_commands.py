"""What argocd does through the service, with the real binary and the real Argo CD."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.argocd.conftest import IN_CLUSTER, SECRET_VALUE, applications, apply_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.argocd.conftest import ArgoAgent, Site
    from tests.support.agent import Answer

    Agents = Callable[..., ArgoAgent]
    Fresh = Callable[..., str]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TEAM = "team-a/*"


def names(answer: Any) -> list[str]:
    """The names in a list that was printed as JSON."""
    assert answer.status == "succeeded", answer.text
    return sorted(item["metadata"]["name"] for item in json.loads(answer.stdout))


class TestReading:
    """Only what the policy gives, and nothing that shows the rest."""

    def test_a_list_has_the_applications_of_the_policy_alone(self, agent_with: Agents) -> None:
        answer = agent_with(applications("get", TEAM)).run("app list -o json")
        assert "team-a-app" in names(answer)
        assert all(name not in answer.everything for name in ("team-b", "payments"))
        assert answer.fields["filtered"]

    def test_a_rule_without_names_lists_all(self, agent_with: Agents) -> None:
        answer = agent_with(applications("get")).run("app list -o json")
        assert {"team-a-app", "team-b-app", "payments-app"} <= set(names(answer))
        assert "filtered" not in answer.fields

    def test_an_application_is_shown_with_its_project(self, agent_with: Agents) -> None:
        answer = agent_with(applications("get", TEAM)).run("app get team-a-app")
        assert answer.status == "succeeded", answer.text
        assert "team-a" in answer.stdout

    def test_one_that_is_hidden_looks_like_one_that_is_not_there(self, agent_with: Agents) -> None:
        agent = agent_with(applications("get", TEAM))
        hidden, missing = agent.run("app get payments-app"), agent.run("app get nothing-app")
        assert hidden.status == missing.status == "denied"
        assert hidden.fields["denials"][0].replace("payments-app", "nothing-app") == missing.fields["denials"][0]
        assert "payments/" not in hidden.everything

    def test_another_project_in_the_question_does_not_show_it_either(self, agent_with: Agents) -> None:
        answer = agent_with(applications("get", TEAM)).run("app get team-a-app --project payments")
        assert answer.status != "succeeded"

    def test_projects_are_those_of_visible_applications(self, agent_with: Agents) -> None:
        agent = agent_with(applications("get", TEAM))
        assert names(agent.run("proj list -o json")) == ["team-a"]
        assert agent.run("proj get team-a").status == "succeeded"
        assert agent.run("proj get payments").status == "denied"

    def test_clusters_and_repositories_have_rights_of_their_own(self, agent_with: Agents) -> None:
        without = agent_with(applications("get", TEAM))
        assert without.run("cluster list").status == "denied"
        assert without.run("repo list").status == "denied"
        given = agent_with(applications("get", resources="clusters repositories"))
        assert IN_CLUSTER in given.run("cluster list").stdout
        assert given.run("repo list").status == "succeeded"

    def test_a_cluster_that_no_rule_names_is_not_shown(self, agent_with: Agents) -> None:
        agent = agent_with(applications("get", "https://other.example.com", resources="clusters"))
        assert IN_CLUSTER not in agent.run("cluster list").stdout
        assert agent.run(f"cluster get {IN_CLUSTER}").status == "denied"
        assert (
            agent_with(applications("get", IN_CLUSTER, resources="clusters")).run(f"cluster get {IN_CLUSTER}").status
            == "succeeded"
        )

    def test_logs_need_a_right_of_their_own(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name = fresh()
        admin = agent_with(applications("get sync", TEAM), applications("get", TEAM, resources="logs"))
        assert admin.run(f"app sync {name}").status == "succeeded"
        site.await_status(name, health="Healthy")
        assert "simulated container" in admin.run(f"app logs {name}").stdout
        assert agent_with(applications("get", TEAM)).run(f"app logs {name}").status == "denied"

    def test_logs_that_are_followed_end_at_the_timeout_with_what_came(
        self, site: Site, agent_with: Agents, fresh: Fresh
    ) -> None:
        name = fresh()
        agent = agent_with(applications("get sync", TEAM), applications("get", TEAM, resources="logs"))
        agent.run(f"app sync {name}")
        site.await_status(name, health="Healthy")
        answer = agent.run(f"app logs {name} --follow", timeout=3)
        assert answer.status == "timed_out", answer.text
        assert "simulated container" in answer.stdout

    def test_the_logs_of_nothing_are_nothing(self, agent_with: Agents) -> None:
        agent = agent_with(applications("get", TEAM), applications("get", TEAM, resources="logs"))
        answer = agent.run("app logs team-a-app")
        assert (answer.status, answer.stdout.strip()) == ("succeeded", ""), answer.text

    def test_no_value_of_a_secret_gets_out(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name = fresh(path="secret")
        agent = agent_with(applications("*", TEAM))
        assert agent.run(f"app sync {name}").status == "succeeded"
        found = site.cluster.kubectl("get", "secret", "credentials", "-n", name, "-o", "json").stdout
        assert SECRET_VALUE in found  # it is there to be found
        for command in (
            f"app manifests {name}", f"app manifests {name} --source live", f"app diff {name}",
            f"app get-resource {name} --kind Secret", f"app get-resource {name} --kind Secret -o json",
            f"app patch-resource {name} --kind Secret --resource-name credentials --patch '{{}}'",
        ):  # fmt: skip
            assert SECRET_VALUE not in agent.run(command).everything, command

    def test_it_says_who_the_client_is_and_what_it_may(self, agent_with: Agents) -> None:
        agent = agent_with(applications("get sync", TEAM))
        assert "system:serviceaccount:agents:argo-" in agent.run("account get-user-info").stdout
        assert agent.run("account can-i sync applications team-a/web").stdout.strip() == "yes"
        for asked in ("sync applications payments/web", "delete applications team-a/web", "get accounts x"):
            assert agent.run(f"account can-i {asked}").stdout.strip() == "no", asked


class TestWriting:
    """Each action needs its own verb, and does what Argo CD does with it."""

    def test_a_sync_makes_what_is_in_the_repository(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name = fresh()
        answer = agent_with(applications("get sync", TEAM)).run(f"app sync {name}")
        assert answer.status == "succeeded", answer.text
        assert site.cluster.kubectl("get", "deployment", "web", "-n", name).stdout

    @pytest.mark.parametrize(
        ("command", "verb"),
        [
            ("app sync NAME", "sync"),
            ("app rollback NAME", "sync"),
            ("app terminate-op NAME", "sync"),
            ("app sync NAME --revision other", "sync"),
            ("app delete NAME --yes", "delete"),
            ("app set NAME --revision HEAD", "update"),
            ("app unset NAME --ref", ""),
            ("app patch NAME --type merge --patch '{\"metadata\":{\"labels\":{\"a\":\"b\"}}}'", "update"),
            ("app confirm-deletion NAME", "update"),
            ("app actions run NAME restart --kind Deployment --all", "action/apps/Deployment/restart"),
            ("app patch-resource NAME --kind ConfigMap --resource-name settings --patch '{}'", "update//ConfigMap/"),
            ("app delete-resource NAME --kind ConfigMap --resource-name settings", "delete//ConfigMap/"),
        ],
    )  # fmt: skip
    def test_reading_gives_no_writing(
        self, site: Site, agent_with: Agents, synced: str, command: str, verb: str
    ) -> None:
        before = site.application(synced)["spec"]
        answer = agent_with(applications("get", TEAM)).run(command.replace("NAME", synced))
        if verb:
            assert answer.status in {"denied", "failed"}, answer.text
            assert not verb or answer.status == "failed" or verb in answer.text
        assert site.application(synced)["spec"] == before

    def test_another_revision_needs_override(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name, commit = fresh(), site.repository.commit({"web/more.yaml": _CONFIG_MAP})
        denied = agent_with(applications("get sync", TEAM)).run(f"app sync {name} --revision {commit}")
        assert denied.status == "denied"
        assert "override" in denied.text
        given = agent_with(applications("get sync override", TEAM)).run(f"app sync {name} --revision {commit}")
        assert given.status == "succeeded", given.text
        assert agent_with(applications("get sync", TEAM)).run(f"app sync {name} --revision main").status == "succeeded"

    def test_an_application_is_made_in_its_own_project_only(self, site: Site, agent_with: Agents) -> None:
        agent = agent_with(applications("get create", TEAM))
        create = f"--repo {site.repository.url} --path web --dest-server {IN_CLUSTER} --dest-namespace made"
        try:
            assert agent.run(f"app create made-here {create} --project payments").status == "denied"
            assert agent.run(f"app create made-here {create}").status == "denied"  # the project default
            assert site.application("made-here") == {}
            assert agent.run(f"app create made-here {create} --project team-a").status == "succeeded"
            assert site.application("made-here")["spec"]["project"] == "team-a"
        finally:
            site.remove_application("made-here")

    def test_a_manifest_comes_from_stdin_or_files(self, site: Site, agent_with: Agents) -> None:
        agent = agent_with(applications("get create update", TEAM))
        manifest = json.dumps(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": {"name": "from-text"},
                "spec": {
                    "project": "team-a",
                    "source": {"repoURL": site.repository.url, "path": "web"},
                    "destination": {"server": IN_CLUSTER, "namespace": "made"},
                },
            }
        )
        try:
            assert agent.run("app create -f -", stdin=manifest).status == "succeeded"
            again = agent.run("app create -f app.yaml --upsert --label by=files", files={"app.yaml": manifest})
            assert again.status == "succeeded", again.text
            assert site.application("from-text")["metadata"]["labels"] == {"by": "files"}
        finally:
            site.remove_application("from-text")

    def test_an_upsert_of_what_is_there_is_an_update(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name = fresh()
        site.cluster.kubectl("label", "applications.argoproj.io", name, "-n", "argocd", "kept=yes")
        create = f"app create {name} --repo {site.repository.url} --path secret --dest-server {IN_CLUSTER} --upsert"
        command = f"{create} --dest-namespace {name} --project team-a --label new=yes"
        assert agent_with(applications("get create", TEAM)).run(command).status == "denied"
        assert site.application(name)["spec"]["source"]["path"] == "web"
        answer = agent_with(applications("get create update", TEAM)).run(command)
        assert answer.status == "succeeded", answer.text
        found = site.application(name)
        assert found["spec"]["source"]["path"] == "secret"
        assert found["metadata"]["labels"] == {"kept": "yes", "new": "yes"}

    def test_an_upsert_does_not_take_an_application_of_another_project(self, site: Site, agent_with: Agents) -> None:
        before = site.application("payments-app")["spec"]
        create = f"app create payments-app --repo {site.repository.url} --path web --dest-server {IN_CLUSTER} --upsert"
        answer = agent_with(applications("*", TEAM)).run(f"{create} --dest-namespace x --project team-a")
        assert answer.status == "denied"
        assert site.application("payments-app")["spec"] == before

    @pytest.mark.parametrize(
        "command",
        [
            "app set NAME --project payments",
            "app patch NAME --type merge --patch '{\"spec\":{\"project\":\"payments\"}}'",
            "app patch NAME --patch '[{\"op\":\"replace\",\"path\":\"/spec/project\",\"value\":\"payments\"}]'",
            "app patch NAME --patch '[{\"op\":\"remove\",\"path\":\"/spec/project\"}]'",
            "app patch NAME --patch '[{\"op\":\"copy\",\"from\":\"/metadata/labels/to\",\"path\":\"/spec/project\"}]'",
            "app patch NAME --type merge --patch '{\"Spec\":{\"project\":\"payments\"}}'",
            "app patch NAME --type merge --patch '{\"spec\":{\"PROJECT\":\"payments\"}}'",
            "app patch NAME --type merge --patch '{\"metadata\":{\"name\":\"payments-app\"}}'",
            "app patch NAME --patch '[{\"op\":\"replace\",\"path\":\"/metadata/name\",\"value\":\"payments-app\"}]'",
        ],
    )  # fmt: skip
    def test_an_application_is_not_moved_out_of_the_policy(
        self, site: Site, agent_with: Agents, fresh: Fresh, command: str
    ) -> None:
        name = fresh()
        site.cluster.kubectl("label", "applications.argoproj.io", name, "-n", "argocd", "to=payments")
        others = site.application("payments-app")["spec"]
        answer = agent_with(applications("*", TEAM)).run(command.replace("NAME", name))
        assert answer.status == "denied", answer.text
        assert site.application(name)["spec"]["project"] == "team-a"
        assert site.application("payments-app")["spec"] == others

    def test_it_is_moved_where_both_ends_are_given(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name = fresh()
        only_here = agent_with(applications("get update", TEAM), applications("get update", "team-b/*"))
        assert only_here.run(f"app set {name} --project team-b").status == "denied"  # create is missing there
        both = agent_with(applications("get update", TEAM), applications("get create update", "team-b/*"))
        assert both.run(f"app set {name} --project team-b").status == "succeeded"
        assert site.application(name)["spec"]["project"] == "team-b"

    def test_projects_are_written_with_a_right_to_that_project(self, site: Site, agent_with: Agents) -> None:
        agent = agent_with(applications("*", "mine-*", resources="projects"))
        try:
            assert agent.run("proj create mine-1").status == "succeeded"
            assert agent.run(f"proj add-destination mine-1 {IN_CLUSTER} mine").status == "succeeded"
            assert agent.run("proj role create mine-1 reader").status == "succeeded"
            assert agent.run("proj create other-1").status == "denied"
            assert agent.run(f"proj add-destination team-a {IN_CLUSTER} mine").status == "denied"
            assert agent.run("proj delete mine-1").status == "succeeded"
        finally:
            site.cluster.kubectl("delete", "appproject", "mine-1", "-n", "argocd", "--ignore-not-found")


class TestModes:
    """What the modes of a policy mean here."""

    def test_a_sync_under_mode_dry_run_changes_nothing(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name = fresh()
        answer = agent_with(applications("*", TEAM), mode="DryRun").run(f"app sync {name}")
        assert answer.status == "succeeded", answer.text
        assert answer.fields["dry_run"] == "DRY RUN, nothing changed"
        assert site.cluster.kubectl("get", "deployment", "-A", check=False).stdout.count(f"{name} ") == 0

    @pytest.mark.parametrize(
        "command", ["app delete NAME --yes", "app set NAME --revision HEAD", "app terminate-op NAME"]
    )
    def test_what_has_no_dry_run_is_denied(self, site: Site, agent_with: Agents, synced: str, command: str) -> None:
        answer = agent_with(applications("*", TEAM), mode="DryRun").run(command.replace("NAME", synced))
        assert (answer.status, answer.fields["reason"]) == ("denied", "NoDryRun"), answer.text
        assert site.application(synced)

    def test_a_deny_wins(self, agent_with: Agents) -> None:
        agent = agent_with(applications("*"), deny=[applications("*", "payments/*")])
        assert "payments" not in agent.run("app list").everything
        assert agent.run("app get payments-app").status == "denied"
        assert agent.run("app get team-b-app").status == "succeeded"

    def test_a_policy_for_another_tool_gives_nothing(self, agent_with: Agents) -> None:
        answer = agent_with(applications("*"), tools=["kubectl"]).run("app list")
        assert (answer.status, answer.fields["reason"]) == ("denied", "ToolNotAllowed")

    def test_a_stream_ends_when_the_policy_goes(self, site: Site, agent_with: Agents, fresh: Fresh) -> None:
        name = fresh()
        agent = agent_with(applications("get sync", TEAM), applications("get", TEAM, resources="logs"))
        agent.run(f"app sync {name}")
        site.await_status(name, health="Healthy")
        account = agent.agent.check_access().fields["username"].rpartition(":")[2]

        def withdraw() -> None:
            apply_policy(site, account, {"tools": ["argocd"], "rules": [applications("get", TEAM)]})

        answer = run_beside(site, agent, command=f"app logs {name} --follow", call="PodLogs", then=withdraw)
        assert answer.status == "denied", answer.text
        assert answer.fields["duration_seconds"] < 30


class TestInstances:
    """Several of them; the first is meant by default, and the others are named in policies."""

    def test_the_first_is_not_the_second(self, agent_with: Agents) -> None:
        first = agent_with(applications("get", TEAM))
        assert names(first.run("app list -o json --argocd-context main"))
        assert names(first.run("app list -o json --argocd-context second")) == []
        second = agent_with(applications("get", f"second:{TEAM}"))
        assert names(second.run("app list -o json")) == []
        assert "team-a-app" in names(second.run("--argocd-context=second app list -o json"))
        assert second.run("app get team-a-app --argocd-context second").status == "succeeded"
        assert second.run("app get team-a-app").status == "denied"

    def test_an_unknown_one_is_refused_with_those_that_there_are(self, agent_with: Agents) -> None:
        answer = agent_with(applications("get")).run("app list --argocd-context third")
        assert (answer.status, answer.fields["reason"]) == ("refused", "UnknownInstance")
        assert "main or second" in answer.fields["hint"]

    def test_a_pipeline_means_one(self, agent_with: Agents) -> None:
        answer = agent_with(applications("get")).run("app list | argocd --argocd-context second app list")
        assert answer.fields["reason"] == "SeveralInstances"


def test_calls_are_counted_and_recorded(site: Site, agent_with: Agents) -> None:
    answer = agent_with(applications("get", TEAM)).run("app get team-a-app")
    found = site.requests(answer.fields["command_id"])
    first = found[0]
    assert first["target"] == "/application.ApplicationService/Get"
    assert first["attributes"]["name"] == "team-a/team-a-app"
    assert (first["verdict"], first["status"], first["tool"]) == ("exact", 200, "argocd")
    assert first["policy"].startswith("argo-")
    assert first["rule"] == "rules[0]"
    assert all("token" not in json.dumps(each).lower() or "serviceaccount" in json.dumps(each) for each in found)


def test_argo_cd_is_told_who_asked_for_a_sync(site: Site, agent_with: Agents, fresh: Fresh) -> None:
    name, agent = fresh(), agent_with(applications("get sync", TEAM))
    assert agent.run(f"app sync {name}").status == "succeeded"
    infos = site.application(name)["status"]["operationState"]["operation"]["info"]
    assert infos == [{"name": "k8s-mcp.io/client", "value": agent.agent.check_access().fields["username"]}]
    assert agent.run(f"app sync {name} --info k8s-mcp.io/client=somebody").status == "denied"


_CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata: {}\n"


def run_beside(site: Site, agent: ArgoAgent, *, command: str, call: str, then: Callable[[], None]) -> Answer:
    """Run a command, and do something once it has made a call."""
    made = site.calls(call)
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(agent.run, command, timeout=60)
        deadline = time.monotonic() + 20
        while site.calls(call) == made:
            assert time.monotonic() < deadline, f"{command} made no call {call}"
            time.sleep(0.05)
        then()
        return running.result(timeout=90)


@pytest.fixture(scope="module")
def synced(site: Site) -> Iterator[str]:
    """An application that was synced once, for tests that change nothing of it."""
    site.add_application("synced-app", project="team-a", namespace="synced-app")
    site.await_status("synced-app")
    operation = {"operation": {"sync": {"revision": "main", "syncOptions": ["CreateNamespace=true"]}}}
    site.cluster.kubectl(
        "patch", "applications.argoproj.io", "synced-app", "-n", "argocd", "--type=merge", f"-p={json.dumps(operation)}"
    )
    site.await_status("synced-app", sync="Synced", health="Healthy")
    yield "synced-app"
    site.remove_application("synced-app")
