// First-fit-decreasing by the real filter: what every plan has to beat, and the plan for all that patterns
// cannot tell.
#pragma once

#include <vector>

#include "node_group.h"
#include "scheduler.h"

namespace nos {

// Places these waiting Pods, of the highest priority first and of these the largest, on nodes that are there,
// and where they fit nowhere on new ones, each time of the group that is cheapest for the part of the node
// that they take. A gang goes as a whole.
void first_fit(Cluster& cluster, Scheduler& scheduler, Purchase& purchase, std::vector<PodId> pods);

}  // namespace nos
