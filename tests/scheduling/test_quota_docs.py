"""The numbers in docs/quotas.md are what the core says."""

import re
from pathlib import Path

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, QuotaSpec, Scheduler
from tests.quota_oracle import COMPUTE, GPU, MEMORY

TEXT = (Path(__file__).parents[2] / "docs" / "quotas.md").read_text()
TEN = PodSpec({"nvidia.com/gpu-10gb": 1})


def table(*columns: str) -> list[dict[str, str]]:
    """The rows of the table with these columns."""
    header = "| " + " | ".join(columns) + " |"
    lines = TEXT[TEXT.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [dict(zip(columns, (cell.strip() for cell in line.strip("|").split("|")), strict=True)) for line in lines]


def cluster(gpu_memory_gb: int = 0) -> Cluster:
    room = {"cpu": 10**6, "pods": 1000, GPU: 100, "nvidia.com/gpu-10gb": 100}
    made = Cluster()
    made.upsert_node("node", NodeSpec(room, gpu_memory_gb=gpu_memory_gb))
    return made


def lend(rows: list[dict[str, str]]) -> Cluster:
    """Quotas and their Pods of 10 GB."""
    made = cluster()
    for row in rows:
        name = row["quota"]
        made.upsert_quota(name, QuotaSpec([name], min={MEMORY: int(row["min"])}))
        for number in range(int(row["in use"]) // 10):
            made.upsert_pod(f"{name}{number}", TEN, labels=PodLabels(name), node="node", arrival=number)
    return made


def test_what_is_counted() -> None:
    rows = table("requests", "GPUs of the node, GB", "gpu-memory", "gpu-compute")
    assert len(rows) == 5
    for row in rows:
        on = cluster(0 if row["GPUs of the node, GB"] == "?" else int(row["GPUs of the node, GB"]))
        on.upsert_quota("q", QuotaSpec(["n"], min={MEMORY: 0, COMPUTE: 0}))
        requests = {name: int(count) for name, count in re.findall(r"`(\S+): (\d+)`", row["requests"])}
        on.upsert_pod("pod", PodSpec(requests), labels=PodLabels("n"), node="node")
        assert on.quota("q").used == {MEMORY: int(row["gpu-memory"]), COMPUTE: int(row["gpu-compute"])}


def test_borrowing() -> None:
    rows = table("quota", "min", "in use", "one more of 10")
    on = lend(rows)
    for row in rows:
        on.upsert_pod(f"{row['quota']}-more", TEN, labels=PodLabels(row["quota"]), arrival=99, preempts=False)
    assert [Scheduler(on).may_reclaim("b-more", f"a{number}") for number in range(5)] == [False] * 4 + [True]
    outcome = Scheduler(on).schedule()
    assert {bind.uid for bind in outcome.binds} == {
        f"{row['quota']}-more" for row in rows if row["one more of 10"] == "runs"
    }
    reasons = dict(outcome.waiting)
    message = re.findall(r"```\n(.*?)\n```", TEXT, re.DOTALL)[0].replace("\n", " ")
    message = message.replace("ElasticQuota ml/a", "a")  # on a cluster a quota's name tells its kind and namespace
    assert (reasons["a-more"].code, reasons["a-more"].message) == ("QuotaExhausted", message)


def test_shares() -> None:
    rows = table("quota", "min", "in use", "idle", "share")
    on = lend(rows)
    for row in rows:
        assert int(row["idle"]) == max(0, int(row["min"]) - int(row["in use"]))
        assert on.quota(row["quota"]).guaranteed == {MEMORY: int(row["share"])}


def test_who_is_over() -> None:
    on = cluster()
    on.upsert_quota("q", QuotaSpec(["n"], min={GPU: 3}))
    rows = table("Pod", "came", "GPUs", "so far, of 3", "label")
    so_far = 0
    for row in rows:
        spec = PodSpec({GPU: int(row["GPUs"])})
        on.upsert_pod(row["Pod"], spec, labels=PodLabels("n"), arrival=int(row["came"]), node="node")
        so_far += int(row["GPUs"])
        assert int(row["so far, of 3"]) == so_far
    assert on.quota("q").capacities() == [(row["Pod"], row["label"] == "over-quota") for row in rows]


def test_quotas_in_quotas() -> None:
    on = cluster()
    rows = table("quota", "parent", "min", "in use")
    for row in rows:
        spaces = [row["quota"]] if row["parent"] else []
        on.upsert_quota(row["quota"], QuotaSpec(spaces, min={GPU: int(row["min"])}, parent=row["parent"]))
    for number in range(4):
        on.upsert_pod(f"b{number}", PodSpec({GPU: 1}), labels=PodLabels("b1"), arrival=number, node="node")
    assert [on.quota(row["quota"]).used[GPU] for row in rows] == [int(row["in use"]) for row in rows]
    for name in ("a1", "a2"):
        on.upsert_pod(name, PodSpec({GPU: 1}), labels=PodLabels(name))
    scheduler = Scheduler(on)
    assert scheduler.may_reclaim("a1", "b3")
    assert not scheduler.may_reclaim("a2", "b3")
    on.upsert_pod("b4", PodSpec({GPU: 1}), labels=PodLabels("b1"), arrival=4, node="node")
    assert scheduler.may_reclaim("a2", "b4")
    on.upsert_pod("mine", PodSpec({GPU: 1}), labels=PodLabels("a1"), node="node")
    assert not scheduler.may_reclaim("a2", "mine")
