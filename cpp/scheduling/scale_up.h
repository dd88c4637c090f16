// Which new nodes let those run that wait, and who runs there.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "node_group.h"
#include "scheduler.h"

namespace nos {

struct Unhelped {
    PodId pod;
    std::string why;  // per group what forbids it
};

struct ScaleUp {
    std::vector<NewNode> nodes;
    std::vector<Bind> binds;  // on nodes that are there already
    std::vector<Unhelped> left;
    std::int64_t price = 0;  // of the nodes, micro-dollars per hour
    std::int64_t bound = 0;  // nothing that places as much is cheaper
    std::int64_t first_fit_price = 0;
    bool exact = false;  // no plan places more, or as much for less
};

// Edits the Cluster: afterwards it is as it would be. First what a cycle does, so that only those ask for
// nodes whom no repartition, repack or eviction helps. Of these as many as can be of the highest priority are
// placed, then of the next, and so on; gangs as a whole; then at the least price; then on the fewest nodes.
// Nothing is placed that the Cluster's own checks, quotas among them, would not let in.
ScaleUp scale_up(Cluster& cluster, std::span<const NodeGroup> groups, const Limits& limits, Policy policy,
                 std::int64_t most_steps);

}  // namespace nos
