// Where room is made at the least toll: for Pods that are alike, one after another, within one cycle.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "cluster.h"
#include "victims.h"

namespace nos {

// Remembers what each node would cost, and looks again at those that changed, and at the cheapest: what
// quotas may take back only becomes less, so that no other has become cheaper.
class NodeTolls {
  public:
    using Look = std::function<std::optional<Victims>(NodeId)>;

    // vacated: nodes that Pods leave for somebody elsewhere, in the order in which that was decided.
    std::optional<Victims> cheapest(const Cluster& cluster, std::span<const NodeId> vacated,
                                    const Look& look);

  private:
    void look_at(NodeId node, const Look& look);
    void put(NodeId node, std::optional<Toll> toll);

    bool is_fresh_ = true;
    std::uint64_t cursor_ = 0;  // into the Cluster's changes
    std::size_t vacated_ = 0;   // of those, seen
    Table<NodeId, std::optional<Toll>> tolls_;
    std::set<std::pair<Toll, NodeId>> ordered_;
};

}  // namespace nos
