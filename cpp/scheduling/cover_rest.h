// What is left of a cover's problem when some nodes are taken.
#pragma once

#include <cstdint>
#include <vector>

#include "cover.h"

namespace nos {

class CoverRest {
  public:
    explicit CoverRest(const CoverProblem& problem) : problem_{problem}, demand_{problem.demand()} {}

    [[nodiscard]] const CoverProblem& problem() const { return problem_; }
    [[nodiscard]] bool is_empty() const;
    // How many more nodes of the group can be had.
    [[nodiscard]] std::int64_t room(std::size_t group) const;
    void take(const CoverColumn& column, std::int64_t count);

  private:
    void serve(std::size_t kind, std::int64_t count);

    CoverProblem problem_;
    std::vector<std::int64_t> demand_;
};

}  // namespace nos
