// Who waits, covered by the cheapest patterns: the choice of new nodes in plain numbers.
//
// Columns (patterns of groups) are made as they pay, priced by the duals of the linear program; rounded by
// taking whole ones and solving for the rest; and where that leaves a gap, all columns that could close it
// are listed and searched by branch and bound.
#pragma once

#include <cstdint>
#include <vector>

#include "node_shape.h"

namespace nos {

struct CoverProblem {
    // Pods of one kind, each on its own.
    struct Singles {
        std::size_t kind = 0;
        std::int64_t count = 0;
        std::int64_t cost = 0;  // of leaving one
    };
    // Pods that are placed all or not at all, but for the optional ones among them.
    struct Together {
        std::vector<std::int64_t> members;  // by kind
        std::vector<std::int64_t> cost;     // by kind, of leaving one
        std::int64_t optional = 0;
    };
    struct Group {
        std::int64_t cost = 0;  // of a node
        std::int64_t room = 0;
        std::vector<std::int64_t> uses;  // by limit
    };

    std::size_t kinds = 0;
    std::vector<Singles> singles;
    std::vector<Together> gangs;
    std::vector<Group> groups;
    std::vector<std::int64_t> limits;

    [[nodiscard]] std::vector<std::int64_t> demand() const;  // by kind
    [[nodiscard]] std::int64_t pods() const;
};

// Nodes of one group with one pattern.
struct CoverColumn {
    std::size_t group = 0;
    Counts pattern;

    auto operator<=>(const CoverColumn&) const = default;
};

struct Cover {
    std::vector<std::pair<CoverColumn, std::int64_t>> nodes;
    std::vector<std::int64_t> left_singles;                // as the problem lists them
    std::vector<std::vector<std::int64_t>> left_of_gangs;  // likewise, by kind
    std::int64_t cost = 0;
    double bound = 0;     // no cover costs less
    bool proven = false;  // none costs `step` less than this one
};

// step: what is worth a search; the costs of plans that differ in less count as equal. known: what some plan
// costs already.
Cover cover(const CoverProblem& problem, std::vector<NodeShape>& shapes, std::int64_t step,
            std::int64_t most_steps);

}  // namespace nos
