"""What is piped into the commands of the vocabulary, by name."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devtools.vocabulary.objects import Manifest, manifest, selecting, template

_RBAC = "rbac.authorization.k8s.io/v1"


def manifests(mark: str) -> dict[str, str]:
    """Every text; ``mark`` makes names unique that no namespace holds apart."""
    documents = {**_in_a_namespace(f"eq-{mark}"), **_in_the_cluster(mark), **_wrong()}
    return {name: json.dumps(item) for name, item in documents.items()} | {"not-yaml": "a: b: c", "text": "hello\n"}


def _in_a_namespace(namespace: str) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    reader = manifest(_RBAC, "Role", "reconciled", rules=rules)
    reader["metadata"]["namespace"] = namespace
    several = [manifest("v1", "ConfigMap", name, data={"a": name}) for name in ("first", "second", "third")]
    for item in several:
        item["metadata"]["labels"] = {"set": "several"}
    return {
        "configmap-settings": manifest("v1", "ConfigMap", "settings", data={"a": "1"}),
        "configmap-made": manifest("v1", "ConfigMap", "made", data={"a": "1"}),
        "configmap-made-again": manifest("v1", "ConfigMap", "made", data={"a": "2", "z": "9"}),
        "configmap-none": manifest("v1", "ConfigMap", "none", data={"a": "1"}),
        "role": reader,
        "role-nowhere": manifest(_RBAC, "Role", "reconciled", rules=rules),
        "several": _list(several),
        "several-less": _list(several[:2]),
        "statefulset": manifest("apps/v1", "StatefulSet", "queue", spec=selecting("queue", serviceName="queue")),
    }


def _in_the_cluster(mark: str) -> dict[str, Any]:
    node = manifest("v1", "Node", f"node-{mark}", status={"allocatable": {"cpu": "8", "memory": "8Gi", "pods": "9"}})
    node["metadata"]["annotations"] = {"kwok.x-k8s.io/node": "fake"}
    placed = manifest("v1", "Pod", "placed", spec={**template("placed")["spec"], "nodeName": f"node-{mark}"})
    request = {
        "request": base64.b64encode(_signing_request()).decode(),
        "signerName": "example.com/signer",
        "usages": ["client auth"],
    }
    volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/none"}}
    return {
        "node": node,
        "pod-on-node": placed,
        "signing-request": manifest("certificates.k8s.io/v1", "CertificateSigningRequest", f"csr-{mark}", spec=request),
        "volume": manifest("v1", "PersistentVolume", f"volume-{mark}", spec=volume),
        "definition": _definition(f"things-{mark}"),
    }


def _wrong() -> dict[str, Any]:
    elsewhere = manifest("v1", "ConfigMap", "elsewhere")
    elsewhere["metadata"]["namespace"] = "elsewhere"
    return {
        "unknown-kind": manifest("v1", "Nothing", "none"),
        "unknown-field": manifest("v1", "ConfigMap", "typo", dta={"a": "1"}),
        "invalid-pod": manifest("v1", "Pod", "Bad_Name", spec={"containers": []}),
        "wrong-namespace": elsewhere,
    }


def _list(items: list[Manifest]) -> Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _definition(plural: str) -> Manifest:
    schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "kind": "Thing" + plural.replace("-", "")}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return manifest("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.example.com", spec=spec)


def _signing_request() -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return signed.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM
    )
