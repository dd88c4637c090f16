#include "node_group.h"

#include <algorithm>
#include <set>
#include <stdexcept>

namespace nos {

namespace {

// The group's spec under a name of its own.
std::shared_ptr<const NodeSpec> named(const std::shared_ptr<const NodeSpec>& spec, const std::string& name) {
    if (find_label(spec->labels, hostname_label)) {
        return spec;
    }
    auto own = std::make_shared<NodeSpec>(*spec);
    const std::pair<std::string, std::string> label{hostname_label, name};
    own->labels.insert(std::ranges::lower_bound(own->labels, label), label);
    return own;
}

}  // namespace

void NodeGroup::validate() const {
    const auto refuse = [&](const std::string& what) {
        throw std::invalid_argument("group " + id + ": " + what);
    };
    if (id.empty()) {
        throw std::invalid_argument("a group needs an id");
    }
    if (price < 0 || price > highest_price) {
        refuse("price " + std::to_string(price) + " is not between 0 and " + std::to_string(highest_price));
    }
    if (room < 0) {
        refuse("room " + std::to_string(room) + " is negative");
    }
    for (const auto& [limit, amount] : uses) {
        if (amount < 0 || amount > most_of_anything) {
            refuse("uses " + std::to_string(amount) + " of " + limit + ", which is not between 0 and 2^50");
        }
    }
}

NodeId add_node(Cluster& cluster, const NodeGroup& group, std::int64_t& number) {
    std::string name = group.id + "#" + std::to_string(++number);
    while (cluster.find_node(name)) {
        name = group.id + "#" + std::to_string(++number);
    }
    cluster.upsert_node(name, named(group.node, name));
    return *cluster.find_node(name);
}

Purchase::Purchase(std::span<const NodeGroup> groups, const Limits& limits)
    : groups_{groups}, limits_{limits}, named_(groups.size()) {
    std::set<std::string_view> ids;
    for (const auto& [limit, amount] : limits) {
        if (amount < 0) {
            throw std::invalid_argument("limit " + limit + ": " + std::to_string(amount) + " is negative");
        }
    }
    for (const NodeGroup& group : groups) {
        if (!ids.insert(group.id).second) {
            throw std::invalid_argument("two groups have the id " + group.id);
        }
        for (const auto& [limit, amount] : group.uses) {
            if (!limits.contains(limit)) {
                throw std::invalid_argument("group " + group.id + ": there is no limit " + limit);
            }
        }
        room_.push_back(std::min(group.room, most_new_nodes));
    }
}

std::int64_t Purchase::left(std::size_t group) const {
    std::int64_t left = room_[group];
    for (const auto& [limit, amount] : groups_[group].uses) {
        if (amount > 0) {
            left = std::min(left, limits_.find(limit)->second / amount);
        }
    }
    return left;
}

std::string Purchase::obstacle(std::size_t group) const {
    if (room_[group] == 0) {
        return "it is at its limit";
    }
    for (const auto& [limit, amount] : groups_[group].uses) {
        if (const std::int64_t rest = limits_.find(limit)->second; amount > rest) {
            return "a node takes " + std::to_string(amount) + " of limit " + limit + ", which has " +
                   std::to_string(rest) + " left";
        }
    }
    return "";
}

void Purchase::take(std::size_t group, std::int64_t sign) {
    room_[group] -= sign;
    for (const auto& [limit, amount] : groups_[group].uses) {
        limits_.find(limit)->second -= sign * amount;
    }
}

NodeId Purchase::open(Cluster& cluster, std::size_t group) {
    nodes_.push_back({group, add_node(cluster, groups_[group], named_[group])});
    take(group, 1);
    return nodes_.back().node;
}

void Purchase::close(Cluster& cluster, NodeId node) {
    const auto found = std::ranges::find(nodes_, node, &NewNode::node);
    take(found->group, -1);
    --named_[found->group];  // mostly it was the last; else the next is named later
    nodes_.erase(found);
    const std::string name{cluster.name(node)};  // which does not outlive it there
    cluster.remove_node(name);
}

void Purchase::close_empty(Cluster& cluster) {
    for (std::size_t i = nodes_.size(); i-- > 0;) {
        if (cluster.node(nodes_[i].node).pods.empty()) {
            close(cluster, nodes_[i].node);
        }
    }
}

std::int64_t Purchase::price() const {
    std::int64_t price = 0;
    for (const NewNode& node : nodes_) {
        price += groups_[node.group].price;
    }
    return price;
}

}  // namespace nos
