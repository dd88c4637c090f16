// Where the Pods of nodes that are emptied go.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cluster.h"
#include "load.h"
#include "scale_down_candidates.h"
#include "scheduler.h"

namespace nos {

// Where a Pod is, or is to be.
struct Home {
    NodeId node;
    Slots gpus;
    Instances instances;
};

// Places all these waiting Pods of a gang, or changes nothing; those of a gang that goes on join it. Needs an
// open Transaction.
bool place_all(Cluster& cluster, Scheduler& scheduler, GangId gang, const std::vector<PodId>& pods);

void set_going(Cluster& cluster, const std::vector<NodeId>& nodes, bool going);

class Relocation {
  public:
    // Needs an open Transaction. Whoever may move is at home where he is now.
    Relocation(Cluster& cluster, Scheduler& scheduler, const std::vector<Candidate>& candidates,
               std::int64_t steps);

    // Places these waiting Pods, who come from `emptying`; or some of them, and then says why not all.
    // closed: candidates that may be opened for them, the last first.
    bool place(const std::vector<PodId>& pods, std::vector<NodeId> emptying,
               const std::vector<std::size_t>& closed, std::int64_t steps);
    [[nodiscard]] const std::string& why_not() const { return why_not_; }

    [[nodiscard]] std::int64_t steps_left() const { return steps_; }
    [[nodiscard]] const std::map<PodId, Home>& homes() const { return homes_; }

  private:
    // Who is placed at once: a Pod, or those of a gang.
    struct Unit {
        std::vector<PodId> pods;
        GangId gang;
    };

    [[nodiscard]] std::vector<Unit> units(const std::vector<PodId>& pods) const;
    [[nodiscard]] bool looks_at_others(PodId id) const;
    [[nodiscard]] bool are_alike(const Unit& left, const Unit& right) const;
    bool place_from(std::size_t at, const std::vector<Unit>& units, const std::vector<NodeId>& hopeless);
    std::optional<NodeId> place_one(PodId id, const std::vector<NodeId>& hopeless);
    std::optional<NodeId> place_on_closed(PodId id, const std::vector<NodeId>& hopeless);
    [[nodiscard]] std::string no_place(PodId id) const;
    [[nodiscard]] bool would_fit(PodId id, NodeId node) const;

    Cluster& cluster_;
    Scheduler& scheduler_;
    const std::vector<Candidate>& candidates_;
    std::int64_t steps_;          // that are left
    std::int64_t steps_now_ = 0;  // for the present attempt
    std::map<PodId, Home> homes_;
    std::map<PodId, Load> loads_;
    std::vector<std::size_t> closed_;
    std::vector<NodeId> emptying_;
    std::string why_not_;
};

}  // namespace nos
