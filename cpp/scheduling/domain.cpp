#include "domain.h"

#include <algorithm>

namespace nos {

std::vector<Domain> domains(const Cluster& cluster, TopologyId topology) {
    const Topology& places = cluster.topology(topology);
    std::vector<Domain> by_number(places.bound());
    for (std::size_t number = 0; number < cluster.node_bound(); ++number) {
        const NodeId node{number};
        const DomainId id = places.domain(node);
        if (id.valid() && cluster.node(node).present()) {
            by_number[id.value()].nodes.push_back(node);
            by_number[id.value()].id = id;
        }
    }
    std::erase_if(by_number, [](const Domain& domain) { return domain.nodes.empty(); });
    for (Domain& domain : by_number) {
        domain.topology = topology;
    }
    // Numbers depend on who came first, names do not.
    std::ranges::sort(by_number, {},
                      [&](const Domain& domain) { return places.value(domain.nodes.front()); });
    return by_number;
}

std::optional<DomainId> home(const Cluster& cluster, const Gang& gang) {
    if (!gang.topology.valid() || gang.placed == 0) {
        return std::nullopt;
    }
    const Topology& places = cluster.topology(gang.topology);
    std::vector<std::pair<std::int64_t, NodeId>> members(places.bound());  // by domain, and one of its nodes
    for (const PodId member : gang.members) {
        const Pod& pod = cluster.pod(member);
        if (is_placed(pod) && places.domain(pod.node).valid()) {
            auto& [count, node] = members[places.domain(pod.node).value()];
            ++count;
            node = pod.node;
        }
    }
    std::optional<DomainId> most;
    for (std::size_t number = 0; number < members.size(); ++number) {
        const auto& [count, node] = members[number];
        if (count == 0) {
            continue;
        }
        if (most) {
            const auto& [best_count, best_node] = members[most->value()];
            if (count < best_count || (count == best_count && places.value(node) > places.value(best_node))) {
                continue;
            }
        }
        most = DomainId{number};
    }
    return most;
}

DomainGpus gpus_of(const Cluster& cluster, const Domain& domain) {
    DomainGpus sum;
    for (const NodeId id : domain.nodes) {
        const Node& node = cluster.node(id);
        sum.free += node.gpu_free_milli;
        sum.all += static_cast<std::int64_t>(node.gpu_free.size()) * whole_gpu;
        for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
            if (node.cuts[slot].claims.empty()) {
                continue;
            }
            const mig::Model& model = node.spec->gpus[slot].model->model();
            std::int64_t units = model.units;
            for (const Claim& claim : node.cuts[slot].claims) {
                units -= model.profiles[claim.placement.profile].size;
            }
            sum.free += units * whole_gpu / model.units;
        }
    }
    return sum;
}

}  // namespace nos
