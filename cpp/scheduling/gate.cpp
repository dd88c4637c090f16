#include "gate.h"

#include <algorithm>

namespace nos {

namespace {

// By the quota itself, or to those above it as a whole.
bool is_guaranteed(const Quotas& quotas, QuotaId quota, QuotaResource resource, std::int64_t amount) {
    for (; quota.valid(); quota = quotas.parent(quota)) {
        const Quotas::Use& use = quotas.use(quota, resource);
        if (use.named() && use.used + amount <= use.min) {
            return true;
        }
    }
    return false;
}

}  // namespace

std::optional<Refusal> refusal(const Cluster& cluster, QuotaId quota, const Charge& charge) {
    const Quotas& quotas = cluster.quotas();
    QuotaId root = quota;
    for (QuotaId id = quota; id.valid(); id = quotas.parent(id)) {
        for (const auto& [resource, amount] : charge) {
            const Quotas::Use& use = quotas.use(id, resource);
            if (use.max != Quotas::unnamed && use.used + amount > use.max) {
                return Refusal{Refusal::Bound::max, id, resource, amount};
            }
        }
        root = id;
    }
    for (const auto& [resource, amount] : charge) {
        const Quotas::Pool& all = quotas.pool({}, resource);
        if (quotas.use(root, resource).named() && all.used + amount > all.min &&
            !is_guaranteed(quotas, quota, resource, amount)) {
            return Refusal{Refusal::Bound::all_min, quotas.namer(quota, resource), resource, amount};
        }
    }
    return std::nullopt;
}

std::optional<Refusal> refusal(const Cluster& cluster, PodId id, NodeId node) {
    const Pod& pod = cluster.pod(id);
    if (!pod.quota.valid()) {
        return std::nullopt;
    }
    return refusal(cluster, pod.quota,
                   cluster.charge_of(cluster.spec(pod.spec), cluster.gpu_memory_gb(node)));
}

bool stays_within_min(const Cluster& cluster, QuotaId quota, const Charge& charge) {
    const Quotas& quotas = cluster.quotas();
    for (QuotaResource resource = 0; resource < quotas.resources().size(); ++resource) {
        if (const QuotaId namer = quotas.namer(quota, resource); namer.valid()) {
            const Quotas::Use& use = quotas.use(namer, resource);
            if (use.used + amount_of(charge, resource) > use.min) {
                return false;
            }
        }
    }
    return true;
}

Gate::Gate(const Cluster& cluster, PodId id) : cluster_{cluster} {
    const Pod& pod = cluster.pod(id);
    if (!pod.quota.valid()) {
        return;
    }
    const InternedSpec& spec = cluster.spec(pod.spec);
    const auto refusal_at = [&](std::int64_t memory_gb) {
        return nos::refusal(cluster, pod.quota, cluster.charge_of(spec, memory_gb));
    };
    const auto& memories = cluster.gpu_memories();
    if (memories.empty() || !spec.gpu_ask.depends_on_memory()) {
        refusal_ = refusal_at(unknown_gpu_memory_gb);
        return;
    }
    for (const auto& [memory_gb, nodes] : memories) {
        if (const auto refused = refusal_at(memory_gb)) {
            refusal_ = refused;
            barred_memories_.push_back(memory_gb);
        }
    }
    if (barred_memories_.size() == memories.size()) {
        barred_memories_.clear();
    }
}

bool Gate::bars(NodeId node) const {
    return refusal_ && (!bars_some() || std::ranges::find(barred_memories_, cluster_.gpu_memory_gb(node)) !=
                                            barred_memories_.end());
}

}  // namespace nos
