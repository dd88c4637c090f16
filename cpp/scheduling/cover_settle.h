// Who gets the places of the nodes that were taken, and what becomes of nodes that are not needed for that.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cover.h"

namespace nos {

// The cover that comes of them, without bound and proof: nodes that are not needed are given back, and
// cheaper ones taken where they hold as much as is needed.
Cover settle(const CoverProblem& problem, std::vector<NodeShape>& shapes,
             const std::vector<std::pair<CoverColumn, std::int64_t>>& taken);

}  // namespace nos
