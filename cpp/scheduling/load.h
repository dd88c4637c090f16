// What Pods take where they are, or nodes have: what sums can tell.
#pragma once

#include <cstdint>

#include "cluster.h"

namespace nos {

struct Load {
    std::int64_t gpu = 0;  // milli
    std::int64_t cpu = 0;
    std::int64_t memory = 0;

    void add(const Load& other);
};

// Of a Pod, where it is now.
Load load_of(const Cluster& cluster, PodId id);

}  // namespace nos
