"""Who the client is: which subjects match whom."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.compile import InvalidPolicy, read_policy
from k8s_mcp_server.policy.identity import Authenticator, Client
from tests.support.asking import ask, body, grant, rule

pytestmark = pytest.mark.unit


def account(name: str) -> Client:
    namespace = name.split(":")[2]
    groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"}
    return Client(username=name, groups=frozenset(groups))


def person(username: str = "oidc:ann", *groups: str) -> Client:
    return Client(username=username, groups=frozenset(groups), authenticator=Authenticator.OIDC)


BOT = account("system:serviceaccount:agents:bot")


def names(subject: dict[str, Any], client: Client) -> bool:
    return ask("get pods web -n team-a", grant(rule("get", "pods"), subjects=[subject]), client=client).allowed


def subject(kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "name": name, **({"namespace": namespace} if namespace else {})}


@pytest.mark.parametrize(
    ("wanted", "client", "matches"),
    [
        pytest.param(subject("ServiceAccount", "bot", "agents"), BOT, True, id="an account by namespace and name"),
        pytest.param(subject("ServiceAccount", "bot", "team-a"), BOT, False, id="the same name elsewhere"),
        pytest.param(subject("ServiceAccount", "bo", "agents"), BOT, False, id="the beginning of a name"),
        pytest.param(subject("User", "oidc:ann"), person(), True, id="a user by name"),
        pytest.param(subject("User", "oidc:an"), person(), False, id="the beginning of a user's name"),
        pytest.param(subject("User", "OIDC:ann"), person(), False, id="another case"),
        pytest.param(subject("User", "oidc:*"), person(), True, id="a user by prefix"),
        pytest.param(subject("User", "oidc:ann*"), person(), True, id="a prefix that is the whole name"),
        pytest.param(subject("Group", "oidc:ann"), person(), False, id="a group of the user's name"),
        pytest.param(subject("User", "oidc:team"), person("x", "oidc:team"), False, id="a user of the group's name"),
        pytest.param(subject("Group", "oidc:team"), person("x", "oidc:team"), True, id="a group by name"),
        pytest.param(subject("Group", "oidc:team-*"), person("x", "oidc:team-a"), True, id="a group by prefix"),
        pytest.param(subject("Group", "oidc:team-*"), person("x", "oidc:teams"), False, id="another group"),
        pytest.param(subject("Group", "system:serviceaccounts:agents"), BOT, True, id="the accounts of a namespace"),
        pytest.param(subject("Group", "system:serviceaccounts"), BOT, True, id="all accounts"),
        pytest.param(subject("User", "system:serviceaccount:agents:*"), BOT, True, id="accounts by username"),
    ],
)
def test_a_subject_names_a_client(wanted: dict[str, Any], client: Client, matches: bool) -> None:
    assert names(wanted, client) is matches


@pytest.mark.parametrize(
    "wanted",
    [
        subject("ServiceAccount", "bot", "agents"),
        subject("User", "system:serviceaccount:agents:bot"),
        subject("User", "system:*"),
        subject("User", "s*"),
        subject("Group", "system:serviceaccounts"),
        subject("Group", "system:serviceaccounts:*"),
        subject("Group", "sys*"),
    ],
)
def test_identities_that_no_token_review_proved_match_nothing_of_the_system(wanted: dict[str, Any]) -> None:
    forged = Client(
        username=BOT.username, groups=BOT.groups | {"system:serviceaccounts:agents"}, authenticator=Authenticator.OIDC
    )
    assert not names(wanted, forged)


@pytest.mark.parametrize("pattern", ["system:*", "s*", "system:auth*", "system:m*"])
def test_a_glob_never_matches_the_groups_that_everybody_is_in(pattern: str) -> None:
    client = Client(
        username="x", groups=frozenset({"system:authenticated", "system:masters", "system:unauthenticated"})
    )
    assert not names(subject("Group", pattern), client)


@pytest.mark.parametrize(
    "username", ["system:serviceaccount:agents", "system:serviceaccount::bot", "system:serviceaccount:agents:"]
)
def test_a_malformed_account_name_is_no_account(username: str) -> None:
    assert not names(subject("ServiceAccount", "bot", "agents"), Client(username=username))


def test_any_subject_of_several_matches() -> None:
    several = grant(rule("get", "pods"), subjects=[subject("User", "x"), subject("Group", "oidc:team")])
    assert ask("get pods web -n team-a", several, client=person("oidc:ann", "oidc:team")).allowed


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(subject("ServiceAccount", "bot"), id="an account without a namespace"),
        pytest.param(subject("User", "ann", "agents"), id="a user with a namespace"),
        pytest.param(subject("ServiceAccount", "b*", "agents"), id="an account with a glob"),
        pytest.param(subject("User", "*"), id="a glob without a prefix"),
        pytest.param(subject("Group", "a*b"), id="a glob in the middle"),
        pytest.param(subject("Group", "*-admins"), id="a glob at the beginning"),
        pytest.param(subject("Group", "a**"), id="two stars"),
        pytest.param(subject("Group", ""), id="no name"),
        pytest.param(subject("Group", "a\nb"), id="a line break"),
        pytest.param(subject("Group", "system:authenticated"), id="system:authenticated"),
        pytest.param(subject("Group", "system:unauthenticated"), id="system:unauthenticated"),
        pytest.param(subject("Group", "system:masters"), id="system:masters"),
        pytest.param(subject("Robot", "x"), id="another kind"),
        pytest.param({"kind": "User"}, id="no name at all"),
        pytest.param({**subject("User", "x"), "apiGroup": "rbac.authorization.k8s.io"}, id="an unknown field"),
    ],
)
def test_is_no_subject(wanted: dict[str, Any]) -> None:
    assert isinstance(read_policy(body("p", rule("get", "pods"), subjects=[wanted])), InvalidPolicy)


def test_a_policy_without_subjects_is_invalid() -> None:
    assert isinstance(read_policy(body("p", rule("get", "pods"), subjects=[])), InvalidPolicy)


def test_a_prefix_longer_than_the_name_does_not_match() -> None:
    assert not names(subject("User", "oidc:ann-and-more*"), person("oidc:ann"))
