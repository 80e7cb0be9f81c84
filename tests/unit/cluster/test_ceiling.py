"""How a policy stands to the server's own rights."""

from __future__ import annotations

from typing import Any, cast

import pytest

from k8s_mcp_server.authoring.resources import Served
from k8s_mcp_server.cluster import ceiling
from k8s_mcp_server.cluster.ceiling import Answers, Ceiling, review_self
from k8s_mcp_server.cluster.client import Answer, ApiClient
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.catalog import Catalog
from k8s_mcp_server.policy.ceiling import Need
from k8s_mcp_server.policy.compile import Policy, read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.roles import read_role
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from tests.support.asking import body, rule
from tests.support.clocks import ManualClock
from tests.support.policies import role_body

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CATALOG = Served.built_in().catalog
NAMESPACES = {name: Namespace(name=name, labels={"team": "a"}) for name in ("team-a", "team-b")}
READ = "get list watch"


class Server:
    """What the API server says that we hold: ``get pods``, or ``get pods in team-a``, or ``get pods called web``."""

    def __init__(self, *rights: str) -> None:
        self.rights = set(rights)
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.clock = ManualClock()
        self.catalog = CATALOG
        self.ceiling = Ceiling(
            Answers(self._holds, clock=self.clock), catalog=lambda: self.catalog, environment=Environment()
        )

    async def _holds(self, need: Need, namespace: str) -> bool:
        if self.error is not None:
            raise self.error
        called = "".join(f" called {name}" for name in need.names)
        words = [f"{need}{called}", *([f"{need}{called} in {namespace}"] if namespace else [])]
        self.asked.append(words[-1])
        return not self.rights.isdisjoint(words)

    async def compare(
        self, *rules: dict[str, Any], previous: dict[str, Any] | None = None, namespaces: Any = NAMESPACES
    ) -> tuple[str, str, str]:
        return await self.compare_policy(read_policy(body("p", *rules)), previous=previous, namespaces=namespaces)

    async def compare_policy(
        self, policy: Policy, *, previous: dict[str, Any] | None = None, namespaces: Any = NAMESPACES
    ) -> tuple[str, str, str]:
        found = await self.ceiling.compare(policy, namespaces=namespaces, previous=previous or {})
        assert found.type == "WithinServerRBAC"
        return found.state.value, found.reason, found.message


POD_READS = ("get pods", "list pods", "watch pods")


@pytest.mark.parametrize(
    ("rights", "given", "status", "message"),
    [
        pytest.param(POD_READS, rule(READ), "True", "holds everything", id="held everywhere"),
        pytest.param(
            [f"{right} in team-a" for right in POD_READS], rule(READ), "True", "holds everything", id="held where asked"
        ),
        pytest.param(
            [f"{right} in team-a" for right in POD_READS],
            rule(READ, name="read", namespaces=["team-*"]),
            "False",
            "read lacks get pods in team-b, list pods in team-b, watch pods in team-b",
            id="held in one of two namespaces",
        ),
        pytest.param(
            ["get pods"],
            rule("get delete", name="tidy"),
            "False",
            "tidy lacks delete pods in team-a",
            id="a missing verb",
        ),
        pytest.param([], rule("get", "pods/log"), "False", "lacks get pods/log", id="a missing subresource"),
        pytest.param([], rule("get", "deployments", groups="apps"), "False", "deployments.apps", id="of a group"),
        pytest.param(
            ["get pods", "get deployments.apps"],
            rule("get", "pods deployments", groups="- apps"),
            "True",
            "",
            id="what no group serves is not needed",
        ),
        pytest.param(
            ["get pods/log"], rule("get create", "pods/log"), "True", "", id="nor a verb that is not answered"
        ),
        pytest.param(["get pods"], rule("get", "pods nodes"), "True", "", id="nor what belongs to no namespace"),
        pytest.param([], rule("get", "nodes", clusterScoped=True), "False", "lacks get nodes", id="cluster-scoped"),
        pytest.param(["get nodes"], rule("get", "nodes pods", clusterScoped=True), "True", "", id="and held"),
        pytest.param([], rule("create", "selfsubjectaccessreviews"), "True", "", id="not served in that group"),
        pytest.param(
            [], rule("deletecollection", "pods", resourceNames=["web"]), "True", "", id="given by no rule with names"
        ),
        pytest.param(
            ["get pods called web"], rule("get", resourceNames=["web"]), "True", "", id="held for the very object"
        ),
        pytest.param(
            ["get pods called web"], rule("get", resourceNames=["web", "db"]), "False", "get pods", id="not for all"
        ),
        pytest.param(
            ["list pods called web"],
            rule("list", resourceNames=["web"]),
            "False",
            "list pods",
            id="a list is asked for in full",
        ),
        pytest.param([], rule("get", resourceNames=["web-*"]), "Unknown", "not all of get pods", id="a glob of names"),
        pytest.param(["* pods"], rule("*"), "True", "", id="a wildcard that is held"),
        pytest.param(
            ["get pods"],
            rule("*", name="all"),
            "Unknown",
            "all: not all of * pods in team-a",
            id="a wildcard that is not",
        ),
        pytest.param(POD_READS, rule("get", "*"), "Unknown", "not all of get *", id="every resource"),
        pytest.param([], rule("get", "pods/*"), "Unknown", "get pods/*", id="every subresource"),
        pytest.param([], rule("get", "*/scale"), "Unknown", "get */scale", id="of every resource"),
        pytest.param(POD_READS, rule("get", "pods", groups="*"), "Unknown", "get pods.*", id="every group"),
        pytest.param([], rule("get", "releases", groups="helm.sh"), "Unknown", "get releases.helm.sh", id="virtual"),
        pytest.param(
            [], {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, "False", "lacks get /metrics", id="a path"
        ),
        pytest.param(["get /metrics"], {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, "True", "", id="held"),
        pytest.param([], {"nonResourceURLs": ["/logs/*"], "verbs": ["get"]}, "Unknown", "get /logs/*", id="paths"),
        pytest.param(
            [], rule("get", name="later", namespaces=["team-z"]), "Unknown", "later reaches no namespace", id="nowhere"
        ),
        pytest.param(
            ["get pods"], {"namespaces": ["team-a"], "fromRBAC": True}, "Unknown", "* *.*", id="the client's own rights"
        ),
        pytest.param([], rule("impersonate", "serviceaccounts"), "True", "", id="what is never given"),
    ],
)
async def test_a_policy_stands_to_the_server_s_rights(
    rights: list[str], given: dict[str, Any], status: str, message: str
) -> None:
    found = await Server(*rights).compare(given)
    assert found[0] == status, found
    assert message in found[2]


async def test_a_missing_right_counts_for_more_than_a_wildcard() -> None:
    found = await Server().compare(rule("*", name="all"), rule("get", name="read"))
    assert found == ("False", "MissingRights", "read lacks get pods in team-a; policy rbac prints the roles")


async def test_of_a_role_only_what_it_gives_is_asked_about() -> None:
    parts = {"apiGroups": [""], "resources": ["pods", "pods/exec", "secrets"], "verbs": ["get", "create"]}
    follows = {"namespaces": ["team-a"], "roleRef": {"kind": "ClusterRole", "name": "edit"}}
    snapshot = Snapshot.build([], [], [read_role(role_body("edit", parts))])
    server = Server("get pods", "create pods", "create secrets")
    found = await server.compare_policy(snapshot.following(read_policy(body("p", follows))))
    assert found[0] == "True", found
    assert not any("exec" in question or question == "get secrets" for question in server.asked)


async def test_an_invalid_policy_is_not_asked_about() -> None:
    server = Server()
    assert (await server.compare_policy(read_policy({"metadata": {"name": "p"}})))[:2] == ("Unknown", "InvalidSpec")
    assert not server.asked


async def test_of_many_namespaces_twenty_are_asked_about() -> None:
    many = {f"team-{n:02}": Namespace(name=f"team-{n:02}", labels={}) for n in range(21)}
    held = [f"get pods in team-{n:02}" for n in range(20)]
    server = Server(*held)
    found = await server.compare(rule("get", name="read", namespaces=["team-*"]), namespaces=many)
    assert found == ("Unknown", "NotAllChecked", "read: only 20 of 21 namespaces were asked about")
    assert len(server.asked) == 21


async def test_a_policy_that_lacks_much_is_not_asked_about_to_its_end() -> None:
    server = Server()
    resources = "pods services configmaps events endpoints secrets serviceaccounts"
    found = await server.compare(rule("get list watch", resources, name="read"))
    assert found[0] == "False"
    assert "and 8 more" in found[2]
    assert len(server.asked) == 2 * 12


async def test_answers_are_kept_for_a_minute_and_shared() -> None:
    server = Server("get pods")
    await server.compare(rule("get"))
    await server.compare(rule("get", name="other", namespaces=["team-b"]))
    assert server.asked == ["get pods"]
    server.rights.clear()
    server.clock.advance(60)
    assert (await server.compare(rule("get")))[0] == "False"


async def test_while_the_api_server_does_not_answer_what_was_found_before_stands() -> None:
    server = Server("get pods")
    server.error = Unavailable("down")
    assert (await server.compare(rule("get"))) == ("Unknown", "NotAsked", "down")
    before = {"type": "WithinServerRBAC", "status": "False", "reason": "MissingRights", "message": "some"}
    about_this = {"conditions": [{**before, "observedGeneration": 3}]}
    assert (await server.compare(rule("get"), previous=about_this)) == ("False", "MissingRights", "some")
    about_another = {"conditions": [{**before, "observedGeneration": 2}]}
    assert (await server.compare(rule("get"), previous=about_another))[1] == "NotAsked"


async def test_there_are_only_so_many_questions_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "QUESTIONS_AT_ONCE", 2.0)
    monkeypatch.setattr(ceiling, "QUESTIONS_A_SECOND", 1.0)
    server = Server(*POD_READS)
    assert (await server.compare(rule(READ)))[1] == "NotAsked"
    assert len(server.asked) == 2
    server.clock.advance(1)
    assert (await server.compare(rule(READ)))[0] == "True"


async def test_a_resource_that_comes_to_be_served_is_asked_about() -> None:
    server = Server()
    server.catalog = Catalog(item for item in CATALOG if item.group != "apps")
    assert (await server.compare(rule("get", "deployments", groups="apps")))[0] == "True"
    server.catalog = CATALOG
    assert (await server.compare(rule("get", "deployments", groups="apps")))[0] == "False"


class Api:
    """Answers one review."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.status = status
        self.body: dict[str, Any] = {}

    async def request(self, method: str, path: str, *, body: dict[str, Any]) -> Answer:
        assert (method, path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        self.body = body
        return Answer(
            status=201, body=b'{"status": %s}' % str(self.status).lower().replace("'", '"').encode(), headers={}
        )


@pytest.mark.parametrize(
    ("need", "namespace", "spec"),
    [
        pytest.param(
            Need(verb="get", group="apps", resource="deployments", subresource="scale", names=("web",)),
            "team-a",
            {
                "resourceAttributes": {
                    "verb": "get",
                    "group": "apps",
                    "resource": "deployments",
                    "subresource": "scale",
                    "namespace": "team-a",
                    "name": "web",
                }
            },
            id="a resource",
        ),
        pytest.param(
            Need(verb="get", path="/metrics"),
            "",
            {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}},
            id="a path",
        ),
    ],
)
async def test_the_question_has_every_attribute(need: Need, namespace: str, spec: dict[str, Any]) -> None:
    api = Api({"allowed": True})
    assert await review_self(cast("ApiClient", api), need, namespace)
    assert (api.body["kind"], api.body["spec"]) == ("SelfSubjectAccessReview", spec)
    assert not await review_self(cast("ApiClient", Api({"allowed": False})), need, namespace)
