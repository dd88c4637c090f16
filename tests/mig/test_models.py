"""The product's copy of the MIG facts against the collection that it was made from, and product names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nos.mig import Model, find, models, recognize

# Said by other fields (the resource is the name with `+` as `.`), or about the collection.
NOT_COPIED = ("k8s_resource", "gi_profile_enum_name", "sources", "confidence")
FACTS = Path(__file__).parents[2].parent / "shared/mig/placements.json"
NAMES = {
    "NVIDIA A30": "a30-24gb",
    "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "NVIDIA A100-PCIE-40GB": "a100-40gb",
    "A100-SXM4-40GB": "a100-40gb",  # drivers before R470 leave the vendor out
    "NVIDIA A100-SXM4-80GB": "a100-80gb",
    "NVIDIA A100 80GB PCIe": "a100-80gb",
    "NVIDIA A800-SXM4-80GB": "a800-80gb",
    "NVIDIA H100 80GB HBM3": "h100-80gb",
    "NVIDIA H100 PCIe": "h100-80gb",
    "NVIDIA H100 NVL": "h100-94gb",
    "NVIDIA H800": "h800-80gb",
    "NVIDIA H800 PCIe": "h800-80gb",
    "NVIDIA H800 NVL": "h100-94gb",  # a part of this name is the H800's whole
    "NVIDIA GH200 480GB": "h100-96gb",
    "NVIDIA GH200 144G HBM3e": "gh200-144gb",
    "NVIDIA H20": "h20-96gb",
    "NVIDIA H200": "h200-141gb",
    "NVIDIA H200 NVL": "h200-141gb",
    "NVIDIA B200": "b200-180gb",
    "NVIDIA GB200": "gb200-186gb",
    "NVIDIA B300 SXM6 AC": "b300-269gb",
    "NVIDIA GB300": "gb300-278gb",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "rtxpro6000-96gb",
    "NVIDIA RTX PRO 5000 Blackwell": "rtxpro5000-48gb",
    "NVIDIA RTX PRO 4500 Blackwell": "rtxpro4500-32gb",
}


@pytest.mark.skipif(not FACTS.exists(), reason=f"the collected facts are not beside this checkout: no {FACTS}")
def test_every_fact_is_the_collected_one() -> None:
    collected = {model["id"]: model for model in json.loads(FACTS.read_bytes())["models"]}
    assert [model.id for model in models()] == list(collected)
    for model in models():
        fact = collected[model.id]
        assert {
            "architecture": model.architecture,
            "name_patterns": list(model.name_patterns),
            "pci_device_ids": list(model.pci_device_ids),
            "nvml_memory_total_mib": model.memory_mib,
            "placement_units": model.units,
            "compute_slices": model.compute_slices,
            "exclusive_engine_totals": model.engine_totals,
        } == {
            **{key: fact[key] for key in ("architecture", "name_patterns", "pci_device_ids")},
            "nvml_memory_total_mib": fact["nvml_memory_total_mib"]["value"],
            **{key: fact[key] for key in ("placement_units", "compute_slices", "exclusive_engine_totals")},
        }
        assert [
            {
                "name": profile.name,
                "gi_profile_enum": profile.gi_profile_enum,
                "gi_profile_id": profile.gi_profile_id,
                "ci_profile_full": profile.ci_profile_full,
                "compute_slices": profile.compute_slices,
                "placement": {"starts": list(profile.starts), "size": profile.size},
                "memory_mib": profile.memory_mib,
                "max_instances": profile.max_instances,
                "multiprocessors": profile.multiprocessors,
                "engines": {
                    "copy": profile.engines.copy,
                    "decoder": profile.engines.decoder,
                    "encoder": profile.engines.encoder,
                    "jpeg": profile.engines.jpeg,
                    "ofa": profile.engines.ofa,
                },
            }
            for profile in model.profiles
        ] == [{key: value for key, value in profile.items() if key not in NOT_COPIED} for profile in fact["profiles"]]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.id)
def test_the_facts_of_a_model_fit_together(model: Model) -> None:
    """Each profile fits into the GPU alone, whole, and as often as `max_instances` says as far as units go."""
    assert len({profile.name for profile in model.profiles}) == len(model.profiles)
    assert len({profile.gi_profile_enum for profile in model.profiles}) == len(model.profiles)
    ids = [profile.gi_profile_id for profile in model.profiles if profile.gi_profile_id is not None]
    assert len(ids) in (0, len(model.profiles))
    assert len(set(ids)) == len(ids)
    for profile in model.profiles:
        assert all(start >= 0 and start + profile.size <= model.units for start in profile.starts)
        assert list(profile.starts) == sorted(set(profile.starts))
        assert profile.compute_slices * profile.max_instances <= model.compute_slices
        assert profile.size * profile.max_instances <= model.units
        assert profile.max_instances <= len(profile.starts)
        for engine, total in model.engine_totals.items():
            assert getattr(profile.engines, engine) * profile.max_instances <= total
    assert any(profile.size == model.units for profile in model.profiles)


@pytest.mark.parametrize(("name", "model_id"), NAMES.items())
def test_a_gpu_is_recognized_by_its_nvml_name_and_by_its_label(name: str, model_id: str) -> None:
    model = find(model_id)
    assert model
    label = re.sub(r"\s+", "-", name)
    for spelled in (name, label, f"{label}-SHARED", f"{label}-MIG-{model.profiles[0].name}", f"{label}-MIG-INVALID"):
        assert recognize(spelled) is model, spelled
    assert recognize(f"{name} MIG {model.profiles[0].name}") is model  # what NVML calls a MIG device


def test_every_model_with_a_pattern_has_a_name_above() -> None:
    unnamed = {model.id for model in models() if model.name_patterns} - set(NAMES.values())
    assert unnamed == {"a800-40gb"}
    assert recognize("NVIDIA A800 40GB Active") is find("a800-40gb")


@pytest.mark.parametrize(
    "name", ["", "Tesla T4", "NVIDIA L40S", "NVIDIA-A10", "NVIDIA A300", "NVIDIA H2000", "NVIDIA XH20"]
)
def test_others_are_not_recognized(name: str) -> None:
    assert recognize(name) is None


def test_what_is_not_there_is_none() -> None:
    model = find("a30-24gb")
    assert model
    assert find("a30") is None
    assert model.profile("1g.6gb+me") is model.profiles[1]
    assert model.profile("1g.5gb") is None
