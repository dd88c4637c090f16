#include "node_tolls.h"

namespace nos {

std::optional<Victims> NodeTolls::cheapest(const Cluster& cluster, std::span<const NodeId> vacated,
                                           const Look& look) {
    tolls_.resize(cluster.node_bound());
    const auto changes = is_fresh_ ? std::nullopt : cluster.changes_since(cursor_);
    std::set<NodeId> changed;
    if (changes) {
        changed = {changes->begin(), changes->end()};
        changed.insert(vacated.begin() + static_cast<std::ptrdiff_t>(vacated_), vacated.end());
    }
    is_fresh_ = false;
    vacated_ = vacated.size();
    if (changes) {
        for (const NodeId node : changed) {
            look_at(node, look);
        }
    } else {
        for (std::size_t number = 0; number < tolls_.size(); ++number) {
            look_at(NodeId{number}, look);
        }
    }
    cursor_ = cluster.change_count();
    while (!ordered_.empty()) {
        const auto [toll, node] = *ordered_.begin();
        auto found = look(node);
        if (found && found->toll <= toll) {
            return found;
        }
        put(node, found ? std::optional{found->toll} : std::nullopt);
    }
    return std::nullopt;
}

void NodeTolls::look_at(NodeId node, const Look& look) {
    const auto found = look(node);
    put(node, found ? std::optional{found->toll} : std::nullopt);
}

void NodeTolls::put(NodeId node, std::optional<Toll> toll) {
    std::optional<Toll>& kept = tolls_[node];
    if (kept) {
        ordered_.erase({*kept, node});
    }
    kept = toll;
    if (kept) {
        ordered_.insert({*kept, node});
    }
}

}  // namespace nos
