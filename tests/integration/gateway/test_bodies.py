"""The gateway decides by the URL: the API server itself refuses, or does not follow, a body that says otherwise."""

from __future__ import annotations

import gzip
import json
import uuid
from typing import Any

import pytest

from tests.support.gateway_site import Rig, apply, configmap, pod
from tests.support.raw_http import RawClient, request

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]

CORE = "/api/v1/namespaces/{team}"
APPS = "/apis/apps/v1/namespaces/{team}"
JSON, MERGE, JSON_PATCH = "application/json", "application/merge-patch+json", "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
OTHER = {"namespace": "{other}"}


def named(kind: str, name: str, *, version: str = "v1", namespace: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


CONTRADICTIONS = [
    pytest.param(
        "POST",
        f"{CORE}/configmaps",
        JSON,
        named("ConfigMap", "x", namespace="{other}"),
        id="create elsewhere",
    ),
    pytest.param("POST", f"{CORE}/configmaps", JSON, named("Secret", "x"), id="create another kind"),
    pytest.param(
        "POST",
        f"{CORE}/configmaps",
        JSON,
        named("RoleBinding", "x", version="rbac.authorization.k8s.io/v1"),
        id="create a kind of another group",
    ),
    pytest.param(
        "PUT",
        f"{CORE}/configmaps/settings",
        JSON,
        named("ConfigMap", "settings", namespace="{other}", data={"a": "changed"}),
        id="replace in another namespace",
    ),
    pytest.param(
        "PUT",
        f"{CORE}/configmaps/settings",
        JSON,
        named("ConfigMap", "kube-root-ca.crt", data={"a": "changed"}),
        id="replace under another name",
    ),
    pytest.param(
        "PUT", f"{CORE}/configmaps/settings", JSON, named("Secret", "password", data={}), id="replace another kind"
    ),
    pytest.param(
        "PATCH", f"{CORE}/configmaps/settings", MERGE, {"metadata": OTHER, "data": {"a": "x"}}, id="patch the namespace"
    ),
    pytest.param(
        "PATCH",
        f"{CORE}/configmaps/settings",
        MERGE,
        {"metadata": {"name": "y"}, "data": {"a": "x"}},
        id="patch the name",
    ),
    pytest.param("PATCH", f"{CORE}/configmaps/settings", MERGE, {"kind": "Secret"}, id="patch the kind"),
    pytest.param(
        "PATCH",
        f"{CORE}/configmaps/settings",
        JSON_PATCH,
        [{"op": "replace", "path": "/metadata/namespace", "value": "{other}"}],
        id="patch the namespace by a JSON patch",
    ),
    pytest.param(
        "PATCH",
        f"{CORE}/configmaps/settings?fieldManager=test&force=true",
        APPLY,
        named("ConfigMap", "settings", namespace="{other}", data={"a": "changed"}),
        id="apply to another namespace",
    ),
    pytest.param(
        "PATCH",
        f"{CORE}/configmaps/settings?fieldManager=test&force=true",
        APPLY,
        named("ConfigMap", "other", data={"a": "changed"}),
        id="apply to another name",
    ),
    pytest.param(
        "POST",
        f"{CORE}/pods/web/eviction",
        JSON,
        named("Eviction", "spare", version="policy/v1"),
        id="evict another pod",
    ),
    pytest.param(
        "POST",
        f"{CORE}/pods/web/eviction",
        JSON,
        named("Eviction", "web", version="policy/v1", namespace="{other}"),
        id="evict a pod of another namespace",
    ),
    pytest.param(
        "POST",
        f"{CORE}/serviceaccounts/default/token",
        JSON,
        named("TokenRequest", "other", version="authentication.k8s.io/v1", spec={"audiences": ["a"]}),
        id="a token of another account",
    ),
    pytest.param(
        "PUT",
        f"{APPS}/deployments/app/scale",
        JSON,
        named("Scale", "app", version="autoscaling/v1", namespace="{other}", spec={"replicas": 7}),
        id="scale in another namespace",
    ),
    pytest.param(
        "PATCH",
        f"{APPS}/deployments/app/scale",
        MERGE,
        {"metadata": {"name": "spare"}, "spec": {"replicas": 7}},
        id="scale another one by a patch",
    ),
]


@pytest.mark.parametrize(("method", "target", "content_type", "body"), CONTRADICTIONS)
async def test_a_body_that_contradicts_its_url_reaches_nothing_but_what_the_url_names(
    rig: Rig, method: str, target: str, content_type: str, body: Any
) -> None:
    site = rig.site
    for namespace in (site.team, site.other):
        apply(site.cluster, *bystanders(namespace))
    before = state(rig)
    text = json.dumps(body).replace("{other}", site.other)
    async with await RawClient.connect(rig.gateway.port, rig.gateway.ca_pem) as client:
        await client.send(
            request(
                method,
                target.replace("{team}", site.team),
                token=rig.session.token,
                headers=(f"Content-Type: {content_type}", "Accept: application/json"),
                body=text.encode(),
            )
        )
        answer = await client.response()
    assert rig.session.requests_denied == 0, "the gateway decided by more than the URL"
    assert 400 <= answer.status < 500, answer.body[:400]
    assert state(rig) == before


def bystanders(namespace: str) -> list[dict[str, Any]]:
    """What a request that goes astray could reach."""
    labels = {"app": "app"}
    template = {"metadata": {"labels": labels}, "spec": pod("", "")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return [
        *(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {**spec, "paused": True, "replicas": 0},
            }
            for name in ("app", "spare")
        ),
        pod("spare", namespace),
        configmap("settings", namespace),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": namespace}},
    ]


def state(rig: Rig) -> dict[str, Any]:
    """What there is in both namespaces, without what controllers write by themselves."""
    found = {}
    for namespace in (rig.site.team, rig.site.other):
        kinds = "pods,configmaps,secrets,serviceaccounts,rolebindings.rbac.authorization.k8s.io,deployments"
        listing = json.loads(rig.site.cluster.kubectl("get", kinds, "-n", namespace, "-o", "json").stdout)
        for item in listing["items"]:
            metadata = item["metadata"]
            seen = {key: item.get(key) for key in ("data", "spec")} | {"deleted": metadata.get("deletionTimestamp")}
            if item["kind"] == "Pod":  # the scheduler fills in the node
                seen["spec"] = None
            found[f"{namespace}/{item['kind']}/{metadata['name']}"] = seen
    return found


@pytest.mark.parametrize(
    ("target", "compressed"),
    [
        pytest.param("/api/v1/namespaces/{team}/configmaps", True, id="an exact list as the API server sent it"),
        pytest.param("/api/v1/configmaps", False, id="a cut list plain"),
    ],
)
async def test_a_compressed_answer_arrives_readable(rig: Rig, *, target: str, compressed: bool) -> None:
    name = f"large-{uuid.uuid4().hex[:6]}"
    large = {**configmap(name, rig.site.team), "data": {"a": "x" * 200_000}}  # above the API server's limit for gzip
    rig.site.cluster.kubectl("create", "-f", "-", input=json.dumps(large))
    async with await RawClient.connect(rig.gateway.port, rig.gateway.ca_pem) as client:
        headers = ("Accept-Encoding: gzip", "Accept: application/json")
        target = target.replace("{team}", rig.site.team)
        await client.send(request("GET", target, token=rig.session.token, headers=headers))
        answer = await client.response()
    rig.site.cluster.kubectl("delete", "configmap", name, "-n", rig.site.team)
    assert (answer.headers.get("content-encoding") == "gzip") is compressed
    body = gzip.decompress(answer.body) if compressed else answer.body
    assert name in [item["metadata"]["name"] for item in json.loads(body)["items"]]
