#include "cover_settle.h"

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>

#include "cover_rest.h"

namespace nos {

namespace {

// Those that cost most to leave come first, gangs before singles. What is free after that.
std::vector<std::int64_t> hand_out(const CoverProblem& problem, Cover& cover,
                                   std::vector<std::int64_t> free) {
    std::vector<std::tuple<std::int64_t, bool, std::size_t>> order;
    for (std::size_t i = 0; i < problem.gangs.size(); ++i) {
        order.emplace_back(-std::ranges::max(problem.gangs[i].cost), false, i);
    }
    for (std::size_t i = 0; i < problem.singles.size(); ++i) {
        order.emplace_back(-problem.singles[i].cost, true, i);
    }
    std::ranges::sort(order);
    cover.left_singles.resize(problem.singles.size());
    cover.left_of_gangs.resize(problem.gangs.size());
    for (const auto& [cost, is_single, index] : order) {
        if (is_single) {
            const CoverProblem::Singles& singles = problem.singles[index];
            const std::int64_t served = std::min(singles.count, free[singles.kind]);
            free[singles.kind] -= served;
            cover.left_singles[index] = singles.count - served;
            cover.cost += cover.left_singles[index] * singles.cost;
            continue;
        }
        const CoverProblem::Together& gang = problem.gangs[index];
        std::vector<std::int64_t>& left = cover.left_of_gangs[index];
        left = gang.members;
        std::int64_t lacking = 0;
        for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
            left[kind] -= std::min(free[kind], left[kind]);
            lacking += left[kind];
        }
        if (lacking > gang.optional) {
            left = gang.members;
        }
        for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
            free[kind] -= gang.members[kind] - left[kind];
            cover.cost += left[kind] * gang.cost[kind];
        }
    }
    return free;
}

bool holds(NodeShape& shape, const Counts& pattern) {
    NodeShape::Left left = shape.empty();
    for (std::size_t kind = 0; kind < pattern.size(); ++kind) {
        if (pattern[kind] > 0 &&
            (!shape.may_hold(kind) || shape.more(left, kind, pattern[kind]) < pattern[kind])) {
            return false;
        }
        shape.add(left, kind, pattern[kind]);
    }
    return true;
}

// The cheapest group of which a node can be had that holds that much; its own if there is none.
std::size_t cheapest(const CoverProblem& problem, std::vector<NodeShape>& shapes, const CoverColumn& needed,
                     const CoverRest& rest) {
    std::size_t best = needed.group;
    for (std::size_t group = 0; group < shapes.size(); ++group) {
        if (problem.groups[group].cost < problem.groups[best].cost && rest.room(group) > 0 &&
            holds(shapes[group], needed.pattern)) {
            best = group;
        }
    }
    return best;
}

// Gives back nodes that are not needed, the dearest first, and takes cheaper ones where they do as well.
std::vector<std::pair<CoverColumn, std::int64_t>> shrunk(
    const CoverProblem& problem, std::vector<NodeShape>& shapes,
    const std::vector<std::pair<CoverColumn, std::int64_t>>& taken, std::vector<std::int64_t> free) {
    std::vector<CoverColumn> nodes;
    CoverRest rest{problem};
    for (const auto& [column, count] : taken) {
        rest.take(column, count);
        nodes.insert(nodes.end(), static_cast<std::size_t>(count), column);
    }
    std::ranges::stable_sort(nodes, std::greater{},
                             [&](const CoverColumn& node) { return problem.groups[node.group].cost; });
    std::map<CoverColumn, std::int64_t> kept;
    for (CoverColumn& node : nodes) {
        bool is_empty = true;
        bool is_less = false;
        for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
            const auto spare =
                static_cast<std::int32_t>(std::min<std::int64_t>(free[kind], node.pattern[kind]));
            is_less = is_less || spare > 0;
            is_empty = is_empty && spare == node.pattern[kind];
        }
        if (is_empty) {
            for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
                free[kind] -= node.pattern[kind];
            }
            continue;
        }
        if (is_less) {
            CoverColumn needed = node;
            for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
                needed.pattern[kind] -=
                    static_cast<std::int32_t>(std::min<std::int64_t>(free[kind], node.pattern[kind]));
            }
            if (const std::size_t group = cheapest(problem, shapes, needed, rest); group != node.group) {
                for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
                    free[kind] -= node.pattern[kind] - needed.pattern[kind];
                }
                node = {group, std::move(needed.pattern)};
                rest.take(node, 1);
            }
        }
        ++kept[node];
    }
    return {kept.begin(), kept.end()};
}

}  // namespace

Cover settle(const CoverProblem& problem, std::vector<NodeShape>& shapes,
             const std::vector<std::pair<CoverColumn, std::int64_t>>& taken) {
    Cover cover;
    std::vector<std::int64_t> places(problem.kinds);
    for (const auto& [column, count] : taken) {
        for (std::size_t kind = 0; kind < problem.kinds; ++kind) {
            places[kind] += count * column.pattern[kind];
        }
    }
    const std::vector<std::int64_t> free = hand_out(problem, cover, places);
    cover.nodes = shrunk(problem, shapes, taken, free);
    for (const auto& [column, count] : cover.nodes) {
        cover.cost += count * problem.groups[column.group].cost;
    }
    return cover;
}

}  // namespace nos
