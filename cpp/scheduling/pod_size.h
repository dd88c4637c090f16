// How much of a new node a Pod takes.
#pragma once

#include <array>
#include <cstdint>

#include "node_group.h"

namespace nos {

// GPU in milli-GPU, then milli-CPU, then bytes of memory. MIG instances count as the part of a GPU that they
// take on the first group that can be cut so.
std::array<std::int64_t, 3> pod_size(const PodSpec& pod, std::span<const NodeGroup> groups);

// Of the resource of which it takes the largest part of such a node, in millionths; above 1,000,000 where it
// does not fit.
std::int64_t largest_part(const PodSpec& pod, const NodeSpec& node);

// How many of them such a node may hold, as far as each resource alone can tell.
std::int64_t most_on(const PodSpec& pod, const NodeSpec& node);

}  // namespace nos
