// Whom to evict from one node so that a Pod fits there.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "cluster.h"

namespace nos {

// Why a Pod may be evicted for another one.
enum class Cause : std::uint8_t { priority, reclaim };

// What evictions cost; what weighs most comes first.
struct Toll {
    std::int64_t violations = 0;  // of disruption budgets
    std::int64_t highest = 0;     // priority of the victims, from the lowest there is; 0 without victims
    std::int64_t pods = 0;
    std::int64_t priorities = 0;  // their sum, likewise
    std::int64_t age = 0;         // of the oldest: the lower the younger

    auto operator<=>(const Toll&) const = default;
};

struct Victim {
    PodId pod;
    Cause cause = Cause::priority;
};

struct Victims {
    NodeId node;
    std::vector<Victim> pods;
    Toll toll;  // of those who were not chosen before
};

// Searches on behalf of one Pod, by trial: takes Pods off a node, looks, and puts them back.
class VictimSearch {
  public:
    // Whether the Pod fits on a node as it is at that moment.
    using Fits = std::function<bool(NodeId)>;
    // Why that Pod may be evicted at that moment, if it may.
    using May = std::function<std::optional<Cause>(PodId)>;

    // chosen: those whom an earlier cycle chose, who may have been evicted already. is_noticed: the Pod looks
    // at the Pods on the node, and not only at its room.
    VictimSearch(Cluster& cluster, PodId pod, const std::set<PodId>& chosen, bool is_noticed, Fits fits,
                 May may)
        : cluster_{cluster},
          pod_{pod},
          chosen_{chosen},
          is_noticed_{is_noticed},
          fits_{std::move(fits)},
          may_{std::move(may)} {}

    // The cheapest found; none of them could stay. Nothing when all who may be evicted are not enough.
    [[nodiscard]] std::optional<Victims> on(NodeId node);

  private:
    // Those on one node who may have to go.
    struct Candidates {
        std::vector<PodId> given;     // to others in this cycle: they go in any case
        std::vector<Victim> going;    // or were chosen before: they cost nothing
        std::vector<Victim> staying;  // the most important first
    };

    [[nodiscard]] Candidates candidates(NodeId node) const;
    // Who of them has to go when they may stay in this order, whoever still can.
    [[nodiscard]] std::vector<Victim> reprieve(Absence& absence, NodeId node,
                                               const std::vector<Victim>& order);
    // So that GPUs on which others stay, or many, are left alone.
    void sort_by_gpu(NodeId node, std::vector<Victim>& victims) const;
    [[nodiscard]] Toll toll(const std::vector<Victim>& victims) const;
    [[nodiscard]] std::int64_t violations(const std::vector<Victim>& victims) const;

    Cluster& cluster_;
    PodId pod_;
    const std::set<PodId>& chosen_;
    bool is_noticed_;
    Fits fits_;
    May may_;
};

// Pods whose eviction is on its way, per budget.
std::int64_t disruptions(const Cluster& cluster, const Budget& budget);

}  // namespace nos
