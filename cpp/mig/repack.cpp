#include "repack.h"

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <tuple>

namespace nos::mig {

namespace {

constexpr std::size_t wish = ~std::size_t{0};

// What looks for a place: a wish, or an instance that has to leave its own.
struct Item {
    std::string_view profile;
    Spot from;  // from.gpu == wish for the wishes
    std::size_t wanted = 0;
    std::int32_t size = 0;
};

// A place for an item, and who has to leave for it.
struct Option {
    Spot spot;
    std::vector<Placement> leave;
    std::int64_t cost = 0;

    [[nodiscard]] auto order() const { return std::tuple{leave.size(), cost, spot}; }
};

// Depth-first with a bound on the moves: every item in hand goes to each place where it can, those in its way
// come into hand. What has been placed stays, so that the depth is bounded.
class Search {
  public:
    Search(std::span<const PackedGpu> gpus, std::int64_t& steps)
        : gpus_{gpus.begin(), gpus.end()}, steps_{steps} {
        for (const PackedGpu& gpu : gpus_) {
            std::vector<Placement> all = gpu.fixed;
            all.insert(all.end(), gpu.movable.begin(), gpu.movable.end());
            free_units_ += gpu.states->free_units(*gpu.states->of(all));
        }
    }

    bool run(std::vector<Item> items, std::size_t most_moves) {
        std::ranges::sort(items, {}, [](const Item& item) { return std::tuple{-item.size, item.wanted}; });
        std::int64_t units = 0;
        for (const Item& item : items) {
            units += item.size;
        }
        if (units > free_units_) {
            return false;
        }
        hand_ = std::move(items);
        moves_left_ = most_moves;
        return place_next();
    }

    std::vector<std::pair<Item, Spot>> done;

  private:
    bool place_next() {
        if (hand_.empty()) {
            return true;
        }
        if (--steps_ < 0) {
            return false;
        }
        const auto largest = std::ranges::max_element(hand_, {}, &Item::size);
        const Item item = *largest;
        hand_.erase(largest);
        for (const Option& option : options(item)) {
            if (try_option(item, option)) {
                return true;
            }
            if (steps_ < 0) {
                break;
            }
        }
        hand_.push_back(item);
        return false;
    }

    bool try_option(const Item& item, const Option& option) {
        PackedGpu& gpu = gpus_[option.spot.gpu];
        const PackedGpu before = gpu;
        const std::vector<Item> hand_before = hand_;
        for (const Placement leaving : option.leave) {
            std::erase(gpu.movable, leaving);
            const Profile& profile = gpu.states->model().profiles[leaving.profile];
            hand_.push_back({profile.name, {option.spot.gpu, leaving}, 0, profile.size});
        }
        gpu.fixed.push_back(option.spot.placement);
        moves_left_ -= option.leave.size();
        done.emplace_back(item, option.spot);
        if (place_next()) {
            return true;
        }
        done.pop_back();
        moves_left_ += option.leave.size();
        gpu = before;
        hand_ = hand_before;
        return false;
    }

    // Places for the item, those that disturb least first. Of GPUs that hold the same, the first will do.
    [[nodiscard]] std::vector<Option> options(const Item& item) const {
        std::vector<Option> found;
        std::set<std::tuple<const States*, std::vector<Placement>, std::vector<Placement>>> seen;
        for (std::size_t number = 0; number < gpus_.size(); ++number) {
            const PackedGpu& gpu = gpus_[number];
            const auto profile = gpu.states->model().find(item.profile);
            if (!profile) {
                continue;
            }
            std::vector<Placement> fixed = gpu.fixed;
            std::vector<Placement> movable = gpu.movable;
            std::ranges::sort(fixed);
            std::ranges::sort(movable);
            if (number != item.from.gpu && !seen.emplace(gpu.states, fixed, movable).second) {
                continue;
            }
            for (const Placement placement : gpu.states->placements(*profile)) {
                const Spot spot{number, placement};
                if (spot != item.from) {
                    add_options(gpu, spot, movable, found);
                }
            }
        }
        std::ranges::sort(found, {}, &Option::order);
        return found;
    }

    // The smallest sets of movable instances that must leave for this placement.
    void add_options(const PackedGpu& gpu, const Spot& spot, const std::vector<Placement>& movable,
                     std::vector<Option>& found) const {
        const auto base = gpu.states->of(gpu.fixed);
        const auto with = gpu.states->next(*base, spot.placement);
        if (!with) {
            return;
        }
        const std::size_t subsets = std::size_t{1} << movable.size();
        std::vector<std::size_t> by_count(subsets);
        for (std::size_t i = 0; i < subsets; ++i) {
            by_count[i] = i;
        }
        std::ranges::stable_sort(by_count, {}, [](std::size_t set) { return std::popcount(set); });
        std::vector<std::size_t> taken;
        for (const std::size_t set : by_count) {
            if (std::cmp_greater(std::popcount(set), moves_left_)) {
                break;
            }
            if (std::ranges::any_of(taken, [&](std::size_t smaller) { return (set & smaller) == smaller; })) {
                continue;
            }
            std::vector<Placement> leave;
            std::optional<StateId> state = with;
            std::int64_t cost = 0;
            for (std::size_t i = 0; i < movable.size() && state; ++i) {
                if ((set >> i & 1U) != 0) {
                    leave.push_back(movable[i]);
                    cost += gpu.states->model().profiles[movable[i].profile].size;
                } else {
                    state = gpu.states->next(*state, movable[i]);
                }
            }
            if (state) {
                taken.push_back(set);
                found.push_back({spot, std::move(leave), (cost << 32U) - gpu.states->doors(*state)});
            }
        }
    }

    std::vector<PackedGpu> gpus_;
    std::int64_t& steps_;
    std::int64_t free_units_ = 0;
    std::vector<Item> hand_;
    std::size_t moves_left_ = 0;
};

void require_valid(std::span<const PackedGpu> gpus) {
    for (std::size_t i = 0; i < gpus.size(); ++i) {
        std::vector<Placement> all = gpus[i].fixed;
        all.insert(all.end(), gpus[i].movable.begin(), gpus[i].movable.end());
        if (!gpus[i].states->of(all)) {
            throw std::invalid_argument("the instances on GPU " + std::to_string(i) + " cannot be together");
        }
    }
}

// The best refusal that a GPU gives, when nothing of what is movable were there.
std::string refusal_anywhere(std::span<const PackedGpu> gpus, const std::string& wanted) {
    std::string reason = "no GPU knows the profile " + wanted;
    std::int32_t most = -1;
    for (const PackedGpu& gpu : gpus) {
        const auto profile = gpu.states->model().find(wanted);
        if (!profile) {
            continue;
        }
        const auto state = gpu.states->of(gpu.fixed);
        const std::int32_t units = gpu.states->free_units(*state);
        if (gpu.states->room(*state, *profile) > 0) {
            return wanted + " fits, but not together with all that would have to move for it";
        }
        if (units > most) {
            most = units;
            reason = refusal(*gpu.states, gpu.fixed, *profile);
        }
    }
    return reason;
}

}  // namespace

RepackPlan repack(std::span<const PackedGpu> gpus, std::span<const std::string> wanted,
                  std::int64_t most_steps) {
    require_valid(gpus);
    std::size_t movable = 0;
    for (const PackedGpu& gpu : gpus) {
        movable += gpu.movable.size();
    }
    const auto size_of = [&](const std::string& name) {
        std::int32_t size = 0;
        for (const PackedGpu& gpu : gpus) {
            if (const auto profile = gpu.states->model().find(name)) {
                const std::int32_t here = gpu.states->model().profiles[*profile].size;
                size = size == 0 ? here : std::min(size, here);
            }
        }
        return size;
    };

    RepackPlan plan;
    std::vector<Item> served;
    std::vector<std::pair<Item, Spot>> best;
    std::size_t needed = 0;  // moves: more wishes never need fewer
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        std::vector<Item> items = served;
        items.push_back({wanted[i], {wish, {}}, i, size_of(wanted[i])});
        std::optional<std::size_t> moves;
        bool cut_short = false;
        for (std::size_t most = needed; most <= movable && !moves; ++most) {
            std::int64_t steps = most_steps;
            Search search{gpus, steps};
            if (search.run(items, most)) {
                moves = most;
                best = std::move(search.done);
            } else if (steps < 0) {
                cut_short = true;
                most = most < movable ? movable - 1 : most;  // one last try without a bound
            }
        }
        plan.exact = plan.exact && !cut_short;
        if (moves) {
            needed = cut_short ? needed : *moves;
            served = std::move(items);
        } else {
            plan.unplaced.push_back({i, refusal_anywhere(gpus, wanted[i])});
        }
    }
    for (const auto& [item, spot] : best) {
        if (item.from.gpu == wish) {
            plan.placed.emplace_back(item.wanted, spot);
        } else {
            plan.moves.push_back({item.from, spot});
        }
    }
    std::ranges::sort(plan.placed);
    std::ranges::sort(plan.moves, {}, [](const Move& move) { return std::tuple{move.from, move.to}; });
    return plan;
}

}  // namespace nos::mig
