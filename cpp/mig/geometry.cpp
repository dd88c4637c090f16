#include "geometry.h"

#include <algorithm>
#include <set>

namespace nos::mig {

std::vector<Geometry> geometries(const States& states, bool maximal) {
    const std::size_t profiles = states.model().profiles.size();
    // By number of instances: each geometry, and the states that it can leave the GPU in.
    std::set<Geometry> all;
    std::set<std::pair<Geometry, StateId>> layer{{Geometry(profiles), 0}};
    while (!layer.empty()) {
        std::set<std::pair<Geometry, StateId>> larger;
        for (const auto& [geometry, state] : layer) {
            all.insert(geometry);
            for (const Placement placement : states.placements()) {
                if (const auto after = states.next(state, placement)) {
                    Geometry with = geometry;
                    ++with[placement.profile];
                    larger.emplace(std::move(with), *after);
                }
            }
        }
        layer = std::move(larger);
    }
    std::vector<Geometry> found{all.begin(), all.end()};
    if (maximal) {
        std::erase_if(found, [&](Geometry geometry) {
            return std::ranges::any_of(geometry, [&](std::int32_t& count) {
                ++count;
                const bool fits = all.contains(geometry);
                --count;
                return fits;
            });
        });
    }
    return found;
}

}  // namespace nos::mig
