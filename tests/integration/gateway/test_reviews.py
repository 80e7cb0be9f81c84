"""What kubectl asks about itself is answered for the client."""

from __future__ import annotations

import json

import pytest

from tests.support.gateway_site import (
    AGENT,
    Rig,
)

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        pytest.param(("get", "pods"), "yes", id="allowed"),
        pytest.param(("list", "pods", "-A"), "yes", id="allowed, cut"),
        pytest.param(("get", "pods", "-A"), "no - no policy gives this in all namespaces at once", id="everywhere"),
        pytest.param(("get", "pods", "-n", "{other}"), "no - ", id="another namespace"),
        pytest.param(("get", "secrets"), "no - ", id="sensitive"),
        pytest.param(("create", "pods", "--subresource=exec"), "yes", id="exec"),
        pytest.param(("patch", "deployments", "--subresource=scale"), "yes", id="scale"),
        pytest.param(("list", "nodes"), "no - ", id="cluster-scoped"),
        pytest.param(("get", "namespaces/{team}"), "yes", id="one's namespace"),
        pytest.param(("get", "namespaces/{other}"), "no - ", id="another's namespace"),
        pytest.param(("*", "*"), "no - no policy gives everything", id="everything"),
        pytest.param(("*", "secrets"), "no - ", id="every verb on what is sensitive"),
        pytest.param(("impersonate", "serviceaccounts"), "no - ", id="impersonate"),
        pytest.param(("get", "/version"), "yes", id="discovery"),
        pytest.param(("get", "/metrics"), "no - ", id="metrics"),
        pytest.param(("use", "pods"), "no - the policy allows it, but this service itself may not", id="not our right"),
    ],
)
async def test_can_i_is_answered_for_the_client(rig: Rig, question: tuple[str, ...], answer: str) -> None:
    asked = [item.format(team=rig.site.team, other=rig.site.other) for item in question]
    got = await rig.kubectl("auth", "can-i", *asked)
    assert (got.code, got.stdout.startswith(answer)) == (0 if answer == "yes" else 1, True), got
    assert rig.session.requests_denied == 0


async def test_can_i_list_shows_what_the_policy_allows(rig: Rig) -> None:
    got = await rig.kubectl("auth", "can-i", "--list", "--no-headers")
    assert (got.code, got.stderr) == (0, "")
    lines = {line.split()[0]: line for line in got.stdout.splitlines() if not line.startswith(" ")}
    assert lines["pods"].split("[")[-1] == "get list watch create update patch delete deletecollection]"
    assert lines["pods/exec"].endswith("[get create]")
    assert lines["deployments.apps/scale"].endswith("[get update patch]")
    assert lines["secrets"].endswith("[create update]")  # what cannot show one
    assert not {"nodes", "jobs.batch"} & lines.keys()
    elsewhere = await rig.kubectl("auth", "can-i", "--list", "--no-headers", "-n", rig.site.other)
    assert "pods" not in elsewhere.stdout


async def test_whoami_names_the_client(rig: Rig) -> None:
    got = await rig.kubectl("auth", "whoami", "-o", "json")
    assert (got.code, got.stderr) == (0, "")
    assert json.loads(got.stdout)["status"]["userInfo"] == {"username": AGENT.username}


async def test_a_review_in_json_is_answered_as_one_in_protobuf(rig: Rig) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": rig.site.other, "verb": "get", "resource": "pods"}},
    }
    got = await rig.kubectl("create", "--validate=false", "-f", "-", "-o", "json", stdin=json.dumps(review))
    assert (got.code, got.stderr) == (0, ""), got
    assert json.loads(got.stdout)["status"]["allowed"] is False
    invalid = await rig.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps({**review, "spec": {}}))
    assert "exactly one of" in invalid.stderr
