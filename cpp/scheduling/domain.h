// The nodes that lie together under one topology key.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cluster.h"

namespace nos {

struct Domain {
    TopologyId topology;
    DomainId id;
    std::vector<NodeId> nodes;  // ascending

    [[nodiscard]] bool has(const Cluster& cluster, NodeId node) const {
        return cluster.topology(topology).domain(node) == id;
    }
};

// All domains of a key that some node is in. A node without the label is in none.
std::vector<Domain> domains(const Cluster& cluster, TopologyId topology);

// Where the placed members of a gang are: most of them, if its key changed or its nodes were moved. Nothing
// while none is in any domain.
std::optional<DomainId> home(const Cluster& cluster, const Gang& gang);

// GPU of a domain in milli-GPU; of GPUs with MIG instances in use the units beside them.
struct DomainGpus {
    std::int64_t free = 0;
    std::int64_t all = 0;
};
DomainGpus gpus_of(const Cluster& cluster, const Domain& domain);

}  // namespace nos
