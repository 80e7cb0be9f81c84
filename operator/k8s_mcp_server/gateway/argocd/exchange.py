"""One call of the argocd command line: whose it is, what it means, may it, and what became of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.argocd.answers import FIELDS, NotVisible, answer_own, relay
from k8s_mcp_server.gateway.argocd.asking import Asking, Denied
from k8s_mcp_server.gateway.argocd.frames import CONTENT_TYPE, Code, header_text, http_status, only_message
from k8s_mcp_server.gateway.argocd.instance import ArgoCD, Call, CallFailed
from k8s_mcp_server.gateway.argocd.messages import Message
from k8s_mcp_server.gateway.argocd.methods import METHODS, NEVER
from k8s_mcp_server.gateway.argocd.plan import Answer, NotOffered, Plan
from k8s_mcp_server.gateway.head import HeadRefused
from k8s_mcp_server.gateway.protobuf import Unreadable
from k8s_mcp_server.gateway.served import Accounting, CurrentCut, ServedRequest, malformed
from k8s_mcp_server.gateway.status import Refused
from k8s_mcp_server.gateway.upstream import UpstreamBroken
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.dry_run import may_change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.policy.request import RequestInfo

AUTHENTICATION_HEADER: Final = "token"
_CODE_OF_REFUSAL: Final = {401: Code.UNAUTHENTICATED, 429: Code.RESOURCE_EXHAUSTED}
_log = logging.getLogger(__name__)


class ArgoCDExchange(ServedRequest):
    """One call and its answer.

    Args:
        accounting: what it is served with.
        instances: of Argo CD, by name; the first is meant where a command names none.
        connection: the client's.
        head: of the request.
        body: of the request, still arriving.
    """

    def __init__(
        self,
        accounting: Accounting,
        *,
        instances: Mapping[str, ArgoCD],
        connection: FrontConnection,
        head: RequestHead,
        body: ByteStream,
    ) -> None:
        super().__init__(accounting, connection=connection, head=head, body=body)
        self._instances = instances
        self._status = 0

    async def serve(self) -> None:
        """Answer the call and record it.

        Raises:
            ConnectionResetError: the client is gone.
        """
        try:
            session = self._authenticate(self._head.headers.get(AUTHENTICATION_HEADER))
            await self._serve(session)
        except Denied as denied:
            self._info = denied.request or self._info
            self._deny(denied.decision)
            self._refuse(Code.PERMISSION_DENIED, denied.decision.advice)
        except CallFailed as failed:
            self._refuse(failed.code, failed.message)
        except Refused as refused:
            self._refuse(_CODE_OF_REFUSAL.get(refused.refusal.code, Code.INTERNAL), refused.refusal.message)
        except Unreadable as error:
            self._refuse_unreadable(error)
        except HeadRefused as error:  # the body, read while the request was being served
            self._deny(malformed(error.message))
            self._refuse(Code.INVALID_ARGUMENT, error.message)
        finally:
            self._end(status=self._status)

    async def _serve(self, session: CommandSession) -> None:
        instance = self._instance(session)
        asking = Asking(
            instance=instance,
            authorizer=self._accounting.authorizer,
            client=session.client,
            tool=session.tool,
            attribution=self._attribution(session),
        )
        plan = await self._understand(asking)
        self._info = plan.required[-1]
        decision = await asking.require(*plan.required)
        self._decision, self._required = decision, plan.required
        if decision.dry_run and not plan.dry_run_field:
            raise Denied(_no_dry_run(decision), self._info)
        session.count(decision)
        if plan.own is not None:
            self._status = http_status(Code.OK)
            await answer_own(plan.own, self._writer)
            return
        await self._forward(session, instance, self._in_mode(session, plan, decision))

    def _instance(self, session: CommandSession) -> ArgoCD:
        found = self._instances.get(session.argocd) if session.argocd else next(iter(self._instances.values()), None)
        if found is None:
            raise Denied(malformed("This service knows no such Argo CD."))
        return found

    async def _understand(self, asking: Asking) -> Plan:
        head = self._head
        if head.method != "POST" or head.headers.get("content-type") != CONTENT_TYPE or head.upgrade:
            raise Denied(malformed("Only calls of Argo CD's API over gRPC-web are offered here."))
        method = METHODS.get(head.target)
        if method is None:
            raise Denied(_not_offered(head.target))
        message = Message(only_message(await self._whole_body()), method.shape)
        return await method.plan(message, asking)

    def _in_mode(self, session: CommandSession, plan: Plan, decision: Decision) -> Plan:
        """The plan as a dry run, where a policy makes it one."""
        if decision.dry_run:
            session.dry_runs += 1
            message = protobuf.without(plan.message, plan.dry_run_field)
            return replace(plan, message=message + protobuf.number_field(plan.dry_run_field, 1))
        if any(map(may_change, plan.required)) and not plan.is_dry:
            session.writes += 1
        return plan

    async def _forward(self, session: CommandSession, instance: ArgoCD, plan: Plan) -> None:
        decision = self._decision
        if decision.cut is not None:
            self._cut = CurrentCut(newest=decision.cut)
        elif decision.verdict is Verdict.FILTERED:
            raise CallFailed(Code.INTERNAL, "The answer cannot be cut to what you may see.")
        else:
            plan = replace(plan, answer=Answer.WHOLE)
        call = Call(
            path=plan.path or self._head.target,
            message=plan.message,
            replayable=not any(map(may_change, plan.required)),
            may_take_long=plan.may_take_long,
        )
        upstream, _ = await instance.open(call, attribution=self._attribution(session))
        try:
            self._status = http_status(Code.OK)
            await relay(upstream, self._writer, plan=plan, see=self._sees(instance))
        except NotVisible as error:
            upstream.abort()
            raise Denied(_none_visible(self._info), self._info) from error
        except (UpstreamBroken, Unreadable) as error:
            upstream.abort()
            _log.warning("an answer of Argo CD %s could not be passed on: %s", instance.name, error)
            raise CallFailed(Code.INTERNAL, f"The answer of Argo CD {instance.name} could not be read.") from error
        except BaseException:
            upstream.abort()
            raise
        instance.release(upstream)

    def _sees(self, instance: ArgoCD) -> Callable[[str], bool]:
        cut = self._cut
        prefix = f"{instance.qualifier}:" if instance.qualifier else ""
        return lambda name: cut is None or cut.allows(namespace="", name=prefix + name)

    def _refuse_unreadable(self, error: Unreadable) -> None:
        refused = malformed(f"The call is refused: {error}.")
        if isinstance(error, NotOffered):
            refused = replace(refused, reason=Reason.NEVER_ALLOWED)
        self._deny(refused)
        is_never = isinstance(error, NotOffered)
        self._refuse(Code.PERMISSION_DENIED if is_never else Code.INVALID_ARGUMENT, refused.message)

    def _refuse(self, code: int, message: str) -> None:
        if self._writer.started:
            self._connection.abort()
            return
        if self._head.expects_continue and not self._body.finished:
            self._connection.close_after_response = True
        self._status = http_status(code)
        fields = [*FIELDS, ("grpc-status", str(int(code))), ("grpc-message", header_text(message))]
        self._writer.begin(200, fields, length=0)
        self._writer.end()


def _not_offered(target: str) -> Decision:
    """The denial of a method that is not on the list."""
    why = NEVER.get(
        target, "`argocd app`, `argocd proj`, `argocd repo list` and `argocd cluster list` are what works here"
    )
    message = f"This call of Argo CD's API is not offered here: {why}."
    return Decision(verdict=Verdict.DENY, reason=Reason.NEVER_ALLOWED, message=message)


def _no_dry_run(decision: Decision) -> Decision:
    message = "A policy allows only dry runs, and this call has none; `argocd app sync` and `app rollback` have one."
    return Decision(verdict=Verdict.DENY, reason=Reason.NO_DRY_RUN, message=message, matched=decision.matched)


def _none_visible(info: RequestInfo | None) -> Decision:
    what = info.resource if info else "objects"
    message = f"There are no such {what}, or no rule gives them to you."
    return Decision(verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED, message=message)
