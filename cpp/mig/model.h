// What one GPU model can be cut into: facts, as NVML tells them.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nos::mig {

inline constexpr std::int32_t most_units = 16;
inline constexpr std::size_t most_profiles = 64;

// A bit per placement unit: 8 units on most models, 4 on A30, 12 on RTX PRO 6000.
using Occupancy = std::uint16_t;

struct Profile {
    std::string name;       // 3g.20gb
    std::int32_t size = 0;  // in placement units
    std::vector<std::int32_t> starts;
    std::int32_t compute_slices = 0;
    std::int32_t memory_mib = 0;
    std::int32_t max_instances = 0;
    std::vector<std::int32_t> engines;  // of each of the model's engines

    bool operator==(const Profile&) const = default;
};

// An instance lies where no other does; of each profile there are at most max_instances; the compute slices
// and engines of all add up to no more than the model's.
struct Model {
    std::string id;
    std::int32_t units = 0;
    std::int32_t compute_slices = 0;
    std::vector<std::pair<std::string, std::int32_t>>
        engines;  // those that an instance has for itself: name, total
    std::vector<Profile> profiles;

    // Throws std::invalid_argument when the parts do not go together.
    void validate() const;
    [[nodiscard]] std::optional<std::size_t> find(std::string_view profile) const;
    bool operator==(const Model&) const = default;
};

// A profile, by its number in the model, at a start unit.
struct Placement {
    std::uint8_t profile = 0;
    std::uint8_t start = 0;

    auto operator<=>(const Placement&) const = default;
};

}  // namespace nos::mig
