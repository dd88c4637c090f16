// How nodes are chosen: the knobs of a Scheduler.
#pragma once

#include <cstdint>
#include <string_view>

namespace nos {

enum class Score : std::uint8_t {
    nos,        // least loss of room for the typical demand, see score.h
    fgd,        // fragmentation gradient descent, as published
    best_fit,   // the node with the least left over
    first_fit,  // the first node
};

struct Policy {
    Score score = Score::nos;

    bool operator==(const Policy&) const = default;
};

Score parse_score(std::string_view text);  // throws std::invalid_argument
std::string_view name(Score score);

}  // namespace nos
