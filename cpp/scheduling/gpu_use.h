// What becomes of the GPU of each node: taken, free, and of what is free the part that the demand seen lately
// cannot take, by what is in the way.
#pragma once

#include <cstdint>
#include <vector>

#include "cluster.h"

namespace nos {

// Of one node, in milli-GPU. Of a GPU with MIG instances in use its other units are free. What is stranded is
// a part of what is free, each part counted once, under what is scarcest.
struct GpuUse {
    NodeId node;
    std::int64_t all = 0;
    std::int64_t free = 0;
    std::int64_t withheld = 0;  // nobody gets it: it is unfit, or a stranger has it
    std::int64_t stranded_by_geometry = 0;
    std::int64_t stranded_by_cpu = 0;
    std::int64_t stranded_by_memory = 0;
};

// Of the present nodes with GPUs. What is stranded is a mean over the kinds of Pods that ask for GPU, by how
// many of each came: what such Pods could not take if they alone came from now on. Units beside MIG instances
// are stranded by geometry alone, likewise for the profiles that were asked for.
std::vector<GpuUse> gpu_use(const Cluster& cluster);

}  // namespace nos
