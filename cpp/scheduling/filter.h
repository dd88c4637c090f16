// Where a Pod could run: the same verdicts as kube-scheduler's filter plugins.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster.h"

namespace nos {

// Why a node was refused: a set of bits, empty when the Pod fits.
class Verdict {
  public:
    // As kube-scheduler reports them: of those before `pods` the first, of room all, of the rest the first.
    enum Cause : std::uint8_t {
        absent,
        outside,  // of the domain where the Pod's gang is
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
        volume_in_use,
        volume_limit,
        volume_affinity,
        spread_label,  // the node lacks a topology key
        spread,
        pod_affinity,
        pod_anti_affinity,
        their_anti_affinity,  // of Pods that are there
        feature,
        by_dra,    // what it lacks is there as DRA devices
        extended,  // and one bit for each further extended request of the spec: room, too
    };
    static constexpr std::uint8_t bits = 32;

    void add(Cause cause) { causes_ |= 1U << cause; }
    void add_extended(std::size_t index) {
        causes_ |= 1U << (extended + (index < bits - extended ? index : bits - extended - 1U));
    }
    void add(Verdict other) { causes_ |= other.causes_; }

    [[nodiscard]] Verdict without(Cause cause) const {
        Verdict others = *this;
        others.causes_ &= ~(1U << cause);
        return others;
    }
    [[nodiscard]] bool fits() const { return causes_ == 0; }
    [[nodiscard]] bool has(std::uint8_t cause) const { return (causes_ >> cause & 1U) != 0; }
    [[nodiscard]] bool only_room() const { return (causes_ & ~room) == 0; }
    [[nodiscard]] bool lacks_room() const { return (causes_ & room) != 0; }
    static constexpr bool is_room(std::uint8_t cause) { return (room >> cause & 1U) != 0; }
    bool operator==(const Verdict&) const = default;

  private:
    static constexpr std::uint32_t room =
        (~0U << extended) | (((1U << volume_in_use) - 1U) & ~((1U << pods) - 1U));

    std::uint32_t causes_ = 0;
};

// What depends on specs alone: unschedulable, taints, node selector and affinity, features; and where volumes
// can be used that are not chosen for others.
Verdict match_spec(const Cluster& cluster, const PodSpec& pod, NodeId id);

// What depends on the Pods there: ports, room, attached volumes.
Verdict match_room(const Cluster& cluster, const InternedSpec& interned, const Node& node);

// The volume that each of the Pod's claims would get on the node, "" for one that is made there; nothing
// when there is none for one of them.
std::optional<std::vector<std::string>> find_volumes(const Cluster& cluster, const PodSpec& pod, NodeId id);

// Whether its node selector and required affinity allow the node.
bool allows(const PodSpec& pod, const NodeSpec& node, std::string_view node_name);

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
