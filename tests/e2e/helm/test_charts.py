"""Charts from a repository and a registry that the policy names, by a real helm over TLS under a private CA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtools.charts import USER
from tests.e2e.helm.conftest import PASSWORD, HelmAgent, Site

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.e2e


def test_charts_of_a_repository_are_found_shown_rendered_and_deployed(
    site: Site, new_agent: Callable[..., HelmAgent]
) -> None:
    host = site.elsewhere.url.removeprefix("https://")
    agent = new_agent(egress={**site.egress()["egress"], "hosts": [host]})
    url = site.repository.url
    for command, expected in (
        ("search repo", "acme/web"),
        ("search repo web -o json | jq -r '.[0].name'", "acme/web"),
        ("show values acme/web", "a: b"),
        (f"show chart web --repo {url}", "name: web"),
        (f"show chart {site.elsewhere.url}/web-1.0.0.tgz", "name: web"),
        ("template t acme/web --set a=c", 'a: "c"'),
        ("install one acme/web --version 1.0.0", "STATUS: deployed"),
        (f"upgrade one web --repo {url}/ --set a=d", "has been upgraded"),
        ("get values one", "a: d"),
        ("uninstall one", "uninstalled"),
    ):
        answer = agent.helm(command)
        assert (answer.status, expected in answer.stdout) == ("succeeded", True), (command, answer.text)


def test_charts_of_a_registry_are_shown_rendered_and_deployed(site: Site, new_agent: Callable[..., HelmAgent]) -> None:
    agent = new_agent()
    for command, expected in (
        (f"show chart {site.registry.url}/pushed --version 1.0.0", "name: pushed"),
        ("template t registry/pushed --version 1.0.0", "kind: ConfigMap"),
        ("install two registry/pushed", "STATUS: deployed"),
        ("upgrade two registry/pushed --set a=d", "has been upgraded"),
        ("uninstall two", "uninstalled"),
    ):
        answer = agent.helm(command)
        assert (answer.status, expected in answer.stdout) == ("succeeded", True), (command, answer.text)


def test_a_pulled_chart_comes_back_as_its_files(new_agent: Callable[..., HelmAgent]) -> None:
    answer = new_agent().helm("pull acme/web")
    assert answer.status == "succeeded", answer
    assert "kind: ConfigMap" in answer.fields["files"]["web/templates/map.yaml"]
    assert "--untar was added" in answer.text


def test_what_a_chart_of_a_repository_makes_is_decided_before_it_begins(
    site: Site, new_agent: Callable[..., HelmAgent]
) -> None:
    answer = new_agent(rules=[]).helm("install three acme/web")
    assert (answer.status, "nothing was changed" in answer.text) == ("denied", True), answer
    assert not site.cluster.kubectl("get", "secrets", "-n", site.namespace, "-o", "name").stdout


def test_the_client_sees_no_credential(site: Site, new_agent: Callable[..., HelmAgent]) -> None:
    agent = new_agent()
    lines = (
        "show values acme/web --debug", "search repo --debug", "install four acme/nothing", "repo list", "env",
        "registry login x", "template t acme/web --set-file a=../charts/repositories.yaml",
        "template t acme/web -f ../charts/config.json", "pull acme/web --untar --debug",
    )  # fmt: skip
    for line in lines:
        said = agent.helm(line).everything
        assert PASSWORD not in said, line
        assert USER[1] not in said, line


def test_an_index_is_fetched_once_for_several_commands(site: Site, new_agent: Callable[..., HelmAgent]) -> None:
    agent = new_agent()
    site.repository.seen.clear()
    for _ in range(3):
        assert agent.helm("show chart acme/web").status == "succeeded"
    assert [path for path, _ in site.repository.seen].count("/index.yaml") == 1
