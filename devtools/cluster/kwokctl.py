"""The files that tell kwokctl how to make a cluster, as data. Format: kwok's `KwokctlConfiguration` v1alpha1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""What makes a cluster one of a release of Kubernetes."""

COMPONENTS = ("etcd", *CONTROL_PLANE, "kwok", "kwokctl", "kubectl")
"""The tools of the catalog that a cluster needs."""

PORTS = (
    "kubeApiserverPort",
    "etcdPort",
    "etcdPeerPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
    "kwokControllerPort",
)
"""The options that name a port. kwokctl looks for free ones by itself, but two at a time find the same."""

_AUDIT_LOG_MEGABYTES = "8192"  # the default, 100, would rotate the log away from tests that read it to the end


Forwards = Mapping[str, Sequence[Mapping[str, object]]]
"""For pods of a namespace: `forwards` of KWOK's PortForward, such as `{"ports": [80], "target": {...}}`."""


def configuration(
    *,
    binaries: Mapping[str, Path],
    ports: Sequence[int],
    audit_policy: Path,
    log_file: Path,
    exec_on_host: bool,
    forwards: Forwards | None = None,
) -> str:
    """Return the configuration of a cluster of local processes, every one bound to 127.0.0.1.

    It names every binary, so kwokctl has nothing to download.
    """
    options: dict[str, Any] = {
        "runtime": "binary",
        "bindAddress": "127.0.0.1",
        "kubeAuditPolicy": str(audit_policy),
        "etcdBinary": str(binaries["etcd"]),
        "kubeApiserverBinary": str(binaries["kube-apiserver"]),
        "kubeControllerManagerBinary": str(binaries["kube-controller-manager"]),
        "kubeSchedulerBinary": str(binaries["kube-scheduler"]),
        "kwokControllerBinary": str(binaries["kwok"]),
        "kubectlBinary": str(binaries["kubectl"]),
        **dict(zip(PORTS, ports, strict=True)),
    }
    maximum = {"key": "audit-log-maxsize", "value": _AUDIT_LOG_MEGABYTES}
    kwokctl = _document(
        "config.kwok.x-k8s.io/v1alpha1",
        "KwokctlConfiguration",
        options=options,
        componentsPatches=[{"name": "kube-apiserver", "extraArgs": [maximum]}],
    )
    return "\n---\n".join(
        [kwokctl, *_forwards(forwards or {}), *_streams(log_file=log_file, exec_on_host=exec_on_host)]
    )


def audit_policy() -> str:
    """Return an audit policy that logs who did what for every request, once, when it is answered."""
    return _document("audit.k8s.io/v1", "Policy", omitStages=["RequestReceived"], rules=[{"level": "Metadata"}])


def _forwards(forwards: Forwards) -> list[str]:
    """Return where port-forwards to the pods of single namespaces lead; they come before the one for all others."""
    return [
        _document(
            "kwok.x-k8s.io/v1alpha1",
            "ClusterPortForward",
            metadata={"name": namespace},
            spec={"selector": {"matchNamespaces": [namespace]}, "forwards": list(targets)},
        )
        for namespace, targets in forwards.items()
    ]


def _streams(*, log_file: Path, exec_on_host: bool) -> list[str]:
    """Return what simulated pods answer: `logs` and `attach` give `log_file`, `port-forward` echoes.

    These kinds are in the configuration, not CRDs of the API server: they hold from the first second, and nobody who
    may write objects of the cluster can have commands run here. KWOK has one way to answer `exec`: it runs the
    command on this machine as this user.
    """
    specs: dict[str, dict[str, Any]] = {
        "ClusterLogs": {"logs": [{"logsFile": str(log_file), "follow": False}]},
        "ClusterAttach": {"attaches": [{"logsFile": str(log_file)}]},
        "ClusterPortForward": {"forwards": [{"command": ["/bin/cat"]}]},
    }
    if exec_on_host:
        specs["ClusterExec"] = {"execs": [{"local": {"workDir": str(log_file.parent)}}]}
    return [
        _document("kwok.x-k8s.io/v1alpha1", kind, metadata={"name": "simulated"}, spec=spec)
        for kind, spec in specs.items()
    ]


def container_log() -> str:
    """Return the log of every simulated container, in the format of the container runtime interface."""
    lines = ("simulated container started", "simulated container ready")
    return "".join(f"2026-01-01T00:00:0{second}.000000000Z stdout F {line}\n" for second, line in enumerate(lines))


def _document(api_version: str, kind: str, **fields: object) -> str:
    """A YAML document, written as the subset of it that is JSON."""
    return json.dumps({"apiVersion": api_version, "kind": kind, **fields}, indent=2)
