"""What the policies, namespaces and roles are now, and how old that knowledge is.

Readers in any thread take ``snapshot``, which is immutable and swapped whole, and ``age()``. Only the
operator thread writes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.cluster.objects import Listing, ObjectCache
from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy, carry_denies, read_policy
from k8s_mcp_server.policy.roles import ClusterRole, read_role
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot

logger = logging.getLogger(__name__)


class Resource(StrEnum):
    """The resources that decisions need; roles only while a policy follows one."""

    POLICIES = "mcpaccesspolicies"
    NAMESPACES = "namespaces"
    ROLES = "clusterroles"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyObject:
    """A policy as read, and the status that its object carries; ``digest`` is that of what was read."""

    policy: CompiledPolicy | InvalidPolicy
    status: Mapping[str, Any]
    digest: bytes

    @property
    def follows_roles(self) -> bool:
        """Whether the policy needs roles."""
        return isinstance(self.policy, CompiledPolicy) and self.policy.follows_roles


class PolicyStore:
    """Snapshots of policies, namespaces and roles.

    Args:
        clock: seconds, counting the time that the machine sleeps.
    """

    def __init__(self, *, clock: Callable[[], float] = boot_clock) -> None:
        self._clock = clock
        self._policies: ObjectCache[PolicyObject] = ObjectCache(_read_policy, matters=lambda item: item.policy)
        self._namespaces: ObjectCache[Namespace] = ObjectCache(_read_namespace)
        self._roles: ObjectCache[ClusterRole] = ObjectCache(_read_role)
        self._follows_roles = False
        self._roles_withdrawn = False
        self._subscribers = _Subscribers()
        self._dirty = False
        self._snapshot = Snapshot.empty()
        self._policies_served = True

    @property
    def snapshot(self) -> Snapshot:
        """The newest published snapshot; what it is worth says ``age``."""
        return self._snapshot

    @property
    def policy_objects(self) -> tuple[PolicyObject, ...]:
        """Every policy with its object's status. For the operator thread only."""
        return tuple(self._policies)

    @property
    def policies_served(self) -> bool:
        """Whether the API server served policies when it was last asked; True before that."""
        return self._policies_served

    @property
    def dirty(self) -> bool:
        """Whether something has changed since the last ``publish``."""
        return self._dirty

    def age(self) -> float:
        """Seconds since everything that decisions need was known completely; infinite before the first time.

        Roles count while a policy follows one, unless they cannot be had: then they are known to give nothing.
        """
        times = [self._policies.synced_at, self._namespaces.synced_at]
        if self._follows_roles and not self._roles_withdrawn:
            times.append(self._roles.synced_at)
        known = [at for at in times if at is not None]
        return self._clock() - min(known) if len(known) == len(times) else math.inf

    def listed_version(self, resource: Resource) -> int | None:
        """The resource version of the last LIST, from which a watch misses nothing. Readable from any thread."""
        return self._cache(resource).listed_version

    def counts(self) -> Mapping[str, int]:
        """How many policies of the snapshot are ``valid`` and ``invalid``."""
        policies = self._snapshot.policies.values()
        invalid = sum(isinstance(policy, InvalidPolicy) for policy in policies)
        return {"valid": len(policies) - invalid, "invalid": invalid}

    def subscribe(
        self, callback: Callable[[], None], *, loop: asyncio.AbstractEventLoop | None = None
    ) -> Callable[[], None]:
        """Call ``callback`` after each published change, in the loop given (by default the running one).

        Returns:
            A function that ends the subscription.
        """
        return self._subscribers.add(callback, loop or asyncio.get_running_loop())

    def apply(self, resource: Resource, event_type: str | None, body: Mapping[str, Any]) -> bool:
        """Take one watch event. Says whether anything changed, which ``publish`` then makes visible."""
        changed = self._cache(resource).apply(event_type, body)
        self._dirty |= changed
        return changed

    def replace(self, resource: Resource, listing: Listing) -> frozenset[str]:
        """Take a full LIST as the truth and publish what changed.

        Returns:
            The names of objects that were gone without any event having said so.
        """
        replaced = self._cache(resource).replace(listing)
        self._policies_served |= resource is Resource.POLICIES
        self._roles_withdrawn &= resource is not Resource.ROLES
        self._dirty |= replaced.changed
        self.publish()
        return replaced.dropped

    def forget(self, resource: Resource) -> None:
        """The API server does not serve the resource, or not to us: nothing of it holds.

        Without policies or namespaces nothing can be decided; without roles, the rules that follow one give nothing.
        """
        cache = self._cache(resource)
        self._policies_served &= resource is not Resource.POLICIES
        self._roles_withdrawn |= resource is Resource.ROLES
        if len(cache) or cache.synced_at is not None:
            cache.clear()
            self._publish()

    def publish(self) -> None:
        """Swap the snapshot if anything changed. Nothing is published before both resources were listed in full."""
        self._follows_roles = any(item.follows_roles for item in self._policies)
        if self._dirty and not math.isinf(self.age()):
            self._publish()

    def _publish(self) -> None:
        self._dirty = False
        self._snapshot = Snapshot.build((item.policy for item in self._policies), self._namespaces, self._roles)
        self._subscribers.notify()

    def _cache(
        self, resource: Resource
    ) -> ObjectCache[PolicyObject] | ObjectCache[Namespace] | ObjectCache[ClusterRole]:
        if resource is Resource.ROLES:
            return self._roles
        return self._policies if resource is Resource.POLICIES else self._namespaces


class _Subscribers:
    """Callbacks, each called in its own event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: tuple[_Subscriber, ...] = ()

    def add(self, callback: Callable[[], None], loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        entry = _Subscriber(callback=callback, loop=loop)
        with self._lock:
            self._entries += (entry,)
        return lambda: self._remove([entry])

    def notify(self) -> None:
        closed = [entry for entry in self._entries if not entry.notify()]
        if closed:
            self._remove(closed)

    def _remove(self, gone: Iterable[_Subscriber]) -> None:
        with self._lock:
            self._entries = tuple(entry for entry in self._entries if not any(entry is one for one in gone))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Subscriber:
    callback: Callable[[], None]
    loop: asyncio.AbstractEventLoop

    def notify(self) -> bool:
        try:
            self.loop.call_soon_threadsafe(self.callback)
        except RuntimeError:  # its loop is closed
            return False
        return True


def _read_policy(body: Mapping[str, Any], previous: PolicyObject | None) -> PolicyObject:
    status, digest = body.get("status") or {}, _digest(body)
    if previous is not None and previous.digest == digest:
        return PolicyObject(policy=previous.policy, status=status, digest=digest)  # our own status writes land here
    policy = read_policy(body)
    if previous is not None:
        policy = carry_denies(previous.policy, policy)
    return PolicyObject(policy=policy, status=status, digest=digest)


def _digest(body: Mapping[str, Any]) -> bytes:
    """Of what a policy is read from. Its generation alone does not tell: it is served as the CRD of the moment says."""
    metadata = body["metadata"]
    read = (metadata.get("uid"), metadata.get("generation"), body.get("apiVersion"), body.get("spec"))
    return hashlib.blake2b(json.dumps(read, sort_keys=True).encode(), digest_size=16).digest()


def _read_namespace(body: Mapping[str, Any], previous: Namespace | None) -> Namespace:
    del previous  # a namespace means what it says now
    metadata = body["metadata"]
    return Namespace(name=metadata["name"], labels=dict(metadata.get("labels") or {}))


def _read_role(body: Mapping[str, Any], previous: ClusterRole | None) -> ClusterRole:
    del previous  # nor does a role remember what it gave
    return read_role(body)
