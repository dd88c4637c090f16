#include "repartition.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <stdexcept>
#include <tuple>

namespace nos::mig {

namespace {

// What a plan is judged by, best first when compared.
struct Worth {
    std::int64_t units = 0;
    std::int64_t instances = 0;
    std::int64_t changes = 0;  // negative: destroyed and created
    std::int64_t doors = 0;

    auto operator<=>(const Worth&) const = default;
};

// Tries every set of placements for what is wanted, and keeps the best with what it can keep of the free
// instances.
class Search {
  public:
    Search(const States& states, StateId start, std::span<const Placement> free,
           std::span<const std::size_t> wanted)
        : states_{states}, free_{free.begin(), free.end()}, missing_(states.model().profiles.size()) {
        std::ranges::sort(free_);
        for (const std::size_t profile : wanted) {
            ++missing_[profile];
        }
        choose(start, 0);
    }

    [[nodiscard]] const std::vector<Placement>& chosen() const { return best_chosen_; }
    [[nodiscard]] const std::vector<Placement>& kept() const { return best_kept_; }

  private:
    // Placements in ascending order, so that each set is tried once.
    void choose(StateId state, std::size_t from) {
        judge(state);
        const auto all = states_.placements();
        for (std::size_t i = from; i < all.size(); ++i) {
            if (missing_[all[i].profile] == 0) {
                continue;
            }
            if (const auto after = states_.next(state, all[i])) {
                --missing_[all[i].profile];
                chosen_.push_back(all[i]);
                choose(*after, i + 1);
                chosen_.pop_back();
                ++missing_[all[i].profile];
            }
        }
    }

    void judge(StateId state) {
        Worth worth;
        std::vector<Placement> others;
        for (const Placement placement : chosen_) {
            worth.units += states_.model().profiles[placement.profile].size;
        }
        std::ranges::set_difference(free_, chosen_, std::back_inserter(others));
        worth.instances = static_cast<std::int64_t>(chosen_.size());
        const auto found = static_cast<std::int64_t>(free_.size() - others.size());
        // At best every other instance is kept.
        worth.changes = found - worth.instances;
        if (best_ && std::tie(worth.units, worth.instances, worth.changes) <
                         std::tie(best_->units, best_->instances, best_->changes)) {
            return;
        }
        keep(state, others, 0, worth);
    }

    // Which of the other free instances stay: all subsets.
    void keep(StateId state, const std::vector<Placement>& others, std::size_t from, Worth worth) {
        if (from < others.size()) {
            if (const auto after = states_.next(state, others[from])) {
                kept_.push_back(others[from]);
                keep(*after, others, from + 1, worth);
                kept_.pop_back();
            }
            --worth.changes;
            keep(state, others, from + 1, worth);
            return;
        }
        worth.doors = states_.doors(state);
        if (!best_ || worth > *best_) {
            best_ = worth;
            best_chosen_ = chosen_;
            best_kept_ = kept_;
        }
    }

    const States& states_;
    std::vector<Placement> free_;
    std::vector<std::int32_t> missing_;  // of each profile
    std::vector<Placement> chosen_;
    std::vector<Placement> kept_;
    std::optional<Worth> best_;
    std::vector<Placement> best_chosen_;
    std::vector<Placement> best_kept_;
};

std::string text(const Model& model, Placement placement) {
    return model.profiles[placement.profile].name + "@" + std::to_string(placement.start);
}

}  // namespace

std::string refusal(const States& states, std::span<const Placement> used, std::size_t profile) {
    const Model& model = states.model();
    const Profile& wanted = model.profiles[profile];
    const auto state = states.of(used);
    if (!state) {
        return "the instances there do not go together";
    }
    const Occupancy taken = states.occupancy(*state);
    const auto is_free = [&](Placement placement) { return (states.mask(placement) & taken) == 0; };
    const auto needs = [&](std::int64_t amount, const std::string& what, std::int64_t free) {
        return wanted.name + " needs " + std::to_string(amount) + " free " + what + (amount == 1 ? "" : "s") +
               ", the GPU has " + std::to_string(free);
    };
    const std::int32_t units = states.free_units(*state);
    if (units < wanted.size) {
        return needs(wanted.size, "unit", units);
    }
    if (!std::ranges::any_of(states.placements(profile), is_free)) {
        return wanted.name + " needs " + std::to_string(wanted.size) +
               (wanted.size == 1 ? " free unit at" : " free units in a row from") +
               " one of its starts, the GPU has " + std::to_string(units) + " elsewhere";
    }
    std::int32_t slices = model.compute_slices;
    std::int32_t same = 0;
    std::vector<std::int32_t> engines(model.engines.size());
    for (const Placement placement : used) {
        const Profile& other = model.profiles[placement.profile];
        slices -= other.compute_slices;
        same += placement.profile == profile ? 1 : 0;
        for (std::size_t i = 0; i < engines.size(); ++i) {
            engines[i] += other.engines[i];
        }
    }
    if (slices < wanted.compute_slices) {
        return needs(wanted.compute_slices, "compute slice", slices);
    }
    if (same == wanted.max_instances) {
        return "a GPU holds at most " + std::to_string(same) + " of " + wanted.name;
    }
    for (std::size_t i = 0; i < engines.size(); ++i) {
        const auto& [name, total] = model.engines[i];
        if (engines[i] + wanted.engines[i] > total) {
            return needs(wanted.engines[i], name + " engine", total - engines[i]);
        }
    }
    return wanted.name + " fits";
}

Plan repartition(const States& states, std::span<const Placement> used, std::span<const Placement> free,
                 std::span<const std::size_t> wanted) {
    const Model& model = states.model();
    std::vector<Placement> there{used.begin(), used.end()};
    there.insert(there.end(), free.begin(), free.end());
    for (std::size_t i = 0; i < there.size(); ++i) {
        if (!states.of(std::span{there}.first(i + 1))) {
            throw std::invalid_argument(text(model, there[i]) + " cannot be on one " + model.id +
                                        " with the instances named before it");
        }
    }
    const Search search{states, *states.of(used), free, wanted};

    Plan plan;
    std::vector<Placement> after = search.chosen();
    after.insert(after.end(), search.kept().begin(), search.kept().end());
    std::ranges::copy_if(free, std::back_inserter(plan.destroy), [&](Placement placement) {
        return std::ranges::find(after, placement) == after.end();
    });
    std::ranges::copy_if(search.chosen(), std::back_inserter(plan.create), [&](Placement placement) {
        return std::ranges::find(free, placement) == free.end();
    });
    std::vector<Placement> taken{used.begin(), used.end()};
    taken.insert(taken.end(), search.chosen().begin(), search.chosen().end());
    std::vector<Placement> left = search.chosen();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const auto found = std::ranges::find(left, wanted[i], &Placement::profile);
        if (found != left.end()) {
            plan.placed.emplace_back(i, *found);
            left.erase(found);
        } else {
            plan.unplaced.push_back({i, refusal(states, taken, wanted[i])});
        }
    }
    return plan;
}

}  // namespace nos::mig
