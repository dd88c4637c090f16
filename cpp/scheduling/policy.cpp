#include "policy.h"

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

namespace nos {

namespace {

constexpr std::array<std::pair<std::string_view, Score>, 4> scores = {{
    {"nos", Score::nos},
    {"fgd", Score::fgd},
    {"best-fit", Score::best_fit},
    {"first-fit", Score::first_fit},
}};

}  // namespace

Score parse_score(std::string_view text) {
    for (const auto& [name, score] : scores) {
        if (name == text) {
            return score;
        }
    }
    throw std::invalid_argument("score must be nos, fgd, best-fit or first-fit, not '" + std::string{text} +
                                "'");
}

std::string_view name(Score score) { return scores.at(static_cast<std::size_t>(score)).first; }

}  // namespace nos
