// How one GPU is recut so that what is wanted fits: used instances stay, the fewest others come and go.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "states.h"

namespace nos::mig {

struct Unplaced {
    std::size_t wanted = 0;  // index into what was wanted
    std::string reason;
};

struct Plan {
    std::vector<Placement> destroy;
    std::vector<Placement> create;
    std::vector<std::pair<std::size_t, Placement>> placed;  // index into what was wanted, and where
    std::vector<Unplaced> unplaced;
};

// The plan that serves the most units of what is wanted (profile numbers); of those, the most instances; then
// the fewest destroyed and created; then the most doors open; then the lowest starts. Exact. Throws
// std::invalid_argument when used and free cannot be together on one GPU.
Plan repartition(const States& states, std::span<const Placement> used, std::span<const Placement> free,
                 std::span<const std::size_t> wanted);

// Why an instance of the profile does not fit beside these.
std::string refusal(const States& states, std::span<const Placement> used, std::size_t profile);

}  // namespace nos::mig
