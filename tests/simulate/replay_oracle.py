"""Judges a list of placements from the files alone, with nothing of nos.simulate: plain dictionaries and loops."""

import csv
from pathlib import Path
from typing import Any


def judge(nodes_csv: Path, pods_csv: Path, order: list[int], out_csv: Path) -> dict[str, int]:
    """Replay OUT.csv against the trace: nothing overcommitted, and no Pod refused that had room when it arrived."""
    with nodes_csv.open(newline="") as file:
        nodes = list(csv.DictReader(file))
    with pods_csv.open(newline="") as file:
        pods = list(csv.DictReader(file))
    free: list[dict[str, Any]] = [
        {"cpu": int(n["cpu_milli"]), "mem": int(n["memory_mib"]), "gpus": [1000] * int(n["gpu"]), "model": n["model"]}
        for n in nodes
    ]
    placed = {}
    for line in out_csv.read_text().splitlines():
        pod_index, node_index, slots = line.split(",")
        assert int(pod_index) not in placed
        placed[int(pod_index)] = (int(node_index), [int(slot) for slot in slots.split("-")] if slots else [])
    assert set(placed) <= set(range(len(order)))
    used_milli = 0
    for position, row in enumerate(order):
        pod = pods[row]
        cpu, mem, milli = int(pod["cpu_milli"]), int(pod["memory_mib"]), int(pod["gpu_milli"])
        count = int(pod["num_gpu"])
        models = pod["gpu_spec"].split("|") if pod.get("gpu_spec") else None
        if position not in placed:
            for name, node in zip(nodes, free, strict=True):
                room = sum(1 for gpu in node["gpus"] if gpu >= milli) if count else 0
                fits = node["cpu"] >= cpu and node["mem"] >= mem and room >= count
                assert not (fits and (models is None or node["model"] in models)), (position, pod, name)
            continue
        index, gpus = placed[position]
        node = free[index]
        assert len(gpus) == len(set(gpus)) == count, (position, pod, gpus)
        assert models is None or node["model"] in models, (position, pod)
        node["cpu"] -= cpu
        node["mem"] -= mem
        for gpu in gpus:
            node["gpus"][gpu] -= milli
            assert node["gpus"][gpu] >= 0, (position, pod, gpu)
            used_milli += milli
        assert node["cpu"] >= 0, (position, pod)
        assert node["mem"] >= 0, (position, pod)
    return {"placed": len(placed), "used_milli": used_milli}
