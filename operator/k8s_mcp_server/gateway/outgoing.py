"""The head of the request that the API server gets: written by us, from an allow list."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.connection import ApiServer
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.target import Target

EXTRA_KEY: Final = "k8s-mcp.io/client"
COMMANDS_GROUP: Final = "k8s-mcp.io:commands"
"""What commands' requests have and our own have not: ``manifests/base/flow-control.yaml`` tells them apart by it."""
_LONGEST_USER_AGENT: Final = 256
_PRODUCT: Final = re.compile(r"[\w.-]{1,32}(?:/[\w.+-]{1,32})?(?= |$)", re.ASCII)  # RFC 9110 section 10.1.5
_PRINTABLE: Final = "".join(set(string.punctuation) - {"%"})

# What a CLI may say for itself. Never: Authorization, Impersonate-*, X-Remote-*, X-Forwarded-*, Audit-ID, Cookie, and
# all that nobody has thought of yet.
_FORWARDED: Final = frozenset(
    {
        "accept", "accept-encoding", "content-type", "if-match", "if-none-match", "sec-websocket-extensions",
        "sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version", "x-stream-protocol-version",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Whom the API server's audit log, webhooks and admission policies see.

    The request acts as our own ServiceAccount, by impersonating it, which leaves our rights as they are and lets us add
    the client as an extra field, and a group that no role is bound to. Who names a group has to name all: the API
    server adds a ServiceAccount's own only where none is named
    (k8s.io/apiserver/pkg/endpoints/filters/impersonation/impersonation.go).

    Args:
        service_account: our own username, ``system:serviceaccount:<namespace>:<name>``.
        client: the client's username.
        command_id: joins all requests of a command.
        audit_id: joins our record with the API server's audit event.
    """

    service_account: str
    client: str
    command_id: str
    audit_id: str

    def user_agent(self, program: str) -> str:
        """A ``User-Agent`` that names the CLI first, and then the client before anything that could push it out.

        The API server makes a field manager of what it begins with where the CLI gives none
        (k8s.io/apiserver/pkg/endpoints/handlers/create.go, ``managerOrUserAgent``).
        """
        product = _PRODUCT.match(program)
        first = product[0] if product else ""
        client = quote(self.client, safe=_PRINTABLE)
        words = (first, client, f"command/{self.command_id}", program.removeprefix(first).lstrip())
        return " ".join(filter(None, words))[:_LONGEST_USER_AGENT]

    def fields(self, user_agent: str) -> list[tuple[str, str]]:
        """Header fields that carry it."""
        return [
            ("Impersonate-User", self.service_account),
            *(("Impersonate-Group", group) for group in self._groups()),
            (f"Impersonate-Extra-{quote(EXTRA_KEY, safe='')}", quote(self.client, safe=_PRINTABLE)),
            ("User-Agent", self.user_agent(user_agent)),
            ("Audit-ID", self.audit_id),
        ]

    def _groups(self) -> tuple[str, ...]:
        # The first two are every ServiceAccount's: k8s.io/apiserver/pkg/authentication/serviceaccount/util.go.
        namespace = self.service_account.split(":")[2]
        return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", COMMANDS_GROUP)


def encode_head(
    head: RequestHead,
    *,
    target: Target,
    overrides: dict[str, str],
    content_length: int | None,
    attribution: Attribution,
    api_server: ApiServer,
) -> bytes:
    """The bytes of the forwarded request's head.

    Args:
        head: what the client sent.
        target: what was decided on.
        overrides: forwarded header fields to replace; an empty value drops the field.
        content_length: of the body that follows; None for chunked, 0 for none.
        attribution: who asks.
        api_server: gives Host and the token.

    Raises:
        Unavailable: the service's own token cannot be read.
    """
    fields = [("Host", api_server.authority), ("Authorization", f"Bearer {api_server.token()}")]
    fields += attribution.fields(head.headers.get("user-agent"))
    fields += [(name, value) for name, value in head.headers if name in _FORWARDED and name not in overrides]
    fields += [(name, value) for name, value in overrides.items() if value]
    if head.upgrade:
        fields += [("Connection", "Upgrade"), ("Upgrade", head.headers.get("upgrade"))]
    if content_length is None:
        fields.append(("Transfer-Encoding", "chunked"))
    elif content_length or head.method in {"POST", "PUT", "PATCH"}:
        fields.append(("Content-Length", str(content_length)))
    lines = [f"{head.method} {target.encode()} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("ascii")
