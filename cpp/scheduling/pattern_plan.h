// Nodes by patterns: the plan for Pods of whom only room and specs matter.
#pragma once

#include <cstdint>
#include <vector>

#include "node_group.h"
#include "scheduler.h"

namespace nos {

struct PatternPlan {
    std::vector<PodId>
        others;              // whom patterns cannot tell: where they go depends on other Pods, ports, volumes
    bool is_whole = false;   // nothing but patterns matters to those who were planned for
    bool proven = false;     // nothing places more of them, or as many for less
    std::int64_t bound = 0;  // of the price of what places as many, micro-dollars per hour; 0: unknown
};

// Takes nodes for these waiting Pods and assumes them there. Who looks at other Pods, or wants ports or
// volumes, is left alone. A gang that does not get what it needs is left
// whole.
PatternPlan plan_by_patterns(Cluster& cluster, Scheduler& scheduler, Purchase& purchase,
                             const std::vector<PodId>& pods, std::int64_t most_steps);

}  // namespace nos
