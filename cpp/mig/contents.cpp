#include "contents.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

namespace nos::mig {

namespace {

std::optional<StateId> with_all(const States& states, std::optional<StateId> state,
                                std::span<const Placement> instances) {
    for (const Placement placement : instances) {
        state = state ? states.next(*state, placement) : std::nullopt;
    }
    return state;
}

// The smallest sets of these, by bits, without which the others fit.
std::vector<std::uint32_t> smallest_to_leave(const States& states, StateId base,
                                             const std::vector<Placement>& instances) {
    std::vector<std::uint32_t> sets(std::size_t{1} << instances.size());
    for (std::uint32_t set = 0; set < sets.size(); ++set) {
        sets[set] = set;
    }
    std::ranges::stable_sort(sets, {}, [](std::uint32_t set) { return std::popcount(set); });
    std::vector<std::uint32_t> smallest;
    for (const std::uint32_t set : sets) {
        if (std::ranges::any_of(smallest, [&](std::uint32_t less) { return (set & less) == less; })) {
            continue;
        }
        std::optional<StateId> state = base;
        for (std::size_t i = 0; i < instances.size() && state; ++i) {
            if ((set >> i & 1U) == 0) {
                state = states.next(*state, instances[i]);
            }
        }
        if (state) {
            smallest.push_back(set);
        }
    }
    return smallest;
}

}  // namespace

Contents::Contents(const std::set<std::string, std::less<>>& names) : names_{names.begin(), names.end()} {}

KindId Contents::kind(std::string_view name) const {
    return static_cast<KindId>(std::ranges::lower_bound(names_, name) - names_.begin());
}

std::optional<ContentId> Contents::add(const States& states, std::span<const Placement> fixed,
                                       std::vector<Placement> movable) {
    const auto base = states.of(fixed);
    std::vector<Placement> instances{fixed.begin(), fixed.end()};
    instances.insert(instances.end(), movable.begin(), movable.end());
    const auto all = states.of(instances);
    if (!base || !all) {
        return std::nullopt;
    }
    std::ranges::sort(movable);
    return intern(states, *base, *all, std::move(movable));
}

ContentId Contents::intern(const States& states, StateId fixed, StateId all, std::vector<Placement> movable) {
    const auto [found, is_new] =
        known_.try_emplace({&states, fixed, movable}, static_cast<ContentId>(records_.size()));
    if (is_new) {
        Record& record = records_.emplace_back(Record{&states, fixed, all, std::move(movable), {}, {}});
        record.options.resize(kinds());
        for (const std::string& name : names_) {
            const auto index = states.model().find(name);
            record.room.push_back(index ? states.room(all, *index) : 0);
        }
    }
    return found->second;
}

std::optional<std::size_t> Contents::profile(ContentId content, KindId kind) const {
    return states(content).model().find(names_[kind]);
}

const std::vector<Option>& Contents::options(ContentId content, KindId kind) {
    if (!records_[content].options[kind]) {
        std::vector<Option> found;
        if (const auto index = profile(content, kind)) {
            for (const Placement placement : states(content).placements(*index)) {
                if (const auto with = states(content).next(records_[content].fixed, placement)) {
                    add_options(content, placement, *with, found);
                }
            }
        }
        std::ranges::stable_sort(
            found, {}, [](const Option& option) { return std::pair{option.leave.size(), option.cost}; });
        records_[content].options[kind] = std::make_unique<const std::vector<Option>>(std::move(found));
    }
    return *records_[content].options[kind];
}

void Contents::add_options(ContentId content, Placement placement, StateId with, std::vector<Option>& found) {
    const States& gpu = states(content);
    const std::vector<Placement> there = movable(content);
    const std::int64_t doors = gpu.doors(records_[content].all);
    // Those in its way must leave; of the others some, when slices, engines or counts do not suffice.
    std::vector<Placement> in_the_way;
    std::vector<Placement> others;
    std::ranges::partition_copy(there, std::back_inserter(in_the_way), std::back_inserter(others),
                                [&](Placement each) { return (gpu.mask(each) & gpu.mask(placement)) != 0; });
    const bool all_others_fit = with_all(gpu, with, others).has_value();
    for (const std::uint32_t set :
         all_others_fit ? std::vector<std::uint32_t>{0} : smallest_to_leave(gpu, with, others)) {
        Option option{placement, in_the_way, {}, 0, 0};
        std::vector<Placement> staying;
        for (std::size_t i = 0; i < others.size(); ++i) {
            ((set >> i & 1U) != 0 ? option.leave : staying).push_back(others[i]);
        }
        std::ranges::sort(option.leave);
        std::int64_t units = 0;
        for (const Placement leaving : option.leave) {
            const Profile& profile = gpu.model().profiles[leaving.profile];
            option.leaving.push_back(kind(profile.name));
            units += profile.size;
        }
        const StateId all = *with_all(gpu, with, staying);
        option.cost = (units << 32U) + doors - gpu.doors(all);
        option.after = intern(gpu, with, all, std::move(staying));
        found.push_back(std::move(option));
    }
}

}  // namespace nos::mig
