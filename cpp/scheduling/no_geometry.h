// Why MIG instances fit nowhere, in one line.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "cluster.h"
#include "filter.h"

namespace nos {

struct NoGeometry {
    std::string text;                                      // 3g.40gb needs 4 free units, the best GPU has 3
    std::optional<std::pair<NodeId, std::uint16_t>> best;  // that GPU, where it is about one
};

// For a Pod that geometry keeps off some node, from the verdicts on all.
NoGeometry no_geometry(const Cluster& cluster, const PodSpec& pod, const Table<NodeId, Verdict>& verdicts);

}  // namespace nos
