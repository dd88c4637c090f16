#include "master.h"

#include <algorithm>
#include <numeric>

namespace nos {

namespace {

double shortfall(const CoverProblem& problem, double scale) {
    double most = 1;
    for (const auto& singles : problem.singles) {
        most = std::max(most, static_cast<double>(singles.cost));
    }
    for (const auto& gang : problem.gangs) {
        double cost = 0;
        for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
            cost += static_cast<double>(gang.members[kind] * gang.cost[kind]);
        }
        most = std::max(most, cost);
    }
    for (const auto& group : problem.groups) {
        most = std::max(most, static_cast<double>(group.cost));
    }
    return 2 * most / scale;
}

}  // namespace

Master::Master(const CoverProblem& problem, double scale, const std::vector<Branch>& branches)
    : problem_{problem},
      scale_{scale},
      branches_{branches},
      demand_{problem.demand()},
      program_{rows(), shortfall(problem, scale)} {
    for (std::size_t i = 0; i < problem.singles.size(); ++i) {
        const auto& singles = problem.singles[i];
        LinearProgram::Entries entries{{singles.kind, 1}};
        if (single_rows_[i] != none) {
            entries.emplace_back(single_rows_[i], 1);
        }
        singles_.push_back(program_.add(static_cast<double>(singles.cost) / scale, std::move(entries)));
    }
    for (std::size_t i = 0; i < problem.gangs.size(); ++i) {
        const auto& gang = problem.gangs[i];
        LinearProgram::Entries all;
        double cost = 0;
        std::vector<std::size_t>& members = members_.emplace_back(problem.kinds, none);
        for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
            if (gang.members[kind] == 0) {
                continue;
            }
            all.emplace_back(kind, static_cast<double>(gang.members[kind]));
            cost += static_cast<double>(gang.members[kind] * gang.cost[kind]) / scale;
            if (gang.optional > 0) {
                members[kind] = program_.add(static_cast<double>(gang.cost[kind]) / scale,
                                             {{kind, 1}, {gang_rows_[i], 1}});
            }
        }
        all.emplace_back(gang_rows_[i], static_cast<double>(std::max<std::int64_t>(1, gang.optional)));
        for (std::size_t branch = 0; branch < branches_.size(); ++branch) {
            if (branches_[branch].of == Branch::Of::gang && branches_[branch].index == i) {
                all.emplace_back(branch_rows_[branch], 1);
            }
        }
        gangs_.push_back(program_.add(cost, std::move(all)));
    }
}

std::vector<LinearProgram::Row> Master::rows() {
    std::vector<LinearProgram::Row> rows;
    const auto add = [&](bool at_least, std::int64_t amount) {
        rows.push_back({at_least, static_cast<double>(amount)});
        return rows.size() - 1;
    };
    for (const std::int64_t amount : demand_) {
        add(true, amount);
    }
    const std::int64_t all = std::accumulate(demand_.begin(), demand_.end(), std::int64_t{0});
    for (const auto& group : problem_.groups) {
        room_rows_.push_back(group.room < all ? add(false, group.room) : none);
    }
    for (const std::int64_t limit : problem_.limits) {
        limit_rows_.push_back(add(false, limit));
    }
    std::vector<std::int64_t> sources(problem_.kinds);
    for (const auto& singles : problem_.singles) {
        ++sources[singles.kind];
    }
    for (const auto& gang : problem_.gangs) {
        for (std::size_t kind = 0; kind < problem_.kinds; ++kind) {
            sources[kind] += gang.members[kind] > 0 ? 1 : 0;
        }
    }
    for (const auto& singles : problem_.singles) {
        single_rows_.push_back(sources[singles.kind] > 1 ? add(false, singles.count) : none);
    }
    for (const auto& gang : problem_.gangs) {
        gang_rows_.push_back(add(false, std::max<std::int64_t>(1, gang.optional)));
    }
    for (const Branch& branch : branches_) {
        branch_rows_.push_back(add(branch.at_least, branch.amount));
    }
    return rows;
}

void Master::add(const CoverColumn& column) {
    const auto& group = problem_.groups[column.group];
    LinearProgram::Entries entries;
    for (std::size_t kind = 0; kind < problem_.kinds; ++kind) {
        if (const auto count = std::min<std::int64_t>(column.pattern[kind], demand_[kind]); count > 0) {
            entries.emplace_back(kind, static_cast<double>(count));
        }
    }
    if (room_rows_[column.group] != none) {
        entries.emplace_back(room_rows_[column.group], 1);
    }
    for (std::size_t limit = 0; limit < limit_rows_.size(); ++limit) {
        if (group.uses[limit] > 0) {
            entries.emplace_back(limit_rows_[limit], static_cast<double>(group.uses[limit]));
        }
    }
    for (std::size_t branch = 0; branch < branches_.size(); ++branch) {
        const bool counts =
            branches_[branch].of == Branch::Of::group
                ? branches_[branch].index == column.group
                : branches_[branch].of == Branch::Of::column && branches_[branch].index == columns_.size();
        if (counts) {
            entries.emplace_back(branch_rows_[branch], 1);
        }
    }
    columns_.push_back(program_.add(static_cast<double>(group.cost) / scale_, std::move(entries)));
}

std::vector<double> Master::worth() const {
    std::vector<double> worth;
    for (std::size_t kind = 0; kind < problem_.kinds; ++kind) {
        worth.push_back(std::max(0.0, program_.duals()[kind]));
    }
    return worth;
}

double Master::cost_of(std::size_t group) const {
    double cost = static_cast<double>(problem_.groups[group].cost) / scale_;
    if (room_rows_[group] != none) {
        cost -= program_.duals()[room_rows_[group]];
    }
    for (std::size_t limit = 0; limit < limit_rows_.size(); ++limit) {
        cost -=
            program_.duals()[limit_rows_[limit]] * static_cast<double>(problem_.groups[group].uses[limit]);
    }
    return cost;
}

double Master::left_of_gang(std::size_t index, std::size_t kind) const {
    return members_[index][kind] == none ? 0 : program_.value(members_[index][kind]);
}

}  // namespace nos
