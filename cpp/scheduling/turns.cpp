#include "turns.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "gate.h"

namespace nos {

namespace {

// What it takes where it takes least memory.
Charge charge_of(const Cluster& cluster, PodId id) {
    const auto& memories = cluster.gpu_memories();
    return cluster.charge_of(cluster.spec(cluster.pod(id).spec),
                             memories.empty() ? unknown_gpu_memory_gb : memories.begin()->first);
}

}  // namespace

std::strong_ordering Excess::operator<=>(const Excess& other) const {
    if (min == 0 || other.min == 0) {
        const bool endless = min == 0 && used > 0;
        const bool other_endless = other.min == 0 && other.used > 0;
        if (endless || other_endless) {
            if (endless && other_endless) {
                return used <=> other.used;
            }
            return endless ? std::strong_ordering::greater : std::strong_ordering::less;
        }
        return (min == 0 ? 0 : used) <=> (other.min == 0 ? 0 : other.used);
    }
    return Wide{used} * other.min <=> Wide{other.used} * min;
}

std::optional<PodId> Turns::next() {
    for (; at_ < pods_.size(); ++at_) {
        const PodId id = pods_[at_];
        if (cluster_.quotas().empty() || goes_first(id)) {
            ++at_;
            return id;
        }
        Queue& queue = queues_[cluster_.pod(id).quota];
        const std::int32_t priority = cluster_.pod(id).priority;
        queue.highest = queue.places.empty() ? priority : std::max(queue.highest, priority);
        queue.places.push_back(at_);
    }
    if (last_.valid()) {
        line_up(std::exchange(last_, {}));
    } else if (line_.empty()) {
        for (const auto& [quota, queue] : queues_) {
            line_up(quota);
        }
    }
    while (!line_.empty()) {
        const Entry entry = line_.top();
        line_.pop();
        if (entry.key < key(entry.quota)) {  // somebody else took of what it leans on
            line_up(entry.quota);
            continue;
        }
        Queue& queue = queues_[entry.quota];
        last_ = entry.quota;
        return pods_[queue.places[queue.first++]];
    }
    return std::nullopt;
}

bool Turns::goes_first(PodId id) {
    const Pod& pod = cluster_.pod(id);
    if (pod.wish.valid()) {
        return true;
    }
    if (!pod.gang.valid()) {
        return stays_within_min(id);
    }
    const auto known = gangs_.find(pod.gang);
    return known != gangs_.end() ? known->second : (gangs_[pod.gang] = stays_within_min(id));
}

bool Turns::stays_within_min(PodId id) const {
    const Pod& pod = cluster_.pod(id);
    if (!pod.quota.valid()) {
        return true;
    }
    const auto queue = queues_.find(pod.quota);
    if (queue != queues_.end() && queue->second.highest > pod.priority) {
        return false;
    }
    Charge charge = charge_of(cluster_, id);
    if (pod.gang.valid()) {
        for (const PodId member : cluster_.gang(pod.gang).members) {
            const Pod& other = cluster_.pod(member);
            if (member != id && other.phase == Phase::waiting && other.quota == pod.quota) {
                charge = sum(charge, charge_of(cluster_, member));
            }
        }
    }
    return nos::stays_within_min(cluster_, pod.quota, charge);
}

Turns::Key Turns::key(QuotaId quota) const {
    const Quotas& quotas = cluster_.quotas();
    Key key;
    for (QuotaId id = quota; id.valid(); id = quotas.parent(id)) {
        Excess most;
        for (QuotaResource resource = 0; resource < quotas.resources().size(); ++resource) {
            if (const Quotas::Use& use = quotas.use(id, resource); use.named()) {
                most = std::max(most, Excess{use.used, use.min});
            }
        }
        key.push_back(most);
    }
    std::ranges::reverse(key);
    return key;
}

void Turns::line_up(QuotaId quota) {
    const Queue& queue = queues_[quota];
    if (queue.first < queue.places.size()) {
        const std::int64_t habit = quota.valid() ? cluster_.quotas().habit(quota) : 0;
        line_.push({key(quota), habit, queue.places[queue.first], quota});
    }
}

}  // namespace nos
