// The linear program of a cover.
#pragma once

#include <cstdint>
#include <vector>

#include "cover.h"
#include "linear_program.h"

namespace nos {

// The nodes of one group, or those of one column, or whether a gang is left: at least or at most so many.
struct Branch {
    enum class Of : std::uint8_t { group, column, gang };

    Of of = Of::group;
    std::size_t index = 0;
    bool at_least = false;
    std::int64_t amount = 0;
};

class Master {
  public:
    // Costs are divided by `scale`.
    Master(const CoverProblem& problem, double scale, const std::vector<Branch>& branches = {});

    void add(const CoverColumn& column);
    bool solve(std::int64_t& steps) { return program_.solve(steps); }

    [[nodiscard]] double objective() const { return program_.objective(); }
    [[nodiscard]] bool feasible() const { return program_.feasible(); }
    // What covering one more Pod of each kind saves.
    [[nodiscard]] std::vector<double> worth() const;
    // What a node of the group costs, with what it takes from others.
    [[nodiscard]] double cost_of(std::size_t group) const;

    [[nodiscard]] double value(std::size_t column) const { return program_.value(columns_[column]); }
    [[nodiscard]] double left_singles(std::size_t index) const { return program_.value(singles_[index]); }
    [[nodiscard]] double left_gang(std::size_t index) const { return program_.value(gangs_[index]); }
    [[nodiscard]] double left_of_gang(std::size_t index, std::size_t kind) const;

  private:
    std::vector<LinearProgram::Row> rows();

    const CoverProblem& problem_;
    double scale_;
    std::vector<Branch> branches_;
    std::vector<std::int64_t> demand_;
    // By what they are about, the number of a row; `none` where nothing bounds it.
    static constexpr std::size_t none = ~std::size_t{0};
    std::vector<std::size_t> room_rows_;
    std::vector<std::size_t> limit_rows_;
    std::vector<std::size_t> single_rows_;
    std::vector<std::size_t> gang_rows_;
    std::vector<std::size_t> branch_rows_;
    LinearProgram program_;
    // Numbers of columns.
    std::vector<std::size_t> columns_;
    std::vector<std::size_t> singles_;
    std::vector<std::size_t> gangs_;
    std::vector<std::vector<std::size_t>> members_;  // by gang and kind
};

}  // namespace nos
