// Where a Pod could run: the same verdicts as kube-scheduler's filter plugins.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "cluster.h"

namespace nos {

// Why a node was refused: a set of bits, empty when the Pod fits.
class Verdict {
  public:
    // In kube-scheduler's order: it names the first of those before `pods`, and all of the rest.
    enum Cause : std::uint8_t {
        absent,
        unschedulable,
        taint,
        affinity,
        host_port,
        pods,
        cpu,
        memory,
        ephemeral_storage,
        gpu,
        geometry,  // MIG instances do not fit beside those that Pods have
        extended,  // and one bit for each further extended request of the spec
    };
    static constexpr std::uint8_t bits = 32;

    void add(Cause cause) { causes_ |= 1U << cause; }
    void add_extended(std::size_t index) {
        causes_ |= 1U << (extended + (index < bits - extended ? index : bits - extended - 1U));
    }
    void add(Verdict other) { causes_ |= other.causes_; }

    [[nodiscard]] bool fits() const { return causes_ == 0; }
    [[nodiscard]] bool has(std::uint8_t cause) const { return (causes_ >> cause & 1U) != 0; }
    [[nodiscard]] bool only_room() const { return (causes_ & ((1U << pods) - 1U)) == 0; }

  private:
    std::uint32_t causes_ = 0;
};

// What depends on specs alone: unschedulable, taints, node selector and affinity.
Verdict match_spec(const PodSpec& pod, const NodeSpec& node, std::string_view node_name);

// What depends on the Pods there: ports and room. `extended` are the spec's extended requests.
Verdict match_room(const PodSpec& pod, const ExtendedRequests& extended, const Node& node);

// Both; `absent` for a node that is gone.
Verdict match(const Cluster& cluster, const PodSpec& pod, const ExtendedRequests& extended, NodeId id);

// How many GPUs the node could still give to Pods whole.
std::int64_t free_gpus(const Node& node);

// Which GPUs the Pod would take on a node.
struct Places {
    Slots gpus;  // whole ones; none for a share
    Instances instances;
    std::int64_t cost = 0;  // of the instances
};

// Whole GPUs that are handed out whole already before those that would have to be merged, lowest first; and
// beside them its MIG instances, cheapest first. Nothing when they do not fit: exact. No cost: any place will
// do.
std::optional<Places> find_places(const PodSpec& pod, const Node& node, const CostOf& cost_of);

// The first taint that keeps the Pod off, null when there is none.
const Taint* untolerated_taint(const PodSpec& pod, const NodeSpec& node);

}  // namespace nos
