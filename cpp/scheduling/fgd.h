// The score `fgd`: fragmentation gradient descent, the published baseline.
//
// Q. Weng, L. Yang et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
// Gradient Descent", USENIX ATC 2023. Fragments of a node for a class of Pods: all its free GPU when such a
// Pod fits on it nowhere or wants no GPU, else the free GPU on those GPUs that have too little for it. The
// mean over the typical Pods (95 % of the demand, the most frequent classes first; memory is not looked at)
// is to grow least. The published runs quantise: 100 * sigmoid(-growth in GPUs), rounded down; without that
// the results are much worse.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "cluster.h"

namespace nos {

class Fgd {
  public:
    Fgd();

    // True when the typical Pods changed.
    bool learn(const Demand& demand);
    // 0 best ... 100 worst.
    [[nodiscard]] std::int64_t cost(const PodSpec& pod, const Node& node) const;
    [[nodiscard]] std::uint16_t slot_for_share(const PodSpec& pod, const Node& node) const;

  private:
    struct Typical {
        std::int64_t cpu_milli = 0;
        std::int64_t gpus = 0;
        std::int32_t milli = 0;   // per GPU
        std::int64_t weight = 0;  // of 2^16 in all

        auto operator<=>(const Typical&) const = default;
    };

    [[nodiscard]] std::int64_t fragments(std::int64_t cpu_milli,
                                         std::span<const std::uint16_t> gpu_free) const;
    [[nodiscard]] std::int64_t cost_at(const PodSpec& pod, const Node& node, std::uint16_t slot) const;

    std::vector<Typical> typical_;
    std::int64_t next_look_ = 0;  // in arrivals
    std::array<std::int64_t, 100>
        steps_{};  // growth, in milli-GPU * 2^16, up to which the cost is at most the index
};

}  // namespace nos
