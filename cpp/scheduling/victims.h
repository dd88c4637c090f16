// Whom to evict from one node so that a Pod fits there.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "cluster.h"

namespace nos {

// Why a Pod may be evicted for another one.
enum class Cause : std::uint8_t { priority, reclaim, repack };

std::string_view name(Cause cause);

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
                 May may);

    // The cheapest found; none of them could stay. Nothing when all who may be evicted are not enough.
    // thorough: every smaller set is tried as well, where there are not too many of them.
    [[nodiscard]] std::optional<Victims> on(NodeId node, bool thorough = false);
    // The first of these, wherever they are, without whose charge the Pod fits on the node, which has room
    // for it; those who go in any case before all others. Needs an open Transaction.
    [[nodiscard]] std::optional<Victims> elsewhere(NodeId node, const std::vector<PodId>& pods);

  private:
    // Those on one node who may have to go.
    struct Candidates {
        std::vector<PodId> given;     // to others in this cycle: they go in any case
        std::vector<Victim> going;    // or were chosen before: they cost nothing
        std::vector<Victim> staying;  // those first whose budgets allow no more, then the most important
    };
    // The members of a gang that run.
    struct Company {
        std::vector<Victim> members;
        std::int64_t spare = 0;  // so many can go while the others stay
    };
    using Allowances = std::vector<std::int64_t>;  // by budget, evictions that it still allows

    [[nodiscard]] Candidates candidates(NodeId node);
    // Takes whoever may be evicted, the least important first; others stay.
    void take_all(Absence& absence, std::vector<Victim>& victims) const;
    // Of one gang; nothing when its members may not be evicted all.
    const std::optional<Company>& company(GangId gang);
    // Whether it can be evicted, with its gang if need be.
    bool can_go(PodId id);
    // With those whose gang cannot go on without them.
    [[nodiscard]] std::vector<Victim> with_gangs(const std::vector<Victim>& victims);
    // Counts an eviction; false when a budget does not allow it.
    bool spend(Allowances& allowances, PodId id);
    [[nodiscard]] std::vector<Victim> cheapest(Absence& absence, NodeId node, std::vector<Victim> staying);
    [[nodiscard]] std::vector<Victim> fewest(Absence& absence, NodeId node,
                                             const std::vector<Victim>& staying, std::vector<Victim> found);
    // Who of them has to go when they may stay in this order, whoever still can.
    [[nodiscard]] std::vector<Victim> reprieve(Absence& absence, NodeId node,
                                               const std::vector<Victim>& order);
    // So that GPUs on which others stay, or many, are left alone.
    void sort_by_gpu(NodeId node, std::vector<Victim>& victims) const;
    [[nodiscard]] Toll toll(const std::vector<Victim>& victims);
    [[nodiscard]] static bool is_against_a_budget(const Victims& victims);

    Cluster& cluster_;
    PodId pod_;
    const std::set<PodId>& chosen_;
    bool is_noticed_;
    Fits fits_;
    May may_;
    std::vector<const Budget*> budgets_;
    Allowances allowances_;                                 // before anybody is evicted for this Pod
    std::map<KinId, std::vector<std::size_t>> budgets_of_;  // as far as anybody asked
    std::map<GangId, std::optional<Company>> companies_;    // likewise
};

}  // namespace nos
