#include "reclaim.h"

#include <algorithm>
#include <array>

namespace nos {

Reclaim::Reclaim(const Cluster& cluster, PodId pod)
    : cluster_{cluster}, quotas_{cluster.quotas()}, pod_{pod} {
    for (QuotaId id = cluster.pod(pod).quota; id.valid(); id = quotas_.parent(id)) {
        path_.push_back(id);
        add_idle(id);
    }
    add_idle({});
}

void Reclaim::add_idle(QuotaId parent) {
    std::vector<Wide>& idle = idle_.emplace_back();
    for (QuotaResource resource = 0; resource < quotas_.resources().size(); ++resource) {
        idle.push_back(quotas_.pool(parent, resource).idle);
    }
}

bool Reclaim::may_take(PodId victim, NodeId node) {
    const Pod& pod = cluster_.pod(victim);
    if (path_.empty() || !pod.quota.valid() || pod.quota == path_.front() || !is_over(victim)) {
        return false;
    }
    const auto [ours, theirs] = rivals(pod.quota);
    const std::int64_t memory_gb = cluster_.gpu_memory_gb(node);
    const Charge charge = cluster_.charge_of(cluster_.spec(cluster_.pod(pod_).spec), memory_gb);
    const Charge freed = cluster_.charge_of(cluster_.spec(pod.spec), memory_gb);
    const QuotaId their_root = quotas_.root(pod.quota);
    return std::ranges::any_of(std::array{false, true}, [&](bool with_share) {
        return stays_within(ours, charge, with_share) &&
               std::ranges::any_of(charge, [&](const Amount& amount) {
                   return amount_of(freed, amount.resource) > 0 &&
                          is_compared(path_.back(), amount.resource) &&
                          is_compared(their_root, amount.resource) &&
                          is_beyond(theirs, pod.quota, amount.resource, with_share);
               });
    });
}

Reclaim::Rivals Reclaim::rivals(QuotaId other) const {
    const auto above = [&](QuotaId id) { return std::ranges::find(path_, id); };
    if (const auto common = above(other); common != path_.end()) {
        return {{*(common - 1)}, {other, true}};
    }
    while (quotas_.parent(other).valid() && above(quotas_.parent(other)) == path_.end()) {
        other = quotas_.parent(other);
    }
    const auto common = above(quotas_.parent(other));
    if (common == path_.begin()) {
        return {{path_.front(), true}, {other}};
    }
    return {{*(common - 1)}, {other}};
}

Reclaim::Stand Reclaim::stand(Side side, QuotaResource resource) const {
    const Quotas::Use& use = quotas_.use(side.quota, resource);
    if (side.alone) {
        return {use.named(), use.slack, use.used_itself, 0};
    }
    if (!use.named()) {
        return {false, 0, use.used, 0};
    }
    const auto above = std::ranges::find(path_, quotas_.parent(side.quota));  // or none, behind all
    const Wide idle = idle_[static_cast<std::size_t>(above - path_.begin())][resource];
    return {true, use.min, use.used, quotas_.share(side.quota, resource, idle)};
}

bool Reclaim::is_compared(QuotaId root, QuotaResource resource) const {
    return quotas_.use(root, resource).named();
}

bool Reclaim::stays_within(Side ours, const Charge& charge, bool with_share) const {
    for (QuotaResource resource = 0; resource < quotas_.resources().size(); ++resource) {
        const std::int64_t amount = amount_of(charge, resource);
        const Stand now = stand(ours, resource);
        if (is_compared(path_.back(), resource) && (now.named || amount > 0) &&
            now.used + amount > now.min + (with_share ? now.share : 0)) {
            return false;
        }
    }
    return true;
}

bool Reclaim::is_beyond(Side theirs, QuotaId quota, QuotaResource resource, bool with_share) const {
    const Stand now = stand(theirs, resource);
    if (now.used <= now.min + (with_share ? now.share : 0)) {
        return false;
    }
    for (; quota != theirs.quota; quota = quotas_.parent(quota)) {
        const Quotas::Use& use = quotas_.use(quota, resource);
        if (use.used <= std::max<std::int64_t>(use.min, 0)) {
            return false;
        }
    }
    return true;
}

bool Reclaim::is_over(PodId id) {
    std::shared_ptr<const PodSet>& over = over_[cluster_.pod(id).quota];
    if (over == nullptr) {
        over = cluster_.over_quota(cluster_.pod(id).quota);
    }
    return std::ranges::binary_search(*over, id);
}

}  // namespace nos
