#include "gpu_packing.h"

#include <algorithm>
#include <functional>
#include <set>

namespace nos {

namespace {

// For one load: while the budget lasts, and after that.
constexpr std::int64_t most_steps = 20'000;
constexpr std::int64_t few_steps = 200;

// Shares into GPUs, one GPU after the other: each takes one of the largest that are left, and with it what
// leaves no room for any other. More there could always be moved in, so that nothing is missed.
class ShareSearch {
  public:
    // Sizes the largest first; how many of each.
    ShareSearch(const std::vector<std::int32_t>& sizes, std::vector<std::int32_t> left, std::int64_t steps)
        : sizes_{sizes}, left_{std::move(left)}, steps_{steps} {}

    // Whether they go into so many GPUs, of which so much may stay free. Whole only while steps are left.
    bool pack(std::int64_t gpus, std::int64_t spare) {
        const auto largest = std::ranges::find_if(left_, [](std::int32_t count) { return count > 0; });
        if (largest == left_.end()) {
            return true;
        }
        if (gpus == 0 || failed_.contains({gpus, left_})) {
            return false;
        }
        filled_.emplace_back();
        if (take(static_cast<std::size_t>(largest - left_.begin()), gpus, whole_gpu, spare)) {
            return true;
        }
        filled_.pop_back();
        if (steps_ >= 0) {
            failed_.insert({gpus, left_});
        }
        return false;
    }

    [[nodiscard]] std::int64_t steps() const { return steps_; }
    // Of each GPU, the shares in it.
    [[nodiscard]] const std::vector<std::vector<std::int32_t>>& filled() const { return filled_; }

  private:
    bool take(std::size_t at, std::int64_t gpus, std::int32_t room, std::int64_t spare) {
        --left_[at];
        filled_.back().push_back(sizes_[at]);
        if (fill(at, gpus, room - sizes_[at], spare)) {
            return true;
        }
        filled_.back().pop_back();
        ++left_[at];
        return false;
    }

    bool fill(std::size_t from, std::int64_t gpus, std::int32_t room, std::int64_t spare) {
        if (--steps_ < 0) {
            return false;
        }
        for (std::size_t at = from; at < sizes_.size(); ++at) {
            if (left_[at] > 0 && sizes_[at] <= room && take(at, gpus, room, spare)) {
                return true;
            }
        }
        for (std::size_t at = 0; at < sizes_.size(); ++at) {
            if (left_[at] > 0 && sizes_[at] <= room) {
                return false;
            }
        }
        return room <= spare && pack(gpus - 1, spare - room);
    }

    const std::vector<std::int32_t>& sizes_;
    std::vector<std::int32_t> left_;
    std::int64_t steps_;
    std::vector<std::vector<std::int32_t>> filled_;
    std::set<std::pair<std::int64_t, std::vector<std::int32_t>>> failed_;
};

bool place_all(const mig::States& model, mig::StateId state, std::vector<std::size_t>& wanted,
               std::vector<mig::Placement>& placed) {
    if (wanted.empty()) {
        return true;
    }
    const std::size_t profile = wanted.back();
    wanted.pop_back();
    for (const mig::Placement placement : model.placements(profile)) {
        if (const auto after = model.next(state, placement)) {
            placed.push_back(placement);
            if (place_all(model, *after, wanted, placed)) {
                return true;
            }
            placed.pop_back();
        }
    }
    wanted.push_back(profile);
    return false;
}

}  // namespace

GpuPacking::GpuPacking(std::int64_t gpus, std::shared_ptr<const mig::States> model,
                       std::vector<std::int32_t> shares, std::vector<std::size_t> profiles)
    : gpus_{gpus}, model_{std::move(model)}, shares_{std::move(shares)}, profiles_{std::move(profiles)} {
    if (model_ == nullptr || profiles_.empty()) {
        return;
    }
    std::set<Counts> all;
    for (const mig::Geometry& geometry : mig::geometries(*model_, true)) {
        Counts counts;
        for (const std::size_t profile : profiles_) {
            counts.push_back(geometry[profile]);
        }
        all.insert(std::move(counts));
    }
    for (const Counts& one : all) {
        const bool is_less = std::ranges::any_of(all, [&](const Counts& other) {
            return other != one && std::ranges::equal(one, other, std::less_equal{});
        });
        if (!is_less) {
            geometries_.push_back(one);
        }
    }
}

std::int64_t GpuPacking::milli_units(std::size_t of_load) const {
    if (of_load <= shares_.size()) {
        return of_load == 0 ? whole_gpu : shares_[of_load - 1];
    }
    const mig::Model& facts = model_->model();
    return facts.profiles[profiles_[of_load - 1 - shares_.size()]].size * whole_gpu / facts.units;
}

std::int64_t GpuPacking::milli_slices(std::size_t of_load) const {
    if (of_load <= shares_.size()) {
        return milli_units(of_load);
    }
    const mig::Model& facts = model_->model();
    return facts.profiles[profiles_[of_load - 1 - shares_.size()]].compute_slices * whole_gpu /
           facts.compute_slices;
}

GpuPacking::Counts GpuPacking::instances_of(const GpuLoad& load) const {
    return {load.begin() + 1 + static_cast<std::ptrdiff_t>(shares_.size()), load.end()};
}

// How many GPUs the shares take: the fewest, unless the search gives up.
std::int64_t GpuPacking::bins(const GpuLoad& load, std::int64_t limit,
                              std::vector<std::vector<std::int32_t>>* contents) {
    const auto begin = load.begin() + 1;
    const std::vector<std::int32_t> counts{begin, begin + static_cast<std::ptrdiff_t>(shares_.size())};
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < shares_.size(); ++i) {
        sum += std::int64_t{counts[i]} * shares_[i];
    }
    for (std::int64_t count = (sum + whole_gpu - 1) / whole_gpu; count <= gpus_; ++count) {
        ShareSearch search{shares_, counts, limit};
        const bool fits = search.pack(count, count * whole_gpu - sum);
        budget_ -= limit - search.steps();
        if (fits) {
            if (contents != nullptr) {
                *contents = search.filled();
            }
            return count;
        }
        gave_up_ = gave_up_ || search.steps() < 0;
    }
    return gpus_ + 1;
}

bool GpuPacking::exceeds(std::int64_t gpus, const Counts& counts) const {
    const mig::Model& facts = model_->model();
    std::int64_t units = 0;
    std::int64_t slices = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const mig::Profile& profile = facts.profiles[profiles_[i]];
        units += std::int64_t{counts[i]} * profile.size;
        slices += std::int64_t{counts[i]} * profile.compute_slices;
    }
    return units > gpus * facts.units || slices > gpus * facts.compute_slices;
}

// GPU after GPU, each with one of what is largest of the rest.
bool GpuPacking::cut(std::int64_t gpus, const Counts& counts, std::vector<Counts>* chosen) {
    const auto largest = std::ranges::find_if(counts, [](std::int32_t count) { return count > 0; });
    if (largest == counts.end()) {
        return true;
    }
    if (gpus == 0 || exceeds(gpus, counts)) {
        return false;
    }
    const auto known = cuts_.find({gpus, counts});
    if (known != cuts_.end() && (!known->second || chosen == nullptr)) {
        return known->second;
    }
    if (--steps_ < 0) {
        gave_up_ = true;
        return false;
    }
    const auto at = static_cast<std::size_t>(largest - counts.begin());
    std::set<Counts, std::greater<>> here;
    for (const Counts& geometry : geometries_) {
        if (geometry[at] > 0) {
            Counts some = geometry;
            for (std::size_t i = 0; i < some.size(); ++i) {
                some[i] = std::min(some[i], counts[i]);
            }
            here.insert(std::move(some));
        }
    }
    bool fits = false;
    for (const Counts& some : here) {
        Counts rest = counts;
        for (std::size_t i = 0; i < rest.size(); ++i) {
            rest[i] -= some[i];
        }
        if (cut(gpus - 1, rest, chosen)) {
            if (chosen != nullptr) {
                chosen->push_back(some);
            }
            fits = true;
            break;
        }
    }
    if (fits || steps_ >= 0) {
        cuts_[{gpus, counts}] = fits;
    }
    return fits;
}

bool GpuPacking::fits(const GpuLoad& load) {
    const auto [known, is_new] = known_.try_emplace(load, false);
    if (is_new) {
        const std::int64_t limit = budget_ > 0 ? most_steps : few_steps;
        const std::int64_t rest = gpus_ - load[0] - bins(load, limit, nullptr);
        const Counts counts = instances_of(load);
        steps_ = limit;
        known->second = rest >= 0 && (std::ranges::all_of(counts, [](auto count) { return count == 0; }) ||
                                      (model_ != nullptr && cut(rest, counts, nullptr)));
        budget_ -= limit - steps_;
    }
    return known->second;
}

std::optional<std::vector<GpuContent>> GpuPacking::pack(const GpuLoad& load) {
    if (!fits(load)) {
        return std::nullopt;
    }
    std::vector<GpuContent> contents;
    for (std::int32_t i = 0; i < load[0]; ++i) {
        contents.push_back({true, {}, {}});
    }
    std::vector<std::vector<std::int32_t>> shares;
    bins(load, most_steps, &shares);
    for (auto& some : shares) {
        contents.push_back({false, std::move(some), {}});
    }
    const std::int64_t rest = gpus_ - static_cast<std::int64_t>(contents.size());
    std::vector<Counts> chosen;
    steps_ = most_steps;
    if (const Counts counts = instances_of(load);
        std::ranges::any_of(counts, [](auto count) { return count > 0; }) && !cut(rest, counts, &chosen)) {
        return std::nullopt;
    }
    for (const Counts& counts : chosen) {
        std::vector<std::size_t> wanted;
        for (std::size_t i = counts.size(); i-- > 0;) {
            wanted.insert(wanted.end(), static_cast<std::size_t>(counts[i]), profiles_[i]);
        }
        GpuContent content;
        if (!place_all(*model_, 0, wanted, content.instances)) {
            return std::nullopt;
        }
        contents.push_back(std::move(content));
    }
    contents.resize(static_cast<std::size_t>(gpus_));
    return contents;
}

}  // namespace nos
