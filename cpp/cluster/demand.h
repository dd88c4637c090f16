// What kind of Pods arrive here: a decayed histogram over what they ask for.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "spec.h"

namespace nos {

// Pods that ask for the same room, whatever else they say about nodes.
struct DemandClass {
    std::int64_t cpu_milli = 0;
    std::int64_t memory_bytes = 0;
    std::int64_t gpus = 0;
    std::int32_t gpu_share_milli = 0;

    explicit DemandClass(const PodSpec& spec);
    DemandClass() = default;

    [[nodiscard]] bool shared() const { return gpu_share_milli > 0; }
    [[nodiscard]] std::int64_t gpu_slots() const { return shared() ? 1 : gpus; }
    [[nodiscard]] std::int64_t gpu_milli() const { return shared() ? gpu_share_milli : gpus * whole_gpu; }
    auto operator<=>(const DemandClass&) const = default;
};

class Demand {
  public:
    // A Pod counts this much when it arrives, so that halving forgets rare classes slowly.
    static constexpr std::int64_t one_pod = 256;
    // When as many Pods are remembered, all counts are halved.
    static constexpr std::int64_t remembered_pods = 4096;

    struct Count {
        DemandClass demand;
        std::int64_t count = 0;
    };

    Demand() = default;
    // What another one had.
    Demand(std::vector<Count> counts, std::vector<std::pair<std::string, std::int64_t>> instances,
           std::int64_t arrivals);

    void record(const PodSpec& spec, std::int64_t pods = 1);

    // In order of first arrival.
    [[nodiscard]] const std::vector<Count>& counts() const { return counts_; }
    // MIG instances by what requests call the profile, likewise counted.
    [[nodiscard]] const std::vector<std::pair<std::string, std::int64_t>>& instances() const {
        return instances_;
    }
    // The MIG instances of a profile, likewise counted.
    [[nodiscard]] std::int64_t instances_of(std::string_view profile) const;
    [[nodiscard]] std::int64_t total() const { return total_; }
    // Pods recorded ever.
    [[nodiscard]] std::int64_t arrivals() const { return arrivals_; }

  private:
    struct Hash {
        std::size_t operator()(const DemandClass& demand) const;
    };

    void halve();
    void number();

    std::vector<Count> counts_;
    std::vector<std::pair<std::string, std::int64_t>> instances_;  // by what requests call the profile
    std::unordered_map<DemandClass, std::size_t, Hash> index_;
    std::int64_t total_ = 0;
    std::int64_t arrivals_ = 0;
};

}  // namespace nos
