#include "victims.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

namespace nos {

namespace {

std::int64_t above_lowest(std::int32_t priority) {
    return static_cast<std::int64_t>(priority) - std::numeric_limits<std::int32_t>::min() + 1;
}

}  // namespace

std::int64_t disruptions(const Cluster& cluster, const Budget& budget) {
    return std::ranges::count_if(cluster.leaving(), [&](PodId id) {
        return !cluster.pod(id).terminating && cluster.selects(budget, id);
    });
}

VictimSearch::Candidates VictimSearch::candidates(NodeId node) const {
    Candidates found;
    for (const PodId id : cluster_.node(node).pods) {
        const Pod& pod = cluster_.pod(id);
        if (pod.leaving) {
            found.given.push_back(id);
        } else if (pod.phase == Phase::bound && !pod.is_protected) {
            const auto cause = may_(id);
            const bool is_ours = pod.terminating && cluster_.pod(pod_).wish == node;
            if (!cause && !is_ours) {
                continue;
            }
            const bool goes = pod.terminating || chosen_.contains(id);
            (goes ? found.going : found.staying).push_back({id, cause.value_or(Cause::priority)});
        }
    }
    const auto importance = [&](const Victim& victim) {
        const Pod& pod = cluster_.pod(victim.pod);
        return std::tuple{-std::int64_t{pod.priority}, pod.arrival, cluster_.uid(victim.pod)};
    };
    std::ranges::sort(found.staying, {}, importance);
    std::ranges::sort(found.going, {}, importance);
    return found;
}

std::optional<Victims> VictimSearch::on(NodeId node) {
    Candidates of_node = candidates(node);
    if (of_node.going.empty() && of_node.staying.empty()) {
        return std::nullopt;
    }
    Absence absence{cluster_, node, is_noticed_};
    for (const PodId id : of_node.given) {
        absence.take(id);
    }
    for (const auto* group : {&of_node.going, &of_node.staying}) {
        for (const Victim& victim : *group) {
            absence.take(victim.pod);
        }
    }
    if (!fits_(node)) {
        return std::nullopt;
    }
    std::vector<Victim> victims = reprieve(absence, node, of_node.staying);
    const auto left = [&](const Victim& victim) {
        return std::ranges::find(victims, victim.pod, &Victim::pod) == victims.end();
    };
    if (!victims.empty() && of_node.staying.size() > 1) {
        for (const Victim& victim : of_node.staying) {
            if (left(victim)) {
                absence.take(victim.pod);
            }
        }
        sort_by_gpu(node, of_node.staying);
        std::vector<Victim> others = reprieve(absence, node, of_node.staying);
        if (toll(others) < toll(victims)) {
            victims = std::move(others);
        } else {
            for (const Victim& victim : others) {
                absence.put_back(victim.pod);
            }
            for (const Victim& victim : victims) {
                absence.take(victim.pod);
            }
        }
    }
    Victims result{node, victims, toll(victims)};
    for (const Victim& victim : reprieve(absence, node, of_node.going)) {
        result.pods.push_back(victim);
    }
    return result;
}

std::vector<Victim> VictimSearch::reprieve(Absence& absence, NodeId node, const std::vector<Victim>& order) {
    std::vector<Victim> gone;
    for (const Victim& victim : order) {
        absence.put_back(victim.pod);
        if (!fits_(node)) {
            absence.take(victim.pod);
            gone.push_back(victim);
        }
    }
    return gone;
}

void VictimSearch::sort_by_gpu(NodeId node, std::vector<Victim>& victims) const {
    struct Load {
        std::int64_t staying = 0;  // Pods that cannot be evicted
        std::int64_t highest = 0;
        std::int64_t pods = 0;
    };
    std::map<std::uint16_t, Load> loads;
    const auto slots = [&](PodId id) {
        const Pod& pod = cluster_.pod(id);
        std::set<std::uint16_t> found{pod.gpus.begin(), pod.gpus.end()};
        for (const Held& held : pod.instances) {
            found.insert(held.gpu);
        }
        return found;
    };
    const auto add = [&](PodId id, bool stays) {
        for (const std::uint16_t slot : slots(id)) {
            Load& load = loads[slot];
            load.staying += stays ? 1 : 0;
            load.highest = std::max(load.highest, above_lowest(cluster_.pod(id).priority));
            ++load.pods;
        }
    };
    for (const Victim& victim : victims) {
        add(victim.pod, false);
    }
    for (const PodId id : cluster_.node(node).pods) {
        const bool is_victim = std::ranges::find(victims, id, &Victim::pod) != victims.end();
        if (!is_victim && !cluster_.pod(id).leaving) {
            add(id, true);
        }
    }
    // Who has no GPU frees none; then who is on the GPUs that are dearest to clear.
    const auto key = [&](const Victim& victim) {
        auto dearest = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>{1, 0, 0, 0};
        for (const std::uint16_t slot : slots(victim.pod)) {
            const Load& load = loads[slot];
            const auto of_slot = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>{
                0, -load.staying, -load.highest, -load.pods};
            dearest = std::get<0>(dearest) == 1 ? of_slot : std::min(dearest, of_slot);
        }
        return std::get<0>(dearest) == 1
                   ? std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>{-1, 0, 0, 0}
                   : dearest;
    };
    std::ranges::stable_sort(victims, {}, key);
}

Toll VictimSearch::toll(const std::vector<Victim>& victims) const {
    Toll sum;
    sum.violations = violations(victims);
    std::int64_t oldest = std::numeric_limits<std::int64_t>::max();
    for (const Victim& victim : victims) {
        const Pod& pod = cluster_.pod(victim.pod);
        sum.highest = std::max(sum.highest, above_lowest(pod.priority));
        sum.priorities += above_lowest(pod.priority);
        ++sum.pods;
        oldest = std::min(oldest, pod.arrival);
    }
    sum.age = victims.empty() ? 0 : std::numeric_limits<std::int64_t>::max() - oldest;
    return sum;
}

std::int64_t VictimSearch::violations(const std::vector<Victim>& victims) const {
    std::int64_t beyond = 0;
    for (const auto& [name, budget] : cluster_.budgets()) {
        const auto hit = std::ranges::count_if(
            victims, [&](const Victim& victim) { return cluster_.selects(budget, victim.pod); });
        if (hit > 0) {
            const std::int64_t left =
                std::max<std::int64_t>(0, budget.allowed - disruptions(cluster_, budget));
            beyond += std::max<std::int64_t>(0, hit - left);
        }
    }
    return beyond;
}

}  // namespace nos
