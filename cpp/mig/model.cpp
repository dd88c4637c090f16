#include "model.h"

#include <algorithm>
#include <stdexcept>

namespace nos::mig {

namespace {

void require(bool holds, const std::string& what) {
    if (!holds) {
        throw std::invalid_argument(what);
    }
}

void validate_profile(const Model& model, const Profile& profile) {
    const std::string name = model.id + " " + profile.name + ": ";
    require(!profile.name.empty(), name + "a profile needs a name");
    require(profile.size > 0 && profile.size <= model.units,
            name + "its size must be 1 to the model's units");
    require(!profile.starts.empty(), name + "it starts nowhere");
    require(std::ranges::all_of(
                profile.starts,
                [&](std::int32_t start) { return start >= 0 && start + profile.size <= model.units; }),
            name + "a start is outside the GPU");
    require(std::ranges::adjacent_find(profile.starts, std::ranges::greater_equal{}) == profile.starts.end(),
            name + "starts must ascend");
    require(profile.compute_slices >= 0 && profile.max_instances > 0 && profile.memory_mib >= 0,
            name + "absurd numbers");
    require(profile.engines.size() == model.engines.size(),
            name + "it must say how much it has of each engine");
    require(std::ranges::none_of(profile.engines, [](std::int32_t count) { return count < 0; }),
            name + "absurd numbers");
}

}  // namespace

void Model::validate() const {
    require(!id.empty(), "a GPU model needs an id");
    require(units > 0 && units <= most_units, id + ": 1 to 16 placement units are supported");
    require(compute_slices > 0, id + ": it has no compute slices");
    require(!profiles.empty() && profiles.size() <= most_profiles, id + ": 1 to 64 profiles are supported");
    for (std::size_t i = 0; i < profiles.size(); ++i) {
        validate_profile(*this, profiles[i]);
        require(find(profiles[i].name) == i, id + ": two profiles are called " + profiles[i].name);
    }
}

std::optional<std::size_t> Model::find(std::string_view profile) const {
    const auto found = std::ranges::find(profiles, profile, &Profile::name);
    return found == profiles.end() ? std::nullopt
                                   : std::optional{static_cast<std::size_t>(found - profiles.begin())};
}

}  // namespace nos::mig
