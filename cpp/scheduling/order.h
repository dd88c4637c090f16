// Who goes first.
#pragma once

#include <vector>

#include "cluster.h"

namespace nos {

// The waiting Pods: highest priority first, then earliest arrival, then uid.
std::vector<PodId> order(const Cluster& cluster);
// Those of a gang, in the same order.
std::vector<PodId> order(const Cluster& cluster, const Gang& gang);

}  // namespace nos
