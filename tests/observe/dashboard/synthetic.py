"""A cluster that is not there: nodes, slices, quotas and a queue that change as a real one's do, from a seed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from msgspec.structs import replace

from nos.observe.view import Bound, Changes, Gpu, Held, Moment, Node, Pod, Quota, Slice, Snapshot, Totals

TEAMS = ("research", "vision", "speech", "ranking", "robotics", "serving")
_PRODUCTS = (("NVIDIA H100 80GB HBM3", 8, True), ("NVIDIA A100-SXM4-80GB", 8, True), ("NVIDIA L40S", 4, False))
# Ways to cut eight memory units: profile and size, one after another.
_CUTS = (
    (("3g.40gb", 4), ("3g.40gb", 4)),
    (("3g.40gb", 4), ("2g.20gb", 2), ("1g.10gb", 1), ("1g.10gb", 1)),
    (("2g.20gb", 2), ("2g.20gb", 2), ("2g.20gb", 2), ("1g.10gb", 1)),
    tuple(("1g.10gb", 1) for _ in range(7)),
    (("4g.40gb", 4), ("1g.20gb", 2), ("1g.20gb", 2)),
)
_REASONS = (
    ("GPU", "0/{n} nodes fit: {a} have too few free GPUs, {b} have the wrong model. One more node of 8 GPUs would do"),
    ("Fragmented", "{a} GPUs are free, but on no node two of them: moving ranking/eval-7 would make room"),
    ("QuotaMax", "ElasticQuota {q} allows at most 160 GPUs, and 160 are used"),
    ("GangIncomplete", "3 of 4 Pods of the gang fit; all of them start, or none"),
    ("CPU", "{b} nodes have the GPU, but too little CPU beside it: at most 4 more cores are free there"),
)


class Synthetic:
    """`look` is the first look and every one after; the world moves in between by `step`."""

    def __init__(self, nodes: int, *, seed: int = 1, busy: float = 0.86, at: float | None = None) -> None:
        self.random = random.Random(seed)
        self.shown = Snapshot()
        self.moments: list[Moment] = []
        self.at = at  # seconds since 1970; None: now
        self._count = 0
        self._fragmentation = 0.05
        self.busy = busy
        made = [self._node(number, nodes) for number in range(nodes)]
        self._pending: dict[str, Node] = {node.name: node for node in made}
        self._nodes: dict[str, Node] = dict(self._pending)
        self._gone: list[str] = []
        self._queue = self._all = tuple(self._waits(number) for number in range(max(6, min(400, nodes // 3))))
        self._new_queue: tuple[Pod, ...] | None = self._queue

    @property
    def now(self) -> float:
        return time.time() if self.at is None else self.at

    async def look(self) -> Changes:
        """What has changed since the look before."""
        changes = Changes(
            self.now,
            self._totals(),
            tuple(self._pending.values()),
            tuple(self._gone),
            self._new_queue,
            self._quotas(),
        )
        self._pending, self._gone, self._new_queue = {}, [], None
        self.shown.apply(changes)
        return changes

    def node(self, name: str) -> Node:
        """As it is."""
        return self._nodes[name]

    def put(self, node: Node) -> None:
        """It is so from now on."""
        self._nodes[node.name] = self._pending[node.name] = node

    def remove(self, name: str) -> None:
        """A node goes."""
        del self._nodes[name]
        self._pending.pop(name, None)
        self._gone.append(name)

    def queue(self, *pods: Pod) -> None:
        """These wait, and no others."""
        self._queue = self._new_queue = pods

    def wait_more(self, part: float) -> None:
        """So many wait, of those that may."""
        self.queue(*self._all[: int(len(self._all) * part)])

    def step(self, changes: int = 4) -> Iterator[Moment]:
        """Some nodes get other Pods; tells what happened."""
        for name in self.random.sample(sorted(self._nodes), min(changes, len(self._nodes))):
            old = self._nodes[name]
            slot = self.random.randrange(len(old.gpus))
            gpu, held = self._gpu(slot, old.gpus[0].units > 0 or "L40S" not in old.product)
            gpus = tuple(gpu if index == slot else one for index, one in enumerate(old.gpus))
            kept = tuple(pod for pod in old.pods if pod.gpus != (slot,) and not _is_on(pod, slot))
            self.put(replace(old, gpus=gpus, pods=(*kept, *held)))
            for pod in held[:1]:
                where = f"GPU {slot}" if pod.gpus else f"slice {pod.slices[0]}"
                yield Moment(self.now, "Scheduled", pod.pod, f"Successfully assigned {pod.pod} to {name}, {where}")
            if gpu.slices and self.random.random() < 0.4 and held:
                text = f"Needs repartition: GPUs of node {name} are being cut into the slices that it asks for"
                yield Moment(self.now, "Repartitioning", held[0].pod, text)
        if self.random.random() < 0.2:
            name = self.random.choice(sorted(self._nodes))
            text = "goes for research/train-31, which is within its quota"
            yield Moment(self.now, "Preempted", f"serving/batch-{self._count}", text)
        if self.random.random() < 0.08:
            text = "2 nodes of h100-spot are ordered for 16 Pods"
            yield Moment(self.now, "NodeOrdered", f"research/train-{self._count}", text)
        if self.random.random() < 0.04:
            text = "h100-spot gives no node: no capacity in zone b; it is not asked for 60 s"
            yield Moment(self.now, "NodeNotMade", f"research/train-{self._count}", text, True)

    def _team(self) -> str:
        return self.random.choices(TEAMS, (8, 5, 3, 3, 2, 6))[0]

    def _node(self, number: int, of: int) -> Node:
        share = number / of
        product, count, is_cut = _PRODUCTS[0 if share < 0.5 else 1 if share < 0.85 else 2]
        kind = product.split()[1].split("-")[0].lower()
        name = f"gpu-{kind}-{number:04d}" if of > 99 else f"gpu-{kind}-{number:02d}"
        gpus: list[Gpu] = []
        pods: list[Held] = []
        if self.random.random() < 0.25 and self.random.random() < self.busy:  # one training job has it all
            pod = self._name("train")
            gpus = [Gpu(1000, pods=(pod,)) for _ in range(count)]
            pods = [Held(pod, self._since(), gpus=tuple(range(count)))]
        else:
            for slot in range(count):
                gpu, held = self._gpu(slot, is_cut and number % 3 == 0)
                gpus.append(gpu)
                pods += held
        note, problem = "", self.random.random()
        if problem < 0.012:
            note = "cordoned"
        elif problem < 0.02:
            note = "is being emptied, and goes"
        elif problem < 0.03:
            gpus[1] = replace(gpus[1], problem="Xid 79: the GPU has fallen off the bus")
        used = sum(gpu.used for gpu in gpus)
        cpu, memory = 16_000 * count, (count * 128) << 30
        return Node(
            name,
            product,
            (min(cpu, used * 14 + 900), cpu),
            (min(memory, used * count * (112 << 30) // (count * 1000)), memory),
            tuple(gpus),
            tuple(pods),
            note,
        )

    def _gpu(self, slot: int, is_cut: bool) -> tuple[Gpu, list[Held]]:
        if is_cut and self.random.random() < 0.75:
            start, slices, held = 0, [], []
            for profile, size in self.random.choice(_CUTS):
                owner, state, kind = "", "", self.random.random()
                if kind < self.busy:
                    owner = self._name("infer")
                    held.append(Held(owner, self._since(), slices=(f"{slot}:{profile}",)))
                elif kind < self.busy + 0.04:
                    state = self.random.choice(("coming", "going"))
                slices.append(Slice(profile, start, size, owner, state))
                start += size
            used = sum(one.size for one in slices if one.pod) * 125
            return Gpu(used, 8, slices=tuple(slices)), held
        if self.random.random() < self.busy:
            pod = self._name("train")
            return Gpu(1000, pods=(pod,)), [Held(pod, self._since(), gpus=(slot,))]
        return Gpu(0), []

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._team()}/{kind}-{self._count}"

    def _since(self) -> int:
        return int(self.now - self.random.expovariate(1 / 20_000))

    def _waits(self, number: int) -> Pod:
        team = self._team()
        code, message = self.random.choices(_REASONS, (8, 3, 4, 3, 2))[0]
        asks = self.random.choice(
            ("8 gpu, 96 cpu, 800Gi memory", "2 gpu, 16 cpu, 128Gi memory", "1 mig-3g.40gb, 4 cpu, 32Gi memory", "1 gpu")
        )
        gang = f"{team}/llm-{number % 9}" if code == "GangIncomplete" else ""
        message = message.format(n=len(self._nodes), a=self.random.randint(2, 30), b=3, q=f"{team}/quota")
        since = int(self.now - self.random.expovariate(1 / 1500))
        priority = self.random.choice((0, 0, 0, 100, 1000))
        return Pod(f"{team}/job-{number}", asks, since, priority, gang, f"ElasticQuota {team}/quota", "", code, message)

    def _totals(self) -> Totals:
        self._fragmentation += 0.15 * (0.05 - self._fragmentation) + self.random.gauss(0, 0.004)
        self._fragmentation = max(0.005, self._fragmentation)
        gpus = [gpu for node in self._nodes.values() for gpu in node.gpus]
        used = sum(gpu.used for gpu in gpus)
        return Totals(len(gpus), used, len(self._queue), self._fragmentation)

    def _quotas(self) -> tuple[Quota, ...]:
        used = dict.fromkeys(TEAMS, 0.0)
        gpus = 0
        for node in self._nodes.values():
            gpus += len(node.gpus)
            for held in node.pods:
                used[held.pod.partition("/")[0]] += len(held.gpus) or len(held.slices) / 4
        share = {"research": 0.2, "vision": 0.15, "speech": 0.2, "ranking": 0.1, "robotics": 0.08}
        quotas = [
            Quota(
                f"ElasticQuota {team}/quota",
                (team,),
                {
                    "nvidia.com/gpu": Bound(int(used[team]), int(gpus * part), int(gpus * part * 2)),
                    "nos.nebuly.com/gpu-memory": Bound(
                        int(used[team] * 76), int(gpus * part) * 80, int(gpus * part) * 160
                    ),
                },
            )
            for team, part in share.items()
        ]
        return (
            *quotas,
            Quota("CompositeElasticQuota infra/rest", ("serving", "batch"), {"cpu": Bound(90_000, 64_000, 128_000)}),
            Quota("ElasticQuota robotics/second", ("robotics",), problem="robotics is under another quota already"),
        )


def _is_on(pod: Held, slot: int) -> bool:
    return any(one.partition(":")[0] == str(slot) for one in pod.slices)
