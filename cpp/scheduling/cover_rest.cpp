#include "cover_rest.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace nos {

bool CoverRest::is_empty() const {
    return std::ranges::all_of(demand_, [](std::int64_t count) { return count == 0; });
}

std::int64_t CoverRest::room(std::size_t group) const {
    std::int64_t room = problem_.groups[group].room;
    for (std::size_t limit = 0; limit < problem_.limits.size(); ++limit) {
        if (const std::int64_t use = problem_.groups[group].uses[limit]; use > 0) {
            room = std::min(room, problem_.limits[limit] / use);
        }
    }
    return room;
}

void CoverRest::take(const CoverColumn& column, std::int64_t count) {
    CoverProblem::Group& group = problem_.groups[column.group];
    group.room -= count;
    for (std::size_t limit = 0; limit < problem_.limits.size(); ++limit) {
        problem_.limits[limit] -= count * group.uses[limit];
    }
    for (std::size_t kind = 0; kind < demand_.size(); ++kind) {
        const std::int64_t served = std::min(demand_[kind], count * column.pattern[kind]);
        demand_[kind] -= served;
        serve(kind, served);
    }
}

// Those that cost most to leave first.
void CoverRest::serve(std::size_t kind, std::int64_t count) {
    std::vector<std::pair<std::int64_t, std::int64_t*>> sources;
    for (auto& singles : problem_.singles) {
        if (singles.kind == kind) {
            sources.emplace_back(singles.cost, &singles.count);
        }
    }
    for (auto& gang : problem_.gangs) {
        sources.emplace_back(gang.cost[kind], &gang.members[kind]);
    }
    std::ranges::stable_sort(sources, std::greater{}, &std::pair<std::int64_t, std::int64_t*>::first);
    for (const auto& [cost, left] : sources) {
        const std::int64_t some = std::min(*left, count);
        *left -= some;
        count -= some;
    }
}

}  // namespace nos
