#include "demand.h"

#include <algorithm>
#include <utility>

namespace nos {

namespace {

constexpr std::int64_t most_counted = 64;  // instances of one Pod

}  // namespace

DemandClass::DemandClass(const PodSpec& spec)
    : cpu_milli{spec.requests.basic[static_cast<std::size_t>(Basic::cpu)]},
      memory_bytes{spec.requests.basic[static_cast<std::size_t>(Basic::memory)]},
      gpus{std::min(spec.requests.gpus, most_gpus)},
      gpu_share_milli{spec.gpu_share_milli} {}

std::size_t Demand::Hash::operator()(const DemandClass& demand) const {
    std::uint64_t hash = 0;
    for (const std::int64_t part :
         {demand.cpu_milli, demand.memory_bytes, demand.gpus, std::int64_t{demand.gpu_share_milli}}) {
        hash = (hash ^ static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 32U;
    }
    return hash;
}

Demand::Demand(std::vector<Count> counts, std::vector<std::pair<std::string, std::int64_t>> instances,
               std::int64_t arrivals)
    : counts_{std::move(counts)}, instances_{std::move(instances)}, arrivals_{arrivals} {
    number();
    for (const Count& entry : counts_) {
        total_ += entry.count;
    }
}

void Demand::record(const PodSpec& spec, std::int64_t pods) {
    if (pods == 0) {
        return;  // a class that nobody is of has no part in anything
    }
    const DemandClass demand{spec};
    const auto [found, is_new] = index_.try_emplace(demand, counts_.size());
    if (is_new) {
        counts_.push_back({demand, 0});
    }
    counts_[found->second].count += pods * one_pod;
    for (const ProfileRequest& request : spec.profiles) {
        auto known = std::ranges::find(instances_, request.resource_suffix,
                                       &std::pair<std::string, std::int64_t>::first);
        if (known == instances_.end()) {
            known = instances_.insert(known, {request.resource_suffix, 0});
        }
        known->second += std::min(request.count, most_counted) * pods * one_pod;
    }
    total_ += pods * one_pod;
    arrivals_ += pods;
    while (total_ >= remembered_pods * one_pod) {
        halve();
    }
}

std::int64_t Demand::instances_of(std::string_view profile) const {
    for (const auto& [name, count] : instances_) {
        if (names_profile(name, profile)) {
            return count;
        }
    }
    return 0;
}

void Demand::halve() {
    total_ = 0;
    for (auto& [name, count] : instances_) {
        count /= 2;
    }
    std::erase_if(instances_, [](const auto& entry) { return entry.second == 0; });
    for (Count& entry : counts_) {
        entry.count /= 2;
        total_ += entry.count;
    }
    std::erase_if(counts_, [](const Count& entry) { return entry.count == 0; });
    number();
}

void Demand::number() {
    index_.clear();
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        index_.emplace(counts_[i].demand, i);
    }
}

}  // namespace nos
