// Who goes first.
#pragma once

#include <vector>

#include "cluster.h"

namespace nos {

// The waiting Pods: those for whom room was made, then highest priority first, then earliest arrival, then
// uid.
std::vector<PodId> order(const Cluster& cluster);
// Those of a gang, in the same order.
std::vector<PodId> order(const Cluster& cluster, const Gang& gang);

}  // namespace nos
