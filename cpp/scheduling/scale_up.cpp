#include "scale_up.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "first_fit.h"
#include "pattern_plan.h"
#include "why_left.h"

namespace nos {

namespace {

// Whether another node could make a difference to who waits for that reason.
bool wants_a_node(ReasonCode code) {
    switch (code) {
        case ReasonCode::unsupported:
        case ReasonCode::volume_not_ready:
        case ReasonCode::volume_in_use:
        case ReasonCode::making_room:
        case ReasonCode::gang_too_small:
        case ReasonCode::gang_invalid:
        case ReasonCode::quota_max:
        case ReasonCode::quota_exhausted:
            return false;
        default:
            return true;
    }
}

std::vector<PodId> still_waiting(const Cluster& cluster, const std::vector<PodId>& pods) {
    std::vector<PodId> left;
    std::ranges::copy_if(pods, std::back_inserter(left),
                         [&](PodId id) { return cluster.pod(id).phase == Phase::waiting; });
    return left;
}

// How good a plan is: who waits, of the highest priority first, then the price, then the nodes.
struct Worth {
    std::vector<std::pair<std::int32_t, std::int64_t>> waiting;  // by priority
    std::int64_t price = 0;
    std::size_t nodes = 0;

    Worth(const Cluster& cluster, const std::vector<PodId>& wanting, const Purchase& purchase)
        : price{purchase.price()}, nodes{purchase.nodes().size()} {
        std::map<std::int32_t, std::int64_t, std::greater<>> counts;
        for (const PodId id : wanting) {
            counts[cluster.pod(id).priority] += cluster.pod(id).phase == Phase::waiting ? 1 : 0;
        }
        waiting.assign(counts.begin(), counts.end());
    }

    auto operator<=>(const Worth&) const = default;
};

// Those whom a quota may still bar count only as far as first-fit-decreasing got them in: what the rest would
// use cannot be had.
std::vector<PodId> allowed(const Cluster& tried, const std::vector<PodId>& wanting) {
    std::vector<PodId> pods;
    std::ranges::copy_if(wanting, std::back_inserter(pods), [&](PodId id) {
        return !tried.pod(id).quota.valid() || tried.pod(id).phase != Phase::waiting;
    });
    return pods;
}

}  // namespace

ScaleUp scale_up(Cluster& cluster, std::span<const NodeGroup> groups, const Limits& limits, Policy policy,
                 std::int64_t most_steps) {
    cluster.refuse_in_transaction();
    Purchase purchase{groups, limits};
    const std::vector<PodId> waiting{cluster.waiting().begin(), cluster.waiting().end()};
    std::vector<PodId> wanting;
    {
        Scheduler scheduler{cluster, policy};
        for (const Waiting& one : scheduler.schedule().waiting) {
            if (wants_a_node(one.reason->code)) {
                wanting.push_back(one.pod);
            }
        }
    }
    ScaleUp plan;
    if (!wanting.empty() && !groups.empty()) {
        Cluster tried = cluster;
        Purchase first{groups, limits};
        {
            Scheduler scheduler{tried, policy};
            first_fit(tried, scheduler, first, wanting);
        }
        plan.first_fit_price = first.price();
        Scheduler scheduler{cluster, policy};
        const PatternPlan patterns =
            plan_by_patterns(cluster, scheduler, purchase, allowed(tried, wanting), most_steps);
        first_fit(cluster, scheduler, purchase, still_waiting(cluster, wanting));
        const Worth by_patterns{cluster, wanting, purchase};
        const Worth by_first_fit{tried, wanting, first};
        if (by_first_fit < by_patterns) {
            cluster = std::move(tried);
            purchase = std::move(first);
        }
        if (std::min(by_first_fit, by_patterns).waiting == by_patterns.waiting && patterns.is_whole) {
            plan.exact = patterns.proven;
            plan.bound = patterns.proven ? purchase.price() : std::min(patterns.bound, purchase.price());
        }
    } else {
        plan.exact = true;
    }
    plan.nodes = purchase.nodes();
    plan.price = purchase.price();
    std::set<NodeId> is_new;
    for (const NewNode& node : plan.nodes) {
        is_new.insert(node.node);
    }
    const Scheduler scheduler{cluster, policy};
    for (const PodId id : waiting) {
        if (cluster.pod(id).phase == Phase::assumed && !is_new.contains(cluster.pod(id).node)) {
            plan.binds.push_back(scheduler.bind_of(id));
        }
    }
    WhyLeft why{cluster, purchase};
    for (const PodId id : still_waiting(cluster, wanting)) {
        plan.left.push_back({id, why(id)});
    }
    return plan;
}

}  // namespace nos
