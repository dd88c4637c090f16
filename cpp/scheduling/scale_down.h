// Which nodes are not needed, and where their Pods go.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cluster.h"
#include "node_group.h"
#include "policy.h"

namespace nos {

// A node that may go, if its Pods have a place elsewhere.
struct Removable {
    std::string node;
    std::int64_t price = 0;  // of the node, micro-dollars per hour
    std::string limit;       // on how many like it may go; empty: none

    bool operator==(const Removable&) const = default;
};

struct ScaleDownRequest {
    std::vector<Removable> nodes;
    std::set<PodId> movable;                    // may be moved
    std::set<PodId> ignored;                    // go with their node
    std::map<std::string, std::int64_t> spare;  // by limit: how many nodes may go
    std::vector<NodeGroup> groups;              // nodes that can be had in exchange
    Limits limits;                              // that the groups use
    std::int64_t move_price = 0;                // of moving one Pod, likewise
    std::int64_t most_steps = 0;                // attempts to place a Pod, at most
};

// One step: these nodes go once these Pods are elsewhere. Feasible after those before it.
struct Removal {
    std::vector<std::string> nodes;
    std::vector<std::pair<std::string, std::string>> moves;  // a Pod's uid, and its node from then on
    std::vector<NewNode> ordered;                            // in exchange: it has to be there first
    std::int64_t saved = 0;                                  // micro-dollars per hour
};

struct ScaleDown {
    std::vector<Removal> steps;
    std::int64_t saved = 0;
    std::vector<std::pair<std::string, std::string>> kept;  // a node that stays, and why
};

// Places the waiting Pods first. Then it removes the nodes that are worth most: their price less that of the
// moves. Afterwards the Cluster is as it would be: to be given a copy. A node stays on which a Pod is that
// may not go, or one of a gang that could not go on; no Pod is moved twice. Of the nodes that are left up to
// three at once go in exchange for a cheaper new one, if their Pods fit on that and on what is free. Throws
// std::invalid_argument for a node named twice, a limit that nobody set, or groups that make no sense.
ScaleDown scale_down(Cluster& cluster, const Policy& policy, const ScaleDownRequest& request);

}  // namespace nos
