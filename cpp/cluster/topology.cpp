#include "topology.h"

#include <utility>

namespace nos {

void Topology::set(NodeId node, const Labels& labels) {
    if (node.value() >= domains_.size()) {
        domains_.resize(node.value() + std::size_t{1});
    }
    const auto value = find_label(labels, key_);
    const DomainId before = domains_[node];
    if (before.valid() ? value && values_.text(before.value()) == *value : !value) {
        return;
    }
    domains_[node] = {};
    if (value) {
        const std::uint32_t number = values_.intern(*value).first;
        if (number >= nodes_.size()) {
            nodes_.resize(number + std::size_t{1});
        }
        ++nodes_[number];
        domains_[node] = DomainId{number};
    }
    if (before.valid() && --nodes_[before.value()] == 0) {
        values_.release(before.value());
    }
}

std::pair<TopologyId, bool> Topologies::intern(std::string_view key) {
    const auto [number, is_new] = names_.intern(key);
    const TopologyId id{number};
    if (is_new) {
        topologies_.renew(id) = Topology{key};
        users_.renew(id) = 0;
    }
    ++users_[id];
    return {id, is_new};
}

void Topologies::release(TopologyId id) {
    if (--users_[id] == 0) {
        names_.release(id.value());
        topologies_[id] = {};
    }
}

void Topologies::set(NodeId node, const Labels& labels) {
    for (std::size_t number = 0; number < topologies_.size(); ++number) {
        if (users_[TopologyId{number}] > 0) {
            topologies_[TopologyId{number}].set(node, labels);
        }
    }
}

}  // namespace nos
