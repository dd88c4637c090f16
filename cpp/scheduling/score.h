// Which of the nodes where a Pod fits, and which GPUs there: one face for the scores of a Policy.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "cluster.h"
#include "doors.h"
#include "expected_fill.h"
#include "fgd.h"
#include "filter.h"
#include "policy.h"

namespace nos {

// In milli-GPU.
struct Fragmentation {
    std::int64_t free = 0;
    std::int64_t stranded = 0;
};

class Scorer {
  public:
    explicit Scorer(Policy policy) : policy_{policy} {}

    // Follows the demand in steps, from the beginning where it was set; changes epoch() when costs must be
    // computed anew.
    void learn(const Cluster& cluster);
    [[nodiscard]] std::uint64_t epoch() const { return epoch_; }

    // What placing the Pod there costs; lower is better, and of equal ones the first node is taken. Only for
    // nodes where it fits.
    [[nodiscard]] std::int64_t cost(const PodSpec& pod, const Node& node);
    // The GPU slots and MIG instances that it takes there.
    [[nodiscard]] std::pair<Slots, Instances> allocate(const PodSpec& pod, const Node& node) const;
    // What is free of a node's GPUs, and the part of it that it will probably never hand out. Of a GPU with
    // MIG instances in use its other units are free.
    [[nodiscard]] Fragmentation fragmentation(const Node& node);

  private:
    [[nodiscard]] std::uint16_t slot_for_share(const PodSpec& pod, const Node& node) const;
    [[nodiscard]] std::optional<Places> places(const PodSpec& pod, const Node& node) const;

    Policy policy_;
    ExpectedFill expected_fill_;
    Fgd fgd_;
    Doors doors_;
    std::uint64_t demand_version_ = 0;  // of the Cluster
    std::uint64_t epoch_ = 1;
};

}  // namespace nos
