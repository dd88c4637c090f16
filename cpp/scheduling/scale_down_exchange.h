// Nodes that go in exchange for a cheaper new one.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "cluster.h"
#include "node_group.h"
#include "scale_down.h"
#include "scale_down_candidates.h"
#include "scale_down_search.h"
#include "scheduler.h"

namespace nos {

struct Exchange {
    Candidate gone;  // all that go, as one
    std::map<PodId, Home> places;
    NewNode node;  // it is in the Cluster, and open
};

// Those that pay, what gains most first, each after those before it; with one new node of each group at most.
// Takes the nodes from the purchase, and what it spends from `steps`.
std::vector<Exchange> scale_down_exchanges(Cluster& cluster, Scheduler& scheduler,
                                           const ScaleDownRequest& request, Purchase& purchase,
                                           std::int64_t& steps);

}  // namespace nos
