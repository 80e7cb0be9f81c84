"""What wildcards never give, what nobody ever gets, and what starts a workload.

Each table is one set of rules; the functions below only read them. ``*`` stands for every resource or subresource.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.request import RequestInfo

OUR_GROUP = "k8s-mcp.io"

READING_VERBS = frozenset({"get", "list", "watch"})
COLLECTION_READS = frozenset({"list", "watch"})
NAMELESS_VERBS = frozenset({"create", "deletecollection"})  # resourceNames never match these, as in RBAC

# A rule gives these only when it names verb's resource and group literally.

SENSITIVE_VERBS = frozenset({"escalate", "bind", "approve", "sign"})

SENSITIVE_SUBRESOURCES = frozenset({"finalize", "finalizers"})  # of every resource

SENSITIVE_GROUPS = frozenset(  # reading and writing
    {
        "rbac.authorization.k8s.io",
        "certificates.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
    }
)

SENSITIVE_GROUPS_TO_WRITE = frozenset(
    {
        "apiextensions.k8s.io",
        "admissionregistration.k8s.io",
        "apiregistration.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "storage.k8s.io",
        "scheduling.k8s.io",
        "argoproj.io",
    }
)

SENSITIVE_RESOURCES = frozenset(  # group, resource, subresource: every verb
    {
        ("", "serviceaccounts", "token"),
        ("", "pods", "exec"),
        ("", "pods", "attach"),
        ("", "pods", "portforward"),
        ("", "pods", "proxy"),
        ("", "pods", "ephemeralcontainers"),
        ("", "pods", "binding"),
        ("", "bindings", ""),  # the older way to write pods/binding
        ("", "services", "proxy"),
        ("helm.sh", "releases", "content"),
        ("istioctl.istio.io", "proxysecrets", ""),
        ("istioctl.istio.io", "tokens", ""),
    }
)

SENSITIVE_RESOURCES_TO_WRITE = frozenset(  # group, resource: with its subresources
    {
        ("", "serviceaccounts"),
        ("", "namespaces"),
        ("", "nodes"),
        ("", "persistentvolumes"),
    }
)

# A Secret is read by every verb whose answer can hold it: a patch that changes nothing and a delete that waits for a
# finalizer (also with dryRun=All) return the object. Its create and update return what the client sent.
SECRET_READING_VERBS = READING_VERBS | {"patch", "delete", "deletecollection"}

# Never, whoever asks.

# What serves our group: mcpaccesspolicies.k8s-mcp.io, v1alpha1.k8s-mcp.io. Whoever writes these writes policies.
_OUR_DEFINITIONS = frozenset(
    {
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("apiregistration.k8s.io", "apiservices"),
    }
)

REVIEWS_ABOUT_OTHERS = frozenset(
    {
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
    }
)

# The API server would answer these for this server's own account: the gateway answers them for the client.
REVIEWS_ABOUT_ONESELF = frozenset(
    {
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
    }
)

# Pods and every built-in kind with a pod template.

WORKLOAD_VERBS = frozenset({"create", "update", "patch"})

WORKLOADS = frozenset(  # group, resource, subresource: scale and status carry no template
    {
        ("", "pods", ""),
        ("", "pods", "ephemeralcontainers"),
        ("", "podtemplates", ""),
        ("", "replicationcontrollers", ""),
        ("apps", "deployments", ""),
        ("apps", "replicasets", ""),
        ("apps", "statefulsets", ""),
        ("apps", "daemonsets", ""),
        ("apps", "controllerrevisions", ""),  # a rollback copies its template
        ("batch", "jobs", ""),
        ("batch", "cronjobs", ""),
    }
)

POD_SECURITY_LABEL = "pod-security.kubernetes.io/enforce"
POD_SECURITY_ENFORCED = frozenset({"baseline", "restricted"})


def is_writing(verb: str) -> bool:
    """Whether the verb is anything but get, list and watch."""
    return verb not in READING_VERBS


def is_sensitive(request: RequestInfo) -> bool:
    """Whether only a rule that names the resource literally gives this resource request."""
    group, resource, subresource, verb = request.api_group, request.resource, request.subresource, request.verb
    return (
        verb in SENSITIVE_VERBS
        or request.upgrade
        or group in SENSITIVE_GROUPS
        or subresource in SENSITIVE_SUBRESOURCES
        or (group, resource, subresource) in SENSITIVE_RESOURCES
        or (not group and _is_sensitive_core(request))
        or (is_writing(verb) and _is_sensitive_write(group, resource))
    )


def _is_sensitive_core(request: RequestInfo) -> bool:
    if request.resource == "nodes":
        return bool(request.subresource)
    return request.resource == "secrets" and request.verb in SECRET_READING_VERBS


def _is_sensitive_write(group: str, resource: str) -> bool:
    return group in SENSITIVE_GROUPS_TO_WRITE or (group, resource) in SENSITIVE_RESOURCES_TO_WRITE


def is_workload_write(request: RequestInfo) -> bool:
    """Whether the request writes a pod or a pod template."""
    return request.verb in WORKLOAD_VERBS and (request.api_group, request.resource, request.subresource) in WORKLOADS


def enforces_pod_security(labels: Mapping[str, str]) -> bool:
    """Whether a namespace with these labels refuses pods that reach the node."""
    return labels.get(POD_SECURITY_LABEL) in POD_SECURITY_ENFORCED


def is_review_about_oneself(request: RequestInfo) -> bool:
    """Whether the client asks what it is or may do; such a request is answered, never forwarded as it is."""
    kind = (request.api_group, request.resource)
    return kind in REVIEWS_ABOUT_ONESELF and request.verb == "create" and not (request.subresource or request.name)


def why_never(request: RequestInfo, environment: Environment) -> str:
    """Why nobody gets this resource request; empty when a policy may give it."""
    kind = (request.api_group, request.resource)
    if request.verb == "impersonate":
        return "impersonation is never allowed"
    if kind in REVIEWS_ABOUT_OTHERS:
        return "reviews about other identities are never allowed"
    if kind in REVIEWS_ABOUT_ONESELF and not is_review_about_oneself(request):
        return "a review about oneself is created, and nothing else"
    if kind == ("", "serviceaccounts") and request.subresource == "token":
        return _why_no_token(request, environment)
    return _why_not_written(request)


def _why_no_token(request: RequestInfo, environment: Environment) -> str:
    if request.audiences is None:
        return "a token request is allowed only when its audiences can be read"
    if environment.audience in request.audiences:
        return "tokens for this service itself are never issued through it"
    return ""


def _why_not_written(request: RequestInfo) -> str:
    if not is_writing(request.verb):
        return ""
    if request.api_group == OUR_GROUP:
        return "access policies are never written through this service"
    if (request.api_group, request.resource) in _OUR_DEFINITIONS and _may_be_ours(request):
        return "the definition of access policies is never written through this service"
    return ""


def _may_be_ours(request: RequestInfo) -> bool:
    """Whether the name is that of our CRD or APIService, or the request is about all of them."""
    return request.verb == "deletecollection" or request.name.endswith(f".{OUR_GROUP}")
