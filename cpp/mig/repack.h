// Which running instances to move so that what is wanted fits, with the fewest moves.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "repartition.h"
#include "states.h"

namespace nos::mig {

// One GPU and what runs on it. What is free on it may be destroyed at no cost and is not named.
struct PackedGpu {
    const States* states = nullptr;
    std::vector<Placement> fixed;
    std::vector<Placement> movable;
};

struct Spot {
    std::size_t gpu = 0;
    Placement placement;

    auto operator<=>(const Spot&) const = default;
};

struct Move {
    Spot from;
    Spot to;
};

struct RepackPlan {
    std::vector<Move> moves;
    std::vector<std::pair<std::size_t, Spot>> placed;  // index into what was wanted, and where
    std::vector<Unplaced> unplaced;
    bool exact = true;  // false: the search was cut short, fewer moves or more placed may be possible
};

// Serves the wishes (names of profiles) in their order, each if it fits beside those before it, and then
// moves as few instances as those need. An instance moves at most once, to a profile of the same name.
// most_steps bounds the search for what is proven best. Throws std::invalid_argument when what runs on a GPU
// cannot be together.
RepackPlan repack(std::span<const PackedGpu> gpus, std::span<const std::string> wanted,
                  std::int64_t most_steps = 200'000);

}  // namespace nos::mig
