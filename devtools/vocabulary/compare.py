"""The whole vocabulary, run twice: what each command printed directly and through the gateway, and what it asked."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devtools.argocd.certificate import make_certificate
from devtools.vocabulary.gateway import Asked, RunningGateway, running
from devtools.vocabulary.kubectl import Outcome, Target, run
from devtools.vocabulary.manifests import manifests
from devtools.vocabulary.normalise import normalised
from devtools.vocabulary.reading import ANSWERED, READING, REFUSED
from devtools.vocabulary.site import SIDES, prepared
from devtools.vocabulary.writing import WRITING

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from devtools.vocabulary.site import Site
    from devtools.vocabulary.step import Scenario, Step

_PAIRS: Final = 2  # of processes that run at the same time
_ATTEMPTS: Final = 4  # to read the same from a cluster that moves by itself
_KUSTOMIZATION = "resources: []\nconfigMapGenerator:\n- name: made\n  literals: [a=1]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One command, twice.

    Args:
        direct: straight to the API server; normalised.
        through: through the gateway; normalised.
        asked: the permissions that it needed there.
    """

    step: Step
    direct: Outcome
    through: Outcome
    asked: tuple[Asked, ...]


def compare(cluster: TestCluster, kubectl: Path, *, keep: bool = False) -> list[Compared]:
    """Run every command of the vocabulary both ways.

    Args:
        cluster: where to; what is made there goes again.
        kubectl: the binary.
        keep: leave what is made.

    Raises:
        ClusterError: the cluster could not be prepared.
    """
    with prepared(cluster, keep=keep) as site, tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_compare(site, kubectl=kubectl, folder=Path(folder)))


async def _compare(site: Site, *, kubectl: Path, folder: Path) -> list[Compared]:
    (folder / "kustomization.yaml").write_text(_KUSTOMIZATION, encoding="utf-8")
    for name, text in zip(("tls.crt", "tls.key"), make_certificate(), strict=True):
        (folder / name).write_text(text, encoding="ascii")
    async with running(site, folder) as gateway:
        bench = _Bench(site=site, gateway=gateway, kubectl=kubectl, folder=folder)
        done = await bench.all(READING + REFUSED + ANSWERED, changes=False)
        return done + await bench.all(WRITING, changes=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    site: Site
    gateway: RunningGateway
    kubectl: Path
    folder: Path

    async def all(self, scenarios: tuple[Scenario, ...], *, changes: bool) -> list[Compared]:
        """Every scenario, some at a time; in their order."""
        free = asyncio.Semaphore(_PAIRS)

        async def one(scenario: Scenario) -> list[Compared]:
            async with free:
                return [await self._twice(step, changes=changes) for step in scenario]

        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(one(scenario)) for scenario in scenarios]
        return [item for task in started for item in task.result()]

    async def _twice(self, step: Step, *, changes: bool) -> Compared:
        """Reads meet the same objects, and again when these moved; changes are made to one twin each."""
        for _ in range(1 if changes else _ATTEMPTS):
            direct_side, through_side = SIDES if changes else (SIDES[0], SIDES[0])
            session = self.gateway.open()
            through = Target(
                name=session.command_id,
                server=f"https://127.0.0.1:{self.gateway.gateway.port}",
                ca_file=self._ca_file(),
                token=session.token,
                namespace=self.site.names(through_side)["namespace"],
            )
            direct = Target(
                name=f"{session.command_id}-direct",
                server=self.site.cluster.server_url,
                ca_file=self.site.cluster.ca_file,
                token=self.site.token,
                namespace=self.site.names(direct_side)["namespace"],
            )
            outcomes = await asyncio.gather(
                self._run(step, direct_side, direct), self._run(step, through_side, through)
            )
            asked = tuple(self.gateway.authorizer.asked[session.client.username])
            await self.gateway.gateway.close_session(session)
            compared = Compared(step=step, direct=outcomes[0], through=outcomes[1], asked=asked)
            if compared.direct == compared.through:
                break
        return compared

    async def _run(self, step: Step, side: str, target: Target) -> Outcome:
        names = self.site.names(side)
        outcome = await run(
            self.kubectl,
            step.arguments(**names, folder=str(self.folder)),
            target=target,
            folder=self.folder,
            stdin=manifests(names["mark"]).get(step.manifest, ""),
            until=step.until,
        )
        return normalised(outcome, mark=self.site.mark)

    def _ca_file(self) -> Path:
        path = self.folder / "gateway.pem"
        if not path.exists():
            path.write_text(self.gateway.gateway.ca_pem, encoding="ascii")
        return path
