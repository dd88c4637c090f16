// A small linear program, solved by the revised simplex method in floating point: it guides a search. What a
// plan may do and what it costs is decided by integers elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace nos {

// Least cost over columns >= 0, each row at least or at most its amount, which is not negative.
class LinearProgram {
  public:
    struct Row {
        bool at_least = false;
        double amount = 0;
    };
    using Entries = std::vector<std::pair<std::size_t, double>>;  // by row

    // shortfall: what a row that is not met costs by unit; more than any column could.
    LinearProgram(std::vector<Row> rows, double shortfall);

    // Its number. What is solved already stays a start for what comes.
    std::size_t add(double cost, Entries entries);
    // Every pivot is a step; false when they run out.
    bool solve(std::int64_t& steps);

    [[nodiscard]] double objective() const;
    // Whether every row is met.
    [[nodiscard]] bool feasible() const;
    [[nodiscard]] double value(std::size_t column) const;
    [[nodiscard]] const std::vector<double>& duals() const { return duals_; }

  private:
    struct Column {
        double cost = 0;
        Entries entries;
    };

    void set_duals();
    [[nodiscard]] std::size_t entering(bool first) const;
    [[nodiscard]] std::vector<double> direction(std::size_t column) const;
    void pivot(std::size_t row, std::size_t column, const std::vector<double>& along);
    void invert_anew();

    std::vector<Row> rows_;
    std::vector<Column> columns_;  // first those of the rows themselves
    std::size_t own_ = 0;          // of the rows
    std::vector<bool> artificial_;
    std::vector<std::size_t> basis_;  // by row
    std::vector<bool> is_basic_;
    std::vector<std::vector<double>> inverse_;
    std::vector<double> values_;  // of the basis
    std::vector<double> duals_;
    int pivots_ = 0;
};

}  // namespace nos
