// Pods that start together or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "id.h"
#include "topology.h"

namespace nos {

struct GangSpec {
    std::int64_t min_members = 0;  // so many run, or nobody does
    std::string topology_key;      // all in one domain of it; empty: anywhere
    bool required = false;         // that domain; else it is a preference
    std::string problem;           // why nobody more of it may start, in words

    bool operator==(const GangSpec&) const = default;
};

struct Gang {
    std::optional<GangSpec> spec;  // nothing: so far Pods alone have named it
    TopologyId topology;           // invalid without a key
    std::vector<PodId> members;    // in any phase, in no order
    std::int64_t placed = 0;       // of them: assumed or bound, and not terminating

    // Whether so many run, or are about to, that each further one may join.
    [[nodiscard]] bool is_satisfied() const {
        return spec && spec->problem.empty() && placed >= spec->min_members;
    }
};

}  // namespace nos
