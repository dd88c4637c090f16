#include "branching.h"

#include <cmath>

namespace nos {

namespace {

constexpr double tiny = 1e-5;

double off_whole(double value) { return std::abs(value - std::round(value)); }

}  // namespace

Branching::Branching(const CoverProblem& problem, const std::vector<CoverColumn>& columns, double scale,
                     std::int64_t known, std::int64_t step)
    : problem_{problem}, columns_{columns}, scale_{scale}, known_{known}, step_{step} {}

bool Branching::run(std::int64_t& steps) {
    std::vector<Branch> branches;
    return search(branches, steps);
}

bool Branching::search(std::vector<Branch>& branches, std::int64_t& steps) {
    Master master{problem_, scale_, branches};
    for (const CoverColumn& column : columns_) {
        master.add(column);
    }
    if (!master.solve(steps)) {
        return false;
    }
    // Costs are whole: only what is cheaper by a step is worth a look.
    const double cost = master.objective() * scale_;
    if (!master.feasible() || cost > static_cast<double>(known_ - step_) + tiny * scale_) {
        return true;
    }
    // What is the least decided: how many nodes of a group, else which, else who is left.
    std::vector<double> of_group(problem_.groups.size());
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        of_group[columns_[i].group] += master.value(i);
    }
    Branch split;
    double most = tiny;
    double at = 0;
    const auto offer = [&](Branch::Of of, std::size_t index, double value) {
        if (off_whole(value) > most) {
            most = off_whole(value);
            at = value;
            split = {of, index, false, 0};
        }
    };
    for (std::size_t i = 0; i < problem_.gangs.size(); ++i) {
        offer(Branch::Of::gang, i, master.left_gang(i));
    }
    if (most <= tiny) {
        for (std::size_t group = 0; group < of_group.size(); ++group) {
            offer(Branch::Of::group, group, of_group[group]);
        }
    }
    if (most <= tiny) {
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            offer(Branch::Of::column, i, master.value(i));
        }
    }
    if (most <= tiny) {
        take(master);
        return true;
    }
    for (const bool up : {true, false}) {
        split.at_least = up;
        split.amount = static_cast<std::int64_t>(up ? std::ceil(at) : std::floor(at));
        branches.push_back(split);
        const bool ended = search(branches, steps);
        branches.pop_back();
        if (!ended) {
            return false;
        }
    }
    return true;
}

// Whole numbers, and what they cost.
void Branching::take(const Master& master) {
    Cover found;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        if (const auto count = std::llround(master.value(i)); count > 0) {
            found.nodes.emplace_back(columns_[i], count);
            found.cost += count * problem_.groups[columns_[i].group].cost;
        }
    }
    for (std::size_t i = 0; i < problem_.singles.size(); ++i) {
        const auto left = std::llround(master.left_singles(i));
        found.left_singles.push_back(left);
        found.cost += left * problem_.singles[i].cost;
    }
    for (std::size_t i = 0; i < problem_.gangs.size(); ++i) {
        const CoverProblem::Together& gang = problem_.gangs[i];
        const bool is_left = std::llround(master.left_gang(i)) > 0;
        std::vector<std::int64_t>& left = found.left_of_gangs.emplace_back(problem_.kinds);
        for (std::size_t kind = 0; kind < problem_.kinds; ++kind) {
            if (gang.members[kind] > 0) {
                left[kind] = is_left ? gang.members[kind] : std::llround(master.left_of_gang(i, kind));
                found.cost += left[kind] * gang.cost[kind];
            }
        }
    }
    if (found.cost < known_) {
        known_ = found.cost;
        best_ = std::move(found);
    }
}

}  // namespace nos
