// Nodes that can be had, and those that a plan takes of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster.h"

namespace nos {

inline constexpr std::string_view hostname_label = "kubernetes.io/hostname";
inline constexpr std::int64_t highest_price = 1'000'000'000'000;  // micro-dollars per hour
inline constexpr std::int64_t most_new_nodes = 100'000;           // of one group

// What groups share, by name: how much of it there is.
using Limits = std::map<std::string, std::int64_t, std::less<>>;

// Nodes that are all alike.
struct NodeGroup {
    std::string id;
    std::shared_ptr<const NodeSpec> node;
    std::int64_t price = 0;                                  // micro-dollars per hour
    std::int64_t room = 0;                                   // how many more can be had
    std::vector<std::pair<std::string, std::int64_t>> uses;  // of limits, each node

    // Throws std::invalid_argument when the parts make no sense.
    void validate() const;
};

// A node of the plan; in the Cluster it is there already.
struct NewNode {
    std::size_t group = 0;  // among those given
    NodeId node;
};

// One more such node in the Cluster, named by the id and the first number after this one that is free.
NodeId add_node(Cluster& cluster, const NodeGroup& group, std::int64_t& number);

// What a plan takes of groups, and what it leaves.
class Purchase {
  public:
    // Throws std::invalid_argument when two groups have one id, or a limit is negative or not named.
    Purchase(std::span<const NodeGroup> groups, const Limits& limits);

    [[nodiscard]] std::span<const NodeGroup> groups() const { return groups_; }
    // How many more nodes can be had of a group.
    [[nodiscard]] std::int64_t left(std::size_t group) const;
    [[nodiscard]] std::int64_t limit_left(std::string_view limit) const {
        return limits_.find(limit)->second;
    }
    // What keeps the group from giving one more, in words; empty where nothing does.
    [[nodiscard]] std::string obstacle(std::size_t group) const;
    // One more node: it is in the Cluster then. Only where some are left.
    NodeId open(Cluster& cluster, std::size_t group);
    // Gives back a node that nobody uses.
    void close(Cluster& cluster, NodeId node);
    void close_empty(Cluster& cluster);

    // In the order in which they were taken.
    [[nodiscard]] const std::vector<NewNode>& nodes() const { return nodes_; }
    [[nodiscard]] std::int64_t price() const;

  private:
    void take(std::size_t group, std::int64_t sign);

    std::span<const NodeGroup> groups_;
    std::vector<std::int64_t> room_;  // by group
    Limits limits_;
    std::vector<std::int64_t> named_;  // by group, the number of the last node
    std::vector<NewNode> nodes_;
};

}  // namespace nos
