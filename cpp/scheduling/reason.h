// Why a Pod was not bound.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster.h"
#include "filter.h"

namespace nos {

enum class ReasonCode : std::uint8_t {
    unsupported,    // the Pod uses what nos does not handle yet
    no_nodes,       // the cluster has none
    unschedulable,  // cordoned nodes stand in the way
    taint,          // untolerated taints do
    node_affinity,  // node selector or affinity do
    host_port,      // a wanted host port is taken
    too_many_pods,  // nodes hold as many Pods as they may
    insufficient_cpu,
    insufficient_memory,
    insufficient_storage,  // ephemeral
    insufficient_gpu,
    no_geometry,            // MIG instances fit beside those of other Pods on no GPU
    insufficient_resource,  // an extended resource
    volume_not_ready,       // a claim does not exist, or is not bound yet by those who should
    volume_in_use,          // a Pod has a claim that only one may have
    volume_limit,           // nodes have as many volumes as can be attached
    volume_affinity,        // volumes are, or could be made, elsewhere only
    topology_spread,
    pod_affinity,
    pod_anti_affinity,  // its own, or that of Pods that are there
    node_feature,       // nodes lack a feature that it needs
    only_by_dra,        // what it asks for is there as DRA devices, which nos does not hand out
    making_room,        // others are being evicted for it
    gang_too_small,     // it has fewer Pods than it needs, or is not known
    gang_does_not_fit,  // fewer of its Pods than it needs fit at once
    gang_invalid,       // what is said of it makes no sense, or it has just been released
    quota_max,          // its quota, or one above, would have more than it may
    quota_exhausted,    // nothing of what all quotas guarantee is left to borrow
};

std::string_view name(ReasonCode code);

struct Reason {
    ReasonCode code = ReasonCode::no_nodes;
    std::string message;  // node counts as kube-scheduler's, then the nearest fix
    std::vector<std::pair<std::string, std::int64_t>> counts;  // nodes per cause, most first
};

// For a Pod that no node could help.
Reason not_placeable(const PodSpec& pod);

// For a Pod that fits nowhere, from the verdicts on all nodes.
Reason explain(const Cluster& cluster, const InternedSpec& spec, const Table<NodeId, Verdict>& verdicts);

}  // namespace nos
