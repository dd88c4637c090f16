#include "states.h"

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>

namespace nos::mig {

namespace {

constexpr std::size_t most_entries = 1U << 24U;  // of next_: 64 MiB

// What a set of instances takes, as far as it bounds what can follow. Compared as a whole.
struct Taken {
    Occupancy units = 0;
    std::int32_t slices = 0;
    std::vector<std::int32_t> engines;
    std::vector<std::int32_t> scarce;  // instances of each profile that max_instances can stop

    auto operator<=>(const Taken&) const = default;
};

// Whether max_instances says anything that the units do not.
bool is_scarce(const Profile& profile) {
    std::int32_t disjoint = 0;
    std::int32_t end = 0;
    for (const std::int32_t start : profile.starts) {
        if (start >= end) {
            ++disjoint;
            end = start + profile.size;
        }
    }
    return profile.max_instances < disjoint;
}

}  // namespace

States::States(Model model) : model_{std::move(model)} {
    model_.validate();
    for (std::size_t profile = 0; profile < model_.profiles.size(); ++profile) {
        first_placement_.push_back(placements_.size());
        for (const std::int32_t start : model_.profiles[profile].starts) {
            placements_.push_back({static_cast<std::uint8_t>(profile), static_cast<std::uint8_t>(start)});
        }
    }
    first_placement_.push_back(placements_.size());
    list_states();
    count_room();
}

std::span<const Placement> States::placements(std::size_t profile) const {
    return std::span{placements_}.subspan(first_placement_[profile],
                                          first_placement_[profile + 1] - first_placement_[profile]);
}

Occupancy States::mask(Placement placement) const {
    const auto size = static_cast<unsigned>(model_.profiles[placement.profile].size);
    return static_cast<Occupancy>(((1U << size) - 1U) << placement.start);
}

std::int32_t States::free_units(StateId state) const {
    return model_.units - std::popcount(occupancy_[state]);
}

std::size_t States::number(Placement placement) const {
    const auto of_profile = placements(placement.profile);
    const auto found = std::ranges::lower_bound(of_profile, placement);
    return first_placement_[placement.profile] + static_cast<std::size_t>(found - of_profile.begin());
}

std::optional<StateId> States::next(StateId state, Placement placement) const {
    const std::size_t index = number(placement);
    if (index == placements_.size() || placements_[index] != placement) {
        return std::nullopt;
    }
    const StateId after = next_[state * placements_.size() + index];
    return after == none ? std::nullopt : std::optional{after};
}

std::optional<StateId> States::of(std::span<const Placement> instances) const {
    std::optional<StateId> state = 0;
    for (const Placement placement : instances) {
        if (placement.profile >= model_.profiles.size()) {
            return std::nullopt;
        }
        const auto of_profile = placements(placement.profile);
        if (!std::ranges::binary_search(of_profile, placement)) {
            return std::nullopt;
        }
        state = next(*state, placement);
        if (!state) {
            return std::nullopt;
        }
    }
    return state;
}

void States::list_states() {
    std::vector<std::size_t> scarce_index(model_.profiles.size(), model_.profiles.size());
    std::size_t scarce_count = 0;
    for (std::size_t profile = 0; profile < model_.profiles.size(); ++profile) {
        if (is_scarce(model_.profiles[profile])) {
            scarce_index[profile] = scarce_count++;
        }
    }
    const auto with = [&](const Taken& taken, Placement placement) -> std::optional<Taken> {
        const Profile& profile = model_.profiles[placement.profile];
        Taken after = taken;
        if ((taken.units & mask(placement)) != 0) {
            return std::nullopt;
        }
        after.units = static_cast<Occupancy>(taken.units | mask(placement));
        after.slices += profile.compute_slices;
        if (after.slices > model_.compute_slices) {
            return std::nullopt;
        }
        for (std::size_t engine = 0; engine < model_.engines.size(); ++engine) {
            after.engines[engine] += profile.engines[engine];
            if (after.engines[engine] > model_.engines[engine].second) {
                return std::nullopt;
            }
        }
        const std::size_t index = scarce_index[placement.profile];
        if (index < scarce_count && ++after.scarce[index] > profile.max_instances) {
            return std::nullopt;
        }
        return after;
    };

    std::map<Taken, StateId> known;
    std::vector<Taken> list;
    const auto id_of = [&](Taken taken) {
        const auto [found, is_new] = known.try_emplace(std::move(taken), static_cast<StateId>(list.size()));
        if (is_new) {
            if (list.size() * placements_.size() >= most_entries) {
                throw std::invalid_argument(model_.id + ": it can be cut in too many ways");
            }
            list.push_back(found->first);
        }
        return found->second;
    };
    id_of({0, 0, std::vector<std::int32_t>(model_.engines.size()), std::vector<std::int32_t>(scarce_count)});
    for (std::size_t state = 0; state < list.size(); ++state) {
        for (const Placement placement : placements_) {
            auto after = with(list[state], placement);
            next_.push_back(after ? id_of(std::move(*after)) : none);
        }
    }
    for (const Taken& taken : list) {
        occupancy_.push_back(taken.units);
    }
}

void States::count_room() {
    const std::size_t profiles = model_.profiles.size();
    room_.resize(size() * profiles);
    doors_.resize(size());
    std::vector<StateId> order(size());
    std::iota(order.begin(), order.end(), StateId{0});
    // What follows a state takes more units than it does.
    std::ranges::stable_sort(order, std::greater{},
                             [&](StateId state) { return std::popcount(occupancy_[state]); });
    for (const StateId state : order) {
        for (std::size_t profile = 0; profile < profiles; ++profile) {
            std::uint8_t most = 0;
            for (std::size_t i = first_placement_[profile]; i < first_placement_[profile + 1]; ++i) {
                if (const StateId after = next_[state * placements_.size() + i]; after != none) {
                    most = std::max<std::uint8_t>(
                        most, static_cast<std::uint8_t>(room_[after * profiles + profile] + 1));
                }
            }
            room_[state * profiles + profile] = most;
            doors_[state] += std::int64_t{most} * model_.profiles[profile].size;
        }
    }
}

}  // namespace nos::mig
