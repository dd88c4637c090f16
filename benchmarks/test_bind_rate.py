"""Binds per second, end to end on a real API server: nos, kube-scheduler, and Bindings posted blindly.

500 nodes of 8 GPUs, 4,000 Pods of one GPU that wait before the scheduler under test starts. Measured from the first Pod
to the last that a watch of ours shows with a node, so that neither pays for its start; and, beside it, from the start
of the process. Fresh Pods for each; the three take turns, so that what else happens on the machine meets all of them.

What is fair: the same API server, nodes and Pods; kube-scheduler without its client-side limit (QPS 5,000) and packing
by GPU (MostAllocated), as nos does; "blind" is nos's own client with as many requests in flight as the controller has,
under the same user, which decides nothing and watches nothing: the most that this API server takes of it. No kubelet
answers (kwok does not run): to make 4,000 Pods Running is a further write for each, on the same cores, and would level
all three. Events are left as each scheduler has them: kube-scheduler writes them meanwhile, nos afterwards, which is a
part of the difference. The answers are checked: every Pod has a node, no node more than 8, no GPU two Pods.

    pytest benchmarks/test_bind_rate.py
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import on_testbed
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.encode import binding, pod_path
from nos.kube.pod import Pod, decode_pod
from nos.kube.watch import Watch
from nos.testbed import Testbed
from nos.testbed.progress import Progress

NODES, GPUS, ROUNDS = 500, 8, 3
PODS = NODES * GPUS
IN_FLIGHT = 64  # the controller's default
SCHEDULER = """
clientConnection: {qps: 5000, burst: 10000}
profiles:
  - schedulerName: nos-scheduler
    pluginConfig:
      - name: NodeResourcesFit
        args:
          scoringStrategy: {type: MostAllocated, resources: [{name: nvidia.com/gpu, weight: 1}]}
"""


@dataclass(frozen=True)
class Run:
    """In seconds: from the first to the last bind, from the start to that, and of CPU."""

    between: float
    whole: float
    own_cpu: float
    server_cpu: float


Contestant = Callable[[], AbstractContextManager[int]]  # gives its process id
Runs = dict[str, list[Run]]


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    """Nodes and no kubelets; that they are silent for an hour is no reason to give them up."""
    with Testbed(
        kwok=False, scheduler=False, users=on_testbed.USERS, lease_seconds=3600, progress=Progress()
    ) as running:
        on_testbed.grant(running)
        running.add_nodes({f"{GPUS}xH100": NODES})
        registered = "/api/v1/events?fieldSelector=reason%3DRegisteredNode"
        while len(running.api.get(registered)["items"]) < NODES:  # the controller manager is still busy with them
            time.sleep(0.5)
        yield running


def test_bind_rate(testbed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    contestants: dict[str, Contestant] = {
        "nos": lambda: on_testbed.controller(testbed),
        "kube-scheduler": lambda: on_testbed.kube_scheduler(testbed, SCHEDULER),
        "blind": lambda: blind(testbed, plan_of(testbed)),
    }
    runs: Runs = {name: [] for name in contestants}
    for number in range(ROUNDS):
        for name in list(contestants)[number % 3 :] + list(contestants)[: number % 3]:
            runs[name].append(asyncio.run(one_run(testbed, f"{name}-{number}", contestants[name])))
            with capsys.disabled():
                print(f"  round {number} {name:14} {describe(runs[name][-1:])}")
    with capsys.disabled():
        print_table(runs)


async def one_run(testbed: Testbed, name: str, contestant: Contestant) -> Run:
    """Fresh Pods, the contestant, the checks; the Pods are gone afterwards."""
    server = on_testbed.pid_of(testbed, "kube-apiserver")
    async with on_testbed.admin(testbed) as client:
        await on_testbed.create(client, on_testbed.PODS, [on_testbed.pod(f"{name}-{pod}") for pod in range(PODS)])
        bound = on_testbed.Bound(PODS)
        watching = asyncio.create_task(Watch[Pod](client, on_testbed.PODS, decode_pod, bound).run())
        try:
            write_plan(plan_of(testbed), await on_testbed.pods(client))
            await asyncio.sleep(1)  # what the creation of the Pods stirred up settles
            assert not bound.nodes
            running, start, server_before = contestant(), time.monotonic(), on_testbed.cpu_seconds(server)
            pid = await asyncio.to_thread(running.__enter__)  # our watch must see what it does while it starts
            try:
                await asyncio.wait_for(bound.all.wait(), 300)
                own, of_server = on_testbed.cpu_seconds(pid), on_testbed.cpu_seconds(server) - server_before
            finally:
                await asyncio.to_thread(running.__exit__, None, None, None)
        finally:
            watching.cancel()
        check(await on_testbed.pods(client), name)
        await on_testbed.delete_all(client)
    return Run(bound.last - bound.first, bound.last - start, own, of_server)


def check(pods: list[on_testbed.Pod], name: str) -> None:
    """Every Pod has a node, no node more than it holds, and where nos names GPUs no GPU two Pods."""
    assert len(pods) == PODS
    per_node = Counter(pod.spec.node_name for pod in pods)
    assert "" not in per_node
    assert max(per_node.values()) <= GPUS
    if name.startswith("nos"):
        slots = {(pod.spec.node_name, pod.metadata.annotations["nos.nebuly.com/gpus"]) for pod in pods}
        assert len(slots) == PODS


def plan_of(testbed: Testbed) -> Path:
    """The file with what the blind one is to post."""
    return testbed.state_dir / "config" / "plan.json"


def write_plan(file: Path, pods: list[on_testbed.Pod]) -> None:
    """Made for all, before the clock starts, so that all meet the same machine."""
    plan = [[pod.metadata.name, pod.metadata.uid, f"{GPUS}xh100-{i // GPUS}"] for i, pod in enumerate(pods)]
    file.write_text(json.dumps(plan))


@contextmanager
def blind(testbed: Testbed, plan: Path) -> Iterator[int]:
    """This file as a program of its own, as the others are."""
    with subprocess.Popen([sys.executable, __file__, str(testbed.kubeconfig_of(on_testbed.NOS)), str(plan)]) as process:
        try:
            yield process.pid
            assert process.wait(60) == 0
        finally:
            process.kill()


async def post_blindly(kubeconfig: str, plan: list[tuple[str, str, str]]) -> None:
    """What `blind` starts."""
    left = enumerate(plan)

    async def worker(client: Client) -> None:
        for number, (name, uid, node) in left:
            body = binding(name, uid, node, [number % GPUS])
            await client.request("POST", pod_path("default", name, "binding"), body=body, attempts=1)

    async with Client(Access.load(kubeconfig)) as client:
        await asyncio.gather(*(worker(client) for _ in range(IN_FLIGHT)))


def print_table(runs: Runs) -> None:
    """Medians, and the two ratios."""
    print(f"\n{PODS:,} Pods on {NODES} nodes, medians of {ROUNDS} rounds")
    for name, each in runs.items():
        print(f"  {name:22} {describe(each)}")
    medians = {name: statistics.median(run.between for run in each) for name, each in runs.items()}
    print(f"  nos / kube-scheduler {medians['kube-scheduler'] / medians['nos']:5.2f}  (to reach: 1.5)")
    print(f"  nos / blind          {medians['blind'] / medians['nos']:5.2f}  (to reach: 0.9)")


def describe(runs: list[Run]) -> str:
    """One line; CPU is less at the mercy of the neighbours than the rate."""

    def median(of: Callable[[Run], float]) -> float:
        return statistics.median(map(of, runs))

    between = median(lambda run: run.between)
    return (
        f"{PODS / between:6.0f}/s  {between:6.2f} s, {median(lambda run: run.whole):6.2f} s from start; CPU per Pod "
        f"{1000 * median(lambda run: run.own_cpu) / PODS:.2f} ms own, "
        f"{1000 * median(lambda run: run.server_cpu) / PODS:.2f} ms API server"
    )


if __name__ == "__main__":
    asyncio.run(post_blindly(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
