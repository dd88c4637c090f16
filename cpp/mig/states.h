// Every way in which a GPU can be taken, and what still fits then: one table per model, derived from its
// facts.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model.h"

namespace nos::mig {

// The number of a State. 0 is the empty GPU.
using StateId = std::uint32_t;

// Sets of instances that leave the same room are one State: they take the same units, the same sums of slices
// and engines, and as many of each profile that is scarce.
class States {
  public:
    // Throws std::invalid_argument for a model that is not valid or has too many states to list.
    explicit States(Model model);

    [[nodiscard]] const Model& model() const { return model_; }
    // All else follows from the model.
    bool operator==(const States& other) const { return model_ == other.model_; }
    [[nodiscard]] std::size_t size() const { return occupancy_.size(); }
    // All placements of the model, by profile, then by start; their numbers index next().
    [[nodiscard]] std::span<const Placement> placements() const { return placements_; }
    [[nodiscard]] std::span<const Placement> placements(std::size_t profile) const;
    [[nodiscard]] Occupancy mask(Placement placement) const;

    [[nodiscard]] Occupancy occupancy(StateId state) const { return occupancy_[state]; }
    [[nodiscard]] std::int32_t free_units(StateId state) const;
    // After one more instance; nothing when it does not fit.
    [[nodiscard]] std::optional<StateId> next(StateId state, Placement placement) const;
    // With all of these instances; nothing when they cannot be together.
    [[nodiscard]] std::optional<StateId> of(std::span<const Placement> instances) const;

    // The doors kept open: how many instances of a profile would still fit if no other came.
    [[nodiscard]] std::int32_t room(StateId state, std::size_t profile) const {
        return room_[state * model_.profiles.size() + profile];
    }
    // The doors of all profiles as one number: units that each profile could still fill, added up.
    [[nodiscard]] std::int64_t doors(StateId state) const { return doors_[state]; }

  private:
    static constexpr StateId none = ~StateId{0};

    [[nodiscard]] std::size_t number(Placement placement) const;
    void list_states();
    void count_room();

    Model model_;
    std::vector<Placement> placements_;
    std::vector<std::size_t> first_placement_;  // of each profile, and the end
    std::vector<Occupancy> occupancy_;
    std::vector<StateId> next_;  // by state and placement
    std::vector<std::uint8_t> room_;
    std::vector<std::int64_t> doors_;
};

}  // namespace nos::mig
