#include "cut.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace nos {

namespace {

std::pair<std::uint8_t, std::uint8_t> by_start(mig::Placement placement) {
    return {placement.start, placement.profile};
}

// Those of one profile that the kubelet hands out and nobody holds.
std::vector<mig::Placement> ready_instances(const GpuSpec& gpu, std::size_t profile) {
    std::vector<mig::Placement> ready;
    for (const InstanceSpec& instance : gpu.instances) {
        if (instance.is_ready() && instance.placement.profile == profile) {
            ready.push_back(instance.placement);
        }
    }
    return ready;
}

// Requests one by one, and the GPUs as they would be after those before.
class FitSearch {
  public:
    FitSearch(std::span<const ProfileRequest> requests, const NodeSpec& node, const std::vector<Cut>& cuts,
              const CostOf& cost_of)
        : node_{node}, cost_of_{cost_of} {
        for (const Cut& cut : cuts) {
            states_.push_back(cut.closed ? closed : cut.state);
        }
        for (const ProfileRequest& request : requests) {
            for (std::int64_t i = 0; i < request.count && wanted_.size() <= most_wanted(); ++i) {
                wanted_.push_back(&request);
            }
        }
        if (wanted_.size() > 1) {
            // Large ones first: they have the fewest places.
            std::ranges::stable_sort(wanted_, std::greater{},
                                     [&](const ProfileRequest* request) { return size_of(*request); });
        }
    }

    bool run() { return wanted_.size() <= most_wanted() && place(0); }

    Fit fit;

  private:
    static constexpr mig::StateId closed = ~mig::StateId{0};
    // GPUs of one model are alike: what matters is how many are in which state.
    using Likeness = std::vector<std::pair<const mig::States*, mig::StateId>>;

    // No GPU holds more instances than it has units.
    [[nodiscard]] std::size_t most_wanted() const {
        return states_.size() * static_cast<std::size_t>(mig::most_units);
    }

    [[nodiscard]] std::int32_t size_of(const ProfileRequest& request) const {
        std::int32_t size = 0;
        const mig::States* model = nullptr;
        for (const GpuSpec& gpu : node_.gpus) {
            if (gpu.model != nullptr && gpu.model.get() != model) {
                model = gpu.model.get();
                if (const auto profile = find_profile(*model, request)) {
                    size = std::max(size, model->model().profiles[*profile].size);
                }
            }
        }
        return size;
    }

    bool place(std::size_t index) {
        if (index == wanted_.size()) {
            return true;
        }
        std::vector<Option> open = options(*wanted_[index]);
        const auto by_cost = [](const Option& option) { return std::tuple{option.cost, option.held}; };
        if (index + 1 == wanted_.size()) {
            const auto cheapest = std::ranges::min_element(open, {}, by_cost);
            if (cheapest != open.end()) {
                take(*cheapest);
            }
            return cheapest != open.end();
        }
        if (stuck_ && (too_little_room(index) || hopeless_.contains({index, likeness()}))) {
            return false;
        }
        std::ranges::sort(open, {}, by_cost);
        std::set<std::tuple<const mig::States*, mig::StateId, mig::StateId>> tried;
        for (const Option& option : open) {
            const mig::StateId before = states_[option.held.gpu];
            if (stuck_ &&
                !tried.emplace(node_.gpus[option.held.gpu].model.get(), before, option.after).second) {
                continue;
            }
            take(option);
            if (place(index + 1)) {
                return true;
            }
            stuck_ = true;
            tried.emplace(node_.gpus[option.held.gpu].model.get(), before, option.after);
            fit.cost -= option.cost;
            fit.instances.pop_back();
            states_[option.held.gpu] = before;
        }
        hopeless_.emplace(index, likeness());
        return false;
    }

    void take(const Option& option) {
        states_[option.held.gpu] = option.after;
        fit.instances.push_back(option.held);
        fit.cost += option.cost;
    }

    [[nodiscard]] Likeness likeness() const {
        Likeness likeness;
        for (std::size_t gpu = 0; gpu < states_.size(); ++gpu) {
            if (states_[gpu] != closed) {
                likeness.emplace_back(node_.gpus[gpu].model.get(), states_[gpu]);
            }
        }
        std::ranges::sort(likeness);
        return likeness;
    }

    // Of one of the profiles that are still wanted, if no other came.
    [[nodiscard]] bool too_little_room(std::size_t index) const {
        while (index < wanted_.size()) {
            const ProfileRequest* const request = wanted_[index];
            std::int64_t room = 0;
            for (std::size_t gpu = 0; gpu < states_.size(); ++gpu) {
                if (states_[gpu] != closed) {
                    const mig::States& model = *node_.gpus[gpu].model;
                    if (const auto profile = find_profile(model, *request)) {
                        room += model.room(states_[gpu], *profile);
                    }
                }
            }
            std::size_t end = index;
            while (end < wanted_.size() && wanted_[end] == request) {
                ++end;
            }
            if (std::cmp_less(room, end - index)) {
                return true;
            }
            index = end;
        }
        return false;
    }

    [[nodiscard]] std::vector<Option> options(const ProfileRequest& request) const {
        std::vector<Option> found;
        const mig::States* model = nullptr;
        std::optional<std::size_t> profile;
        for (std::uint16_t gpu = 0; gpu < states_.size(); ++gpu) {
            if (states_[gpu] == closed) {
                continue;
            }
            if (node_.gpus[gpu].model.get() != model) {
                model = node_.gpus[gpu].model.get();
                profile = find_profile(*model, request);
            }
            if (!profile || model->room(states_[gpu], *profile) == 0) {
                continue;
            }
            const auto offer = [&](mig::Placement placement) {
                if (const auto after = model->next(states_[gpu], placement)) {
                    const Held held{gpu, placement};
                    found.push_back({held, *after, cost_of_(held, states_[gpu], *after)});
                }
            };
            if (node_.gpus[gpu].fixed) {
                std::ranges::for_each(ready_instances(node_.gpus[gpu], *profile), offer);
            } else {
                std::ranges::for_each(model->placements(*profile), offer);
            }
        }
        return found;
    }

    const NodeSpec& node_;
    const CostOf& cost_of_;
    std::vector<mig::StateId> states_;
    std::vector<const ProfileRequest*> wanted_;
    bool stuck_ = false;  // the cheapest options in turn did not do, so that it is worth looking ahead
    std::set<std::pair<std::size_t, Likeness>> hopeless_;
};

}  // namespace

Target target(const GpuSpec& gpu, const Cut& cut, bool taken_whole) {
    if (!gpu.can_be_cut()) {
        Target target{gpu.mig, {}};
        for (const InstanceSpec& instance : gpu.instances) {
            target.instances.push_back(instance.placement);
        }
        std::ranges::sort(target.instances, {}, by_start);
        return target;
    }
    if (taken_whole) {
        return {};
    }
    Target target{gpu.mig || !cut.claims.empty(), {}};
    mig::StateId state = cut.state;
    for (const Claim& claim : cut.claims) {
        target.instances.push_back(claim.placement);
    }
    for (const InstanceSpec& instance : gpu.instances) {
        if (std::ranges::find(target.instances, instance.placement) != target.instances.end()) {
            continue;
        }
        if (const auto after = gpu.model->next(state, instance.placement)) {
            state = *after;
            target.instances.push_back(instance.placement);
        }
    }
    std::ranges::sort(target.instances, {}, by_start);
    return target;
}

std::int64_t disturbance(const GpuSpec& gpu, mig::Placement placement) {
    std::int64_t disturbed = gpu.mig ? 2 : 4;
    for (const InstanceSpec& instance : gpu.instances) {
        if (instance.placement == placement) {
            return instance.ready ? 0 : 1;
        }
        if ((gpu.model->mask(instance.placement) & gpu.model->mask(placement)) != 0) {
            disturbed = 3;
        }
    }
    return disturbed;
}

std::int64_t whole_disturbance(const GpuSpec& gpu) {
    const bool at_hand = gpu.ready && !gpu.mig && gpu.pod.empty();
    return (at_hand ? 0 : 1) + (gpu.mig ? 1 : 0) + (gpu.instances.empty() ? 0 : 1);
}

std::optional<std::size_t> find_profile(const mig::States& model, const ProfileRequest& request) {
    const auto& profiles = model.model().profiles;
    const auto found = std::ranges::find_if(profiles, [&](const mig::Profile& profile) {
        return names_profile(request.resource_suffix, profile.name);
    });
    return found == profiles.end() ? std::nullopt
                                   : std::optional{static_cast<std::size_t>(found - profiles.begin())};
}

std::optional<Fit> fit_profiles(std::span<const ProfileRequest> requests, const NodeSpec& node,
                                const std::vector<Cut>& cuts, const CostOf& cost_of) {
    FitSearch search{requests, node, cuts, cost_of};
    return search.run() ? std::optional{std::move(search.fit)} : std::nullopt;
}

std::int64_t profile_room(const ProfileRequest& request, const NodeSpec& node, const std::vector<Cut>& cuts) {
    std::int64_t room = 0;
    for (std::size_t slot = 0; slot < cuts.size(); ++slot) {
        if (cuts[slot].closed) {
            continue;
        }
        const GpuSpec& gpu = node.gpus[slot];
        const auto profile = find_profile(*gpu.model, request);
        if (!profile) {
            continue;
        }
        if (gpu.fixed) {
            room += std::ranges::count_if(ready_instances(gpu, *profile), [&](mig::Placement placement) {
                return gpu.model->next(cuts[slot].state, placement).has_value();
            });
        } else {
            room += gpu.model->room(cuts[slot].state, *profile);
        }
    }
    return room;
}

std::int64_t profile_capacity(const ProfileRequest& request, const NodeSpec& node) {
    std::int64_t capacity = 0;
    for (const GpuSpec& gpu : node.gpus) {
        if (gpu.model != nullptr) {
            if (const auto profile = find_profile(*gpu.model, request)) {
                capacity += gpu.model->room(0, *profile);
            }
        }
    }
    return capacity;
}

}  // namespace nos
