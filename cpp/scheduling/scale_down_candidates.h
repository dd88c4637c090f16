// Nodes that could be removed, if there were room elsewhere; and why others cannot.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cluster.h"
#include "scale_down.h"

namespace nos {

// Nodes that go together or not at all: one, or those of a gang that moves as a whole.
struct Candidate {
    std::vector<NodeId> nodes;
    std::vector<std::string> limits;  // one for each node that has any
    std::int64_t price = 0;
    std::vector<PodId> movers;  // who has to go elsewhere

    // What is gained by removing it.
    [[nodiscard]] std::int64_t worth(std::int64_t move_price) const {
        return price - move_price * static_cast<std::int64_t>(movers.size());
    }
};

struct Candidates {
    std::vector<Candidate> found;         // in no order
    std::map<NodeId, std::string> stays;  // the others, and why
};

// How many of its Pods that run a gang can do without; none while it lacks some.
std::int64_t spare_members(const Cluster& cluster, GangId id);

// Who saves more with each move comes first; of those who save the same the one with fewer moves. Empty ones
// before all others.
void sort_by_move(const Cluster& cluster, std::vector<Candidate>& candidates);
// Who is worth more for its share of the cluster comes first.
void sort_by_size(const Cluster& cluster, std::int64_t move_price, std::vector<Candidate>& candidates);

Candidates scale_down_candidates(const Cluster& cluster, const ScaleDownRequest& request);

}  // namespace nos
