#include "reclaim.h"

#include <algorithm>

namespace nos {

Reclaim::Reclaim(const Cluster& cluster, PodId pod, Over& over)
    : cluster_{cluster}, quotas_{cluster.quotas()}, pod_{pod}, over_{over} {
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
    if (path_.empty() || !pod.quota.valid() || pod.quota == path_.front()) {
        return false;
    }
    const std::int64_t memory_gb = cluster_.gpu_memory_gb(node);
    const Known& other = known(pod.quota, memory_gb);
    if (other.beyond.empty() || !std::ranges::binary_search(*other.over, victim)) {
        return false;
    }
    const Charge freed = cluster_.charge_of(cluster_.spec(pod.spec), memory_gb);
    return std::ranges::any_of(other.beyond,
                               [&](QuotaResource resource) { return amount_of(freed, resource) > 0; });
}

bool Reclaim::is_possible() {
    std::vector<std::int64_t> memories;
    for (const auto& [memory_gb, nodes] : cluster_.gpu_memories()) {
        memories.push_back(memory_gb);
    }
    if (!cluster_.gpu_memories().contains(unknown_gpu_memory_gb)) {
        memories.push_back(unknown_gpu_memory_gb);  // counts for nodes without GPUs
    }
    for (std::size_t number = 0; number < quotas_.bound() && !path_.empty(); ++number) {
        const QuotaId id{number};
        if (quotas_.exists(id) && id != path_.front() &&
            std::ranges::any_of(memories, [&](std::int64_t memory_gb) {
                return !known(id, memory_gb).beyond.empty() && !known(id, memory_gb).over->empty();
            })) {
            return true;
        }
    }
    return false;
}

const Reclaim::Known& Reclaim::known(QuotaId other, std::int64_t memory_gb) {
    if (known_.empty()) {
        known_.resize(quotas_.bound());
    }
    Known& known = known_[other.value()];
    if (known.over == nullptr) {
        known.rivals = rivals(other);
        std::shared_ptr<const PodSet>& over = over_[other];
        if (over == nullptr) {
            over = cluster_.over_quota(other);
        }
        known.over = over;
    }
    const std::uint64_t ours = quotas_.version(known.rivals.ours.quota);
    const std::uint64_t theirs = quotas_.version(known.rivals.theirs.quota);
    if (known.our_version != ours || known.their_version != theirs || known.memory_gb != memory_gb) {
        known.our_version = ours;
        known.their_version = theirs;
        known.memory_gb = memory_gb;
        known.beyond = beyond(known.rivals, other, memory_gb);
    }
    return known;
}

std::vector<QuotaResource> Reclaim::beyond(Rivals rivals, QuotaId other, std::int64_t memory_gb) const {
    std::vector<QuotaResource> found;
    const Charge charge = cluster_.charge_of(cluster_.spec(cluster_.pod(pod_).spec), memory_gb);
    const QuotaId their_root = quotas_.root(other);
    for (const bool with_share : {false, true}) {
        if (!stays_within(rivals.ours, charge, with_share)) {
            continue;
        }
        for (const auto& [resource, amount] : charge) {
            if (is_compared(path_.back(), resource) && is_compared(their_root, resource) &&
                is_beyond(rivals.theirs, other, resource, with_share)) {
                found.push_back(resource);
            }
        }
    }
    return found;
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

}  // namespace nos
