#include "linear_program.h"

#include <algorithm>
#include <cmath>

namespace nos {

namespace {

constexpr double tiny = 1e-9;
constexpr int pivots_between = 128;  // inversions, which take away what rounding has added up to

}  // namespace

LinearProgram::LinearProgram(std::vector<Row> rows, double shortfall) : rows_{std::move(rows)} {
    const std::size_t size = rows_.size();
    inverse_.assign(size, std::vector<double>(size));
    for (std::size_t row = 0; row < size; ++row) {
        columns_.push_back({0, {{row, rows_[row].at_least ? -1.0 : 1.0}}});
        artificial_.push_back(false);
        inverse_[row][row] = 1;
    }
    for (std::size_t row = 0; row < size; ++row) {
        if (rows_[row].at_least) {
            basis_.push_back(columns_.size());
            columns_.push_back({shortfall, {{row, 1.0}}});
            artificial_.push_back(true);
        } else {
            basis_.push_back(row);
        }
        values_.push_back(rows_[row].amount);
    }
    own_ = columns_.size();
    is_basic_.assign(own_, false);
    for (const std::size_t column : basis_) {
        is_basic_[column] = true;
    }
    set_duals();
}

std::size_t LinearProgram::add(double cost, Entries entries) {
    columns_.push_back({cost, std::move(entries)});
    is_basic_.push_back(false);
    return columns_.size() - 1 - own_;
}

void LinearProgram::set_duals() {
    duals_.assign(rows_.size(), 0);
    for (std::size_t row = 0; row < rows_.size(); ++row) {
        if (const double cost = columns_[basis_[row]].cost; cost != 0) {
            for (std::size_t i = 0; i < rows_.size(); ++i) {
                duals_[i] += cost * inverse_[row][i];
            }
        }
    }
}

// The one that saves most, or the first that saves; the number of columns when none does.
std::size_t LinearProgram::entering(bool first) const {
    double best = -tiny;
    std::size_t found = columns_.size();
    for (std::size_t column = 0; column < columns_.size(); ++column) {
        if (is_basic_[column] || (column < own_ && artificial_[column])) {
            continue;
        }
        double reduced = columns_[column].cost;
        const double scale = 1 + std::abs(reduced);
        for (const auto& [row, amount] : columns_[column].entries) {
            reduced -= duals_[row] * amount;
        }
        reduced /= scale;
        if (reduced < best) {
            best = reduced;
            found = column;
            if (first) {
                break;
            }
        }
    }
    return found;
}

std::vector<double> LinearProgram::direction(std::size_t column) const {
    std::vector<double> along(rows_.size());
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        for (const auto& [row, amount] : columns_[column].entries) {
            along[i] += inverse_[i][row] * amount;
        }
    }
    return along;
}

void LinearProgram::pivot(std::size_t row, std::size_t column, const std::vector<double>& along) {
    const double length = values_[row] / along[row];
    for (double& entry : inverse_[row]) {
        entry /= along[row];
    }
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        if (i == row || along[i] == 0) {
            continue;
        }
        values_[i] = std::max(0.0, values_[i] - along[i] * length);
        for (std::size_t j = 0; j < rows_.size(); ++j) {
            inverse_[i][j] -= along[i] * inverse_[row][j];
        }
    }
    values_[row] = std::max(0.0, length);
    is_basic_[basis_[row]] = false;
    is_basic_[column] = true;
    basis_[row] = column;
    if (++pivots_ % pivots_between == 0) {
        invert_anew();
    }
    set_duals();
}

void LinearProgram::invert_anew() {
    const std::size_t size = rows_.size();
    std::vector<std::vector<double>> matrix(size, std::vector<double>(size));
    std::vector<std::vector<double>> inverse(size, std::vector<double>(size));
    for (std::size_t column = 0; column < size; ++column) {
        for (const auto& [row, amount] : columns_[basis_[column]].entries) {
            matrix[row][column] = amount;
        }
        inverse[column][column] = 1;
    }
    for (std::size_t step = 0; step < size; ++step) {
        std::size_t largest = step;
        for (std::size_t row = step + 1; row < size; ++row) {
            if (std::abs(matrix[row][step]) > std::abs(matrix[largest][step])) {
                largest = row;
            }
        }
        if (std::abs(matrix[largest][step]) < tiny) {
            return;  // what there is must do
        }
        std::swap(matrix[step], matrix[largest]);
        std::swap(inverse[step], inverse[largest]);
        const double by = matrix[step][step];
        for (std::size_t j = 0; j < size; ++j) {
            matrix[step][j] /= by;
            inverse[step][j] /= by;
        }
        for (std::size_t row = 0; row < size; ++row) {
            if (const double times = matrix[row][step]; row != step && times != 0) {
                for (std::size_t j = 0; j < size; ++j) {
                    matrix[row][j] -= times * matrix[step][j];
                    inverse[row][j] -= times * inverse[step][j];
                }
            }
        }
    }
    inverse_ = std::move(inverse);
    for (std::size_t i = 0; i < size; ++i) {
        double value = 0;
        for (std::size_t row = 0; row < size; ++row) {
            value += inverse_[i][row] * rows_[row].amount;
        }
        values_[i] = std::max(0.0, value);
    }
}

bool LinearProgram::solve(std::int64_t& steps) {
    const auto patience = static_cast<int>(2 * rows_.size() + 20);
    int in_vain = 0;
    double last = objective();
    while (true) {
        const std::size_t column = entering(in_vain > patience);
        if (column == columns_.size()) {
            return true;
        }
        if (--steps < 0) {
            return false;
        }
        const std::vector<double> along = direction(column);
        std::size_t leaving = rows_.size();
        double least = 0;
        for (std::size_t row = 0; row < rows_.size(); ++row) {
            if (along[row] <= tiny) {
                continue;
            }
            const double ratio = values_[row] / along[row];
            const bool is_less = leaving == rows_.size() || ratio < least - tiny;
            const bool is_equal = !is_less && ratio <= least + tiny;
            const bool is_better = is_equal && (in_vain > patience ? basis_[row] < basis_[leaving]
                                                                   : along[row] > along[leaving]);
            if (is_less || is_better) {
                leaving = row;
                least = is_less ? ratio : std::min(least, ratio);
            }
        }
        if (leaving == rows_.size()) {
            return true;  // only rounding makes it look unbounded: every column costs
        }
        pivot(leaving, column, along);
        const double now = objective();
        in_vain = now < last - tiny ? 0 : in_vain + 1;
        last = now;
    }
}

double LinearProgram::objective() const {
    double sum = 0;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
        sum += columns_[basis_[row]].cost * values_[row];
    }
    return sum;
}

bool LinearProgram::feasible() const {
    for (std::size_t row = 0; row < rows_.size(); ++row) {
        if (basis_[row] < own_ && artificial_[basis_[row]] && values_[row] > 1e-6) {
            return false;
        }
    }
    return true;
}

double LinearProgram::value(std::size_t column) const {
    const auto found = std::ranges::find(basis_, column + own_);
    return found == basis_.end() ? 0 : values_[static_cast<std::size_t>(found - basis_.begin())];
}

}  // namespace nos
