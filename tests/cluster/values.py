"""Hypothesis strategies for what goes into the core by value: every argument, with values that differ."""

from hypothesis import strategies as st

from nos._core import (
    GpuModel,
    GpuProfile,
    GpuSpec,
    HostPort,
    NodeGroup,
    NodeSpec,
    PackedGpu,
    PodLabels,
    PodSelector,
    PodSpec,
    PodTerm,
    Policy,
    QuotaSpec,
    Removable,
    Requirement,
    SelectorTerm,
    SpreadConstraint,
    Taint,
    Toleration,
    VolumeClaim,
)
from tests.cut_gpus import MODELS

texts = st.text(max_size=4)
names = st.text("ab/.", min_size=1, max_size=3)
amounts = st.integers(0, 1 << 50)
small = st.integers(0, 1 << 20)
labels = st.dictionaries(texts, texts, max_size=2)
effects = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
resources = st.sampled_from(
    ["cpu", "memory", "ephemeral-storage", "pods", "nvidia.com/mig-1g.5gb", "nvidia.com/gpu-10gb", "example.com/x"]
)


def few(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(values, max_size=2)


requirements = st.builds(
    Requirement, texts, st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]), few(texts)
)
terms = st.builds(SelectorTerm, few(requirements), few(requirements))
taints = st.builds(Taint, texts, texts, effects)
tolerations = st.builds(Toleration, texts, st.sampled_from(["Equal", "Exists", ""]), texts, effects | st.just(""))
ports = st.builds(HostPort, st.integers(1, 65535), texts, texts)
pod_labels = st.builds(PodLabels, texts, labels)
selectors = st.builds(
    PodSelector,
    st.none() | few(requirements),
    namespaces=few(texts),
    namespace_labels=st.none() | few(requirements),
)
pod_terms = st.builds(PodTerm, names, selectors)
spreads = st.builds(
    SpreadConstraint,
    names,
    selectors,
    max_skew=st.integers(1, 9),
    min_domains=st.integers(1, 9),
    required=st.booleans(),
    honor_affinity=st.booleans(),
    honor_taints=st.booleans(),
)
claims = st.builds(
    VolumeClaim,
    few(st.tuples(texts, st.none() | few(terms))),
    provision=st.none() | few(few(terms)),
)
engines = st.dictionaries(st.sampled_from(["copy", "decoder"]), st.integers(0, 3), max_size=2)
profiles = st.builds(
    GpuProfile,
    names,
    size=st.integers(1, 4),
    starts=st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True).map(sorted),
    compute_slices=st.integers(0, 4),
    max_instances=st.integers(1, 4),
    memory_mib=small,
    engines=engines,
)
models = st.builds(
    GpuModel,
    names,
    units=st.integers(8, 9),
    compute_slices=st.integers(1, 9),
    engines=engines,
    profiles=st.lists(profiles, min_size=1, max_size=2, unique_by=lambda profile: profile.name),
)


@st.composite
def _gpus(draw: st.DrawFn) -> GpuSpec:
    model = draw(st.none() | st.sampled_from(sorted(MODELS)))
    there = draw(few(st.sampled_from(MODELS[model].placements))) if model else []
    instances = [(*placement, draw(st.booleans()), draw(texts)) for placement in there]
    facts = {name: draw(st.booleans()) for name in ("mig", "ready", "healthy", "fixed")}
    return GpuSpec(MODELS[model].core if model else None, pod=draw(texts), instances=instances, **facts)


gpus = _gpus()
attachments = few(st.tuples(texts, texts))


@st.composite
def _nodes(draw: st.DrawFn) -> NodeSpec:
    # Two instances may not fit together; a NodeSpec looks at that.
    there = [gpu for gpu in draw(few(gpus)) if not gpu.instances or (gpu.mig and len(gpu.instances) == 1)]
    count = len(there) or draw(st.integers(0, 9))
    return NodeSpec(
        draw(st.dictionaries(resources, amounts, max_size=4)) | {"nvidia.com/gpu": count},
        labels=draw(labels),
        taints=draw(few(taints)),
        unschedulable=draw(st.booleans()),
        gpus=there,
        images=draw(st.dictionaries(texts, amounts, max_size=2)),
        features=draw(few(texts)),
        attach_limits=draw(st.dictionaries(texts, amounts, max_size=2)),
        attached=draw(attachments),
        by_dra=draw(few(texts)),
        gpu_memory_gb=draw(st.integers(0, 1_000_000)),
    )


nodes = _nodes()


@st.composite
def _pods(draw: st.DrawFn) -> PodSpec:
    share = draw(st.sampled_from([0, 0, 1, 999]))
    whole = {} if share else {"nvidia.com/gpu": draw(st.integers(0, 3))}
    return PodSpec(
        draw(st.dictionaries(resources, st.just(0) | amounts, max_size=4)) | whole,
        gpu_share_milli=share,
        node_selector=draw(labels),
        affinity=draw(st.none() | few(terms)),
        preferred_affinity=draw(few(st.tuples(st.integers(-100, 100), terms))),
        tolerations=draw(few(tolerations)),
        host_ports=draw(few(ports)),
        features=draw(few(texts)),
        images=draw(few(texts)),
        pod_affinity=draw(few(pod_terms)),
        pod_anti_affinity=draw(few(pod_terms)),
        preferred_pod_affinity=draw(few(st.tuples(st.integers(-100, 100), pod_terms))),
        spread=draw(few(spreads)),
        spread_by_default=draw(st.booleans()),
        volume_affinity=draw(few(few(terms))),
        claims=draw(few(claims)),
        sole_claims=draw(few(texts)),
        volumes=draw(attachments),
        waits_for=draw(texts),
        unsupported=draw(few(texts)),
    )


pods = _pods()
quotas = st.builds(
    QuotaSpec,
    st.lists(texts, max_size=2, unique=True),
    min=st.dictionaries(resources, small, max_size=2),
    max=st.dictionaries(resources, small, max_size=2),
    parent=texts,
)
policies = st.builds(Policy, st.sampled_from(["nos", "fgd", "best-fit", "first-fit"]))
groups = st.builds(
    NodeGroup,
    names,
    nodes,
    price=small,
    room=st.integers(0, 1000),
    uses=st.dictionaries(texts, small, max_size=2),
)
_a100 = MODELS["a100-40gb"]
packed = st.builds(
    PackedGpu,
    models | st.just(_a100.core),
    fixed=few(st.sampled_from(_a100.placements)),
    movable=few(st.sampled_from(_a100.placements)),
)
removables = st.builds(Removable, names, price=small, limit=texts)

VALUES = {
    GpuModel: models,
    GpuProfile: profiles,
    GpuSpec: gpus,
    HostPort: ports,
    NodeGroup: groups,
    NodeSpec: nodes,
    PackedGpu: packed,
    PodLabels: pod_labels,
    PodSelector: selectors,
    PodSpec: pods,
    PodTerm: pod_terms,
    Policy: policies,
    QuotaSpec: quotas,
    Removable: removables,
    Requirement: requirements,
    SelectorTerm: terms,
    SpreadConstraint: spreads,
    Taint: taints,
    Toleration: tolerations,
    VolumeClaim: claims,
}
