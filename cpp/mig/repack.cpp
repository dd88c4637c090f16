#include "repack.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <tuple>

#include "displace.h"

namespace nos::mig {

namespace {

constexpr std::int32_t any_number = std::numeric_limits<std::int32_t>::max();
// Of the two ways to lengthen a plan by one wish, for each try.
constexpr std::int64_t steps_to_settle = 200;
constexpr std::int64_t steps_to_dive = 2000;

using Changes = std::vector<Change>;

// What an instance takes at least, on the model that asks least for it.
struct Least {
    std::int32_t units = 0;
    std::int32_t slices = 0;
};

std::set<std::string, std::less<>> all_names(std::span<const PackedGpu> gpus,
                                             std::span<const std::string> wanted) {
    std::set<std::string, std::less<>> names{wanted.begin(), wanted.end()};
    for (const PackedGpu& gpu : gpus) {
        for (const Placement placement : gpu.movable) {
            if (placement.profile < gpu.states->model().profiles.size()) {
                names.insert(gpu.states->model().profiles[placement.profile].name);
            }
        }
    }
    return names;
}

// Takes the wishes in, one after another. A plan for all so far is lengthened by the next one, which gives a
// number of moves to beat; then all plans with fewer are tried, from the least that can suffice.
class Packing {
  public:
    Packing(std::span<const PackedGpu> gpus, std::span<const std::string> wanted)
        : gpus_{gpus},
          wanted_{wanted},
          contents_{all_names(gpus, wanted)},
          refused_(contents_.kinds()),
          served_(contents_.kinds()) {
        for (const PackedGpu& gpu : gpus_) {
            const auto content = contents_.add(*gpu.states, gpu.fixed, gpu.movable);
            if (!content) {
                throw std::invalid_argument("the instances on GPU " + std::to_string(first_.size()) +
                                            " cannot be together");
            }
            first_.push_back(*content);
        }
        find_least();
        count_spare();
    }

    RepackPlan run(std::int64_t steps_left) {
        Displace all{contents_, failures_, first_, sizes_};
        RepackPlan plan;
        for (std::size_t i = 0; i < wanted_.size(); ++i) {
            // What one wish does not need is there for the others.
            const std::int64_t share = steps_left / static_cast<std::int64_t>(wanted_.size() - i);
            std::int64_t steps = share;
            if (auto reason = serve(wanted_[i], all, steps)) {
                plan.unplaced.push_back({i, *std::move(reason)});
            } else {
                placed_.push_back(i);
            }
            steps_left -= share - std::max(std::int64_t{0}, steps);
        }
        plan.exact = all_refusals_proven_ && moves_ == fewest_moves_;
        assign(plan);
        return plan;
    }

  private:
    // By kind: the places that were left, and those that were taken. What is in both did not move after all.
    struct Exchange {
        std::vector<std::vector<Spot>> left;
        std::vector<std::vector<Spot>> taken;
    };

    void find_least() {
        const std::set<ContentId> each{first_.begin(), first_.end()};
        for (KindId kind = 0; kind < contents_.kinds(); ++kind) {
            Least least{any_number, any_number};
            for (const ContentId content : each) {
                if (const auto index = contents_.profile(content, kind)) {
                    const Profile& profile = contents_.states(content).model().profiles[*index];
                    least.units = std::min(least.units, profile.size);
                    least.slices = std::min(least.slices, profile.compute_slices);
                }
            }
            least_.push_back(least);
            sizes_.push_back(least.units);
        }
    }

    // What is left for wishes when everything movable takes as little as it can, and how many of each kind
    // the fixed ones would leave room for if no other came.
    void count_spare() {
        spare_room_.resize(contents_.kinds());
        for (const PackedGpu& gpu : gpus_) {
            const Model& model = gpu.states->model();
            spare_units_ += gpu.states->free_units(*gpu.states->of(gpu.fixed));
            spare_slices_ += model.compute_slices;
            for (const Placement placement : gpu.fixed) {
                spare_slices_ -= model.profiles[placement.profile].compute_slices;
            }
            const StateId fixed = *gpu.states->of(gpu.fixed);
            for (KindId kind = 0; kind < contents_.kinds(); ++kind) {
                const auto index = model.find(contents_.name(kind));
                spare_room_[kind] += index ? gpu.states->room(fixed, *index) : 0;
            }
            for (const Placement placement : gpu.movable) {
                const KindId kind = contents_.kind(model.profiles[placement.profile].name);
                spare_units_ -= least_[kind].units;
                spare_slices_ -= least_[kind].slices;
                --spare_room_[kind];
            }
        }
    }

    // Takes the wish into the plan, or says why not.
    std::optional<std::string> serve(const std::string& name, Displace& all, std::int64_t& steps) {
        const KindId kind = contents_.kind(name);
        if (!refused_[kind]) {
            refused_[kind] = refusal_everywhere(name);
        }
        if (refused_[kind]) {  // what comes in between does not make more room
            return refused_[kind];
        }
        Hand hand = served_;
        ++hand[kind];
        Outcome outcome = Outcome::impossible;
        std::optional<Changes> longer;
        std::int32_t moves = any_number;
        std::int32_t bound = fewest_moves_;  // more wishes never need fewer
        if (least_[kind].units <= spare_units_ && least_[kind].slices <= spare_slices_ &&
            spare_room_[kind] > 0) {
            longer = lengthened(kind);
            moves = longer ? count_moves(*longer) : any_number;
            outcome = Outcome::needs_more_moves;
            while (bound < moves && outcome == Outcome::needs_more_moves) {
                outcome = all.exhaust(hand, bound, steps);
                bound += outcome == Outcome::needs_more_moves ? 1 : 0;
            }
        }
        if (outcome == Outcome::found) {
            longer.emplace(all.changes().begin(), all.changes().end());
            moves = count_moves(*longer);
        }
        if (!longer) {
            all_refusals_proven_ = all_refusals_proven_ && outcome == Outcome::impossible;
            refused_[kind] =
                name + (outcome == Outcome::impossible
                            ? " fits, but not together with what is wanted before it and would have to move"
                            : " may fit, but the search for what to move was cut short");
            return refused_[kind];
        }
        served_ = std::move(hand);
        spare_units_ -= least_[kind].units;
        spare_slices_ -= least_[kind].slices;
        --spare_room_[kind];
        changes_ = *std::move(longer);
        moves_ = moves;
        fewest_moves_ = bound;
        return std::nullopt;
    }

    // Why it fits on no GPU even if all that is movable were gone: from the one with the most free units.
    [[nodiscard]] std::optional<std::string> refusal_everywhere(const std::string& name) const {
        std::string reason = "no GPU knows the profile " + name;
        std::int32_t most = -1;
        for (const PackedGpu& gpu : gpus_) {
            const auto profile = gpu.states->model().find(name);
            if (!profile) {
                continue;
            }
            const StateId state = *gpu.states->of(gpu.fixed);
            if (gpu.states->room(state, *profile) > 0) {
                return std::nullopt;
            }
            if (const std::int32_t units = gpu.states->free_units(state); units > most) {
                most = units;
                reason = refusal(*gpu.states, gpu.fixed, *profile);
            }
        }
        return reason;
    }

    // The plan so far, and one more of the kind: with the fewest further moves that a short search finds.
    std::optional<Changes> lengthened(KindId kind) {
        std::vector<ContentId> now = first_;
        for (const Change& change : changes_) {
            now[change.gpu] = change.option->after;
        }
        Displace further{contents_, failures_, now, sizes_};
        bool found = false;
        for (std::int32_t more = 0; more <= most_units && !found; ++more) {
            found = further.place_and_settle(kind, more, steps_to_settle);
        }
        std::int64_t steps = steps_to_dive;
        if (!found && !further.dive(kind, steps)) {
            return std::nullopt;
        }
        Changes longer = changes_;
        std::ranges::copy(further.changes(), std::back_inserter(longer));
        return longer;
    }

    [[nodiscard]] Exchange exchange(std::span<const Change> changes) const {
        Exchange all{std::vector<std::vector<Spot>>(contents_.kinds()),
                     std::vector<std::vector<Spot>>(contents_.kinds())};
        for (const Change& change : changes) {
            const Model& model = contents_.states(change.before).model();
            const Placement placement = change.option->placement;
            all.taken[contents_.kind(model.profiles[placement.profile].name)].push_back(
                {change.gpu, placement});
            for (std::size_t i = 0; i < change.option->leave.size(); ++i) {
                all.left[change.option->leaving[i]].push_back({change.gpu, change.option->leave[i]});
            }
        }
        for (KindId kind = 0; kind < contents_.kinds(); ++kind) {
            auto& left = all.left[kind];
            auto& taken = all.taken[kind];
            std::ranges::sort(left);
            std::ranges::sort(taken);
            std::vector<Spot> stayed;
            std::ranges::set_intersection(left, taken, std::back_inserter(stayed));
            const auto has_stayed = [&](const Spot& spot) {
                return std::ranges::binary_search(stayed, spot);
            };
            std::erase_if(left, has_stayed);
            std::erase_if(taken, has_stayed);
        }
        return all;
    }

    [[nodiscard]] std::int32_t count_moves(std::span<const Change> changes) const {
        std::size_t moves = 0;
        for (const auto& left : exchange(changes).left) {
            moves += left.size();
        }
        return static_cast<std::int32_t>(moves);
    }

    // Wishes and instances of one kind are alike: wishes take the first places, in order.
    void assign(RepackPlan& plan) const {
        const Exchange all = exchange(changes_);
        std::vector<std::size_t> used(contents_.kinds());
        for (const std::size_t wish : placed_) {
            const KindId kind = contents_.kind(wanted_[wish]);
            plan.placed.emplace_back(wish, all.taken[kind][used[kind]++]);
        }
        for (KindId kind = 0; kind < contents_.kinds(); ++kind) {
            for (const Spot& from : all.left[kind]) {
                plan.moves.push_back({from, all.taken[kind][used[kind]++]});
            }
        }
        std::ranges::sort(plan.moves, {}, [](const Move& move) { return std::tuple{move.from, move.to}; });
    }

    std::span<const PackedGpu> gpus_;
    std::span<const std::string> wanted_;
    Contents contents_;
    Failures failures_;
    std::vector<ContentId> first_;     // by GPU, before anything changes
    std::vector<Least> least_;         // by kind
    std::vector<std::int32_t> sizes_;  // the same, units only
    std::int64_t spare_units_ = 0;
    std::int64_t spare_slices_ = 0;
    std::vector<std::int64_t> spare_room_;  // by kind

    std::vector<std::optional<std::string>> refused_;  // by kind, why
    std::vector<std::size_t> placed_;                  // wishes
    Hand served_;                                      // the same, by kind
    Changes changes_;
    std::int32_t moves_ = 0;
    std::int32_t fewest_moves_ = 0;  // that can suffice, as far as is proven
    bool all_refusals_proven_ = true;
};

}  // namespace

RepackPlan repack(std::span<const PackedGpu> gpus, std::span<const std::string> wanted,
                  std::int64_t most_steps) {
    return Packing{gpus, wanted}.run(most_steps);
}

}  // namespace nos::mig
