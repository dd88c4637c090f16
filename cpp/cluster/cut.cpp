#include "cut.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>

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
        : node_{node}, cost_of_{cost_of}, first_states_{open_states(cuts)}, states_{first_states_} {
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

    bool run() {
        return wanted_.size() <= most_wanted() && (take_cheapest() || (wanted_.size() > 1 && spread()));
    }

    Fit fit;

  private:
    static constexpr mig::StateId closed = ~mig::StateId{0};

    static std::vector<mig::StateId> open_states(const std::vector<Cut>& cuts) {
        std::vector<mig::StateId> states;
        for (const Cut& cut : cuts) {
            states.push_back(cut.closed ? closed : cut.state);
        }
        return states;
    }

    using Counts = std::vector<std::int32_t>;  // by kind, see kinds_

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

    // One after another, each where it is cheapest then: nearly always that is enough.
    bool take_cheapest() {
        for (const ProfileRequest* const request : wanted_) {
            const std::vector<Option> open = options(*request);
            const auto cheapest = std::ranges::min_element(
                open, {}, [](const Option& option) { return std::tuple{option.cost, option.held}; });
            if (cheapest == open.end()) {
                return false;
            }
            take(*cheapest);
        }
        return true;
    }

    // Exact, whatever it costs: GPU after GPU, all that could lie on those so far, as counts of each kind.
    bool spread() {
        for (const Held& held : fit.instances) {
            states_[held.gpu] = first_states_[held.gpu];
        }
        fit = {};
        for (const ProfileRequest* const request : wanted_) {
            if (kinds_.empty() || kinds_.back() != request) {
                kinds_.push_back(request);
                all_.push_back(0);
            }
            ++all_.back();
        }
        std::vector<std::map<Counts, Counts>> layers{{{Counts(kinds_.size()), {}}}};  // and what came before
        for (std::size_t gpu = 0; gpu < states_.size(); ++gpu) {
            std::set<Counts> here{Counts(kinds_.size())};
            if (states_[gpu] != closed) {
                std::set<std::tuple<mig::StateId, std::size_t, Counts>> seen;
                list_counts(gpu, states_[gpu], 0, Counts(kinds_.size()), seen);
                for (const auto& [state, kind, counts] : seen) {
                    here.insert(counts);
                }
                keep_maximal(here);
            }
            std::map<Counts, Counts> next;
            std::set<Counts> reached;
            for (const auto& [before, unused] : layers.back()) {
                for (const Counts& more : here) {
                    Counts sum = before;
                    for (std::size_t kind = 0; kind < sum.size(); ++kind) {
                        sum[kind] = std::min(all_[kind], sum[kind] + more[kind]);
                    }
                    reached.insert(sum);
                    next.try_emplace(std::move(sum), before);
                }
            }
            keep_maximal(reached);
            std::erase_if(next, [&](const auto& entry) { return !reached.contains(entry.first); });
            layers.push_back(std::move(next));
        }
        if (!layers.back().contains(all_)) {
            return false;
        }
        Counts sum = all_;
        for (std::size_t gpu = states_.size(); gpu-- > 0;) {
            const Counts& before = layers[gpu + 1].at(sum);
            Counts wanted = sum;
            for (std::size_t kind = 0; kind < wanted.size(); ++kind) {
                wanted[kind] -= before[kind];
            }
            if (!fill(static_cast<std::uint16_t>(gpu), wanted)) {
                return false;
            }
            sum = before;
        }
        return true;
    }

    [[nodiscard]] std::span<const mig::Placement> placements_of(std::size_t gpu, std::size_t kind) const {
        const mig::States& model = *node_.gpus[gpu].model;
        const auto profile = find_profile(model, *kinds_[kind]);
        return profile ? model.placements(*profile) : std::span<const mig::Placement>{};
    }

    // All counts that fit on the GPU, each set of placements kind by kind.
    void list_counts(std::size_t gpu, mig::StateId state, std::size_t first, const Counts& counts,
                     std::set<std::tuple<mig::StateId, std::size_t, Counts>>& seen) const {
        if (!seen.emplace(state, first, counts).second) {
            return;
        }
        for (std::size_t kind = first; kind < kinds_.size(); ++kind) {
            if (counts[kind] == all_[kind]) {
                continue;
            }
            Counts more = counts;
            ++more[kind];
            for (const mig::Placement placement : placements_of(gpu, kind)) {
                if (const auto after = node_.gpus[gpu].model->next(state, placement)) {
                    list_counts(gpu, *after, kind, more, seen);
                }
            }
        }
    }

    static void keep_maximal(std::set<Counts>& all) {
        std::erase_if(all, [&](const Counts& one) {
            return std::ranges::any_of(all, [&](const Counts& other) {
                return one != other && std::ranges::equal(one, other, std::less_equal{});
            });
        });
    }

    bool fill(std::uint16_t gpu, Counts& wanted) {
        const auto kind = std::ranges::find_if(wanted, [](std::int32_t count) { return count > 0; });
        if (kind == wanted.end()) {
            return true;
        }
        --*kind;
        for (const mig::Placement placement :
             placements_of(gpu, static_cast<std::size_t>(kind - wanted.begin()))) {
            const mig::StateId before = states_[gpu];
            if (const auto after = node_.gpus[gpu].model->next(before, placement)) {
                const Held held{gpu, placement};
                const std::int64_t cost = cost_of_(held, before, *after);
                take({held, *after, cost});
                if (fill(gpu, wanted)) {
                    return true;
                }
                states_[gpu] = before;
                fit.cost -= cost;
                fit.instances.pop_back();
            }
        }
        ++*kind;
        return false;
    }

    void take(const Option& option) {
        states_[option.held.gpu] = option.after;
        fit.instances.push_back(option.held);
        fit.cost += option.cost;
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
    std::vector<mig::StateId> first_states_;
    std::vector<mig::StateId> states_;
    std::vector<const ProfileRequest*> wanted_;
    std::vector<const ProfileRequest*> kinds_;  // of spread: what is wanted, each once, and how many
    Counts all_;
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
    const mig::States* model = nullptr;
    std::optional<std::size_t> profile;  // of that model
    for (std::size_t slot = 0; slot < cuts.size(); ++slot) {
        if (cuts[slot].closed) {
            continue;
        }
        const GpuSpec& gpu = node.gpus[slot];
        if (std::exchange(model, gpu.model.get()) != gpu.model.get()) {
            profile = find_profile(*model, request);
        }
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
