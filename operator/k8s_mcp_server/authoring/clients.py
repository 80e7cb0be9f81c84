"""How policy commands name clients: as kubectl does for ``--as``, or as a policy's subjects do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.policy.subjects import Subject, SubjectKind

SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_ACCOUNT_FORMS: Final = (SERVICE_ACCOUNT, "serviceaccount:", "sa:")
SOMEONE: Final = "(someone)"  # a client of whom only groups are known
SUBJECT_FORMS: Final = "user:NAME, group:NAME or serviceaccount:NAMESPACE/NAME"


def service_account_client(namespace: str, name: str) -> Client:
    """A ServiceAccount as a TokenReview names it, with the groups that Kubernetes gives it."""
    groups = frozenset({"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"})
    return Client(username=f"{SERVICE_ACCOUNT}{namespace}:{name}", groups=groups)


def client_named(username: str, *, groups: Sequence[str] = ()) -> Client:
    """A client by username, as ``kubectl --as`` takes it, or by ``serviceaccount:NAMESPACE/NAME``; or by groups alone.

    Raises:
        UnusableInput: a ServiceAccount without namespace or name.
    """
    if username.startswith(_ACCOUNT_FORMS):
        _, _, rest = username.removeprefix("system:").partition(":")
        namespace, name = _account(rest, shown=username)
        account = service_account_client(namespace, name)
        return Client(username=account.username, groups=account.groups | frozenset(groups))
    return Client(username=username or SOMEONE, groups=frozenset(groups), authenticator=Authenticator.OIDC)


def parse_subject(text: str) -> Subject:
    """A subject as a policy would name it, from ``group:oidc:team-a`` and the like, or a full ServiceAccount username.

    Raises:
        UnusableInput: none of the forms.
    """
    kind, _, name = text.partition(":")
    if text.startswith(SERVICE_ACCOUNT):
        kind, name = "serviceaccount", text.removeprefix(SERVICE_ACCOUNT)
    if kind.lower() in {"serviceaccount", "sa"}:
        namespace, account = _account(name, shown=text)
        return Subject(kind=SubjectKind.SERVICE_ACCOUNT, namespace=namespace, name=account)
    kinds = {"user": SubjectKind.USER, "group": SubjectKind.GROUP}
    if kind.lower() not in kinds or not name:
        raise UnusableInput(f"{text!r} is no subject: write {SUBJECT_FORMS}")
    return Subject(kind=kinds[kind.lower()], name=name)


def subject_fields(subject: Subject) -> dict[str, Any]:
    """A subject as a policy's ``subjects`` states it."""
    where = {"namespace": subject.namespace} if subject.namespace else {}
    return {"kind": subject.kind.value, **where, "name": subject.name}


def subject_text(subject: Subject) -> str:
    """A subject in a sentence: its name, and for a ServiceAccount what it is."""
    return f"serviceaccount {subject.namespace}/{subject.name}" if subject.namespace else subject.name


def client_of(subject: Subject) -> Client:
    """Some client that this subject names, and of others only those whose glob takes in the same names."""
    if subject.kind is SubjectKind.SERVICE_ACCOUNT:
        return service_account_client(subject.namespace, subject.name)
    if subject.kind is SubjectKind.USER:
        return Client(username=subject.name)
    return Client(username=SOMEONE, groups=frozenset({subject.name}))


def client_text(client: Client) -> str:
    """A client in a sentence."""
    if client.service_account is not None:
        return "serviceaccount {}/{}".format(*client.service_account)
    groups = ", ".join(sorted(client.groups))
    if client.username == SOMEONE:
        return f"a member of {groups}"
    return f"{client.username} (groups: {groups})" if groups else client.username


def _account(text: str, *, shown: str) -> tuple[str, str]:
    separator = "/" if "/" in text else ":"
    namespace, _, name = text.partition(separator)
    if not namespace or not name:
        raise UnusableInput(f"{shown!r} names no ServiceAccount: write serviceaccount:NAMESPACE/NAME")
    return namespace, name
