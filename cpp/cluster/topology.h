// Where nodes lie: for each topology key that a Pod's spec names, the domain of every node.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "id.h"
#include "names.h"
#include "selector.h"

namespace nos {

using TopologyId = Id<struct TopologyTag>;
using DomainId = Id<struct DomainTag>;

// One topology key. A domain is a value of that label which some node has.
class Topology {
  public:
    explicit Topology(std::string_view key) : key_{key} {}
    Topology() = default;

    [[nodiscard]] const std::string& key() const { return key_; }
    // Invalid where the node is absent or has no such label.
    [[nodiscard]] DomainId domain(NodeId node) const {
        return node.value() < domains_.size() ? domains_[node] : DomainId{};
    }
    [[nodiscard]] std::optional<std::string_view> value(NodeId node) const {
        const DomainId at = domain(node);
        return at.valid() ? std::optional{values_.text(at.value())} : std::nullopt;
    }
    // Domains are below this; some may be free.
    [[nodiscard]] std::size_t bound() const { return values_.bound(); }

    // The labels of a node are these now; of one that is gone, none.
    void set(NodeId node, const Labels& labels);

  private:
    std::string key_;
    Table<NodeId, DomainId> domains_;
    Names values_;
    std::vector<std::uint32_t> nodes_;  // by domain
};

class Topologies {
  public:
    // Counts one more user. Second: whether nobody used it, so that every node is to be `set` there.
    std::pair<TopologyId, bool> intern(std::string_view key);
    void release(TopologyId id);

    [[nodiscard]] const Topology& operator[](TopologyId id) const { return topologies_[id]; }
    Topology& operator[](TopologyId id) { return topologies_[id]; }
    void set(NodeId node, const Labels& labels);
    // By topology.
    [[nodiscard]] const std::vector<std::uint32_t>& users() const { return users_.values(); }

  private:
    Names names_;
    Table<TopologyId, Topology> topologies_;
    Table<TopologyId, std::uint32_t> users_;
};

}  // namespace nos
