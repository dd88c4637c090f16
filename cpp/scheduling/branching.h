// The best cover by columns that are all known: branch and bound.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "master.h"

namespace nos {

class Branching {
  public:
    // Only covers that are at least `step` cheaper than `known` count.
    Branching(const CoverProblem& problem, const std::vector<CoverColumn>& columns, double scale,
              std::int64_t known, std::int64_t step);

    // Whether the search came to its end; every pivot is a step.
    bool run(std::int64_t& steps);
    // The best that was found; nothing when none counts.
    [[nodiscard]] const std::optional<Cover>& best() const { return best_; }

  private:
    bool search(std::vector<Branch>& branches, std::int64_t& steps);
    void take(const Master& master);

    const CoverProblem& problem_;
    const std::vector<CoverColumn>& columns_;
    double scale_;
    std::int64_t known_;
    std::int64_t step_;
    std::optional<Cover> best_;
};

}  // namespace nos
