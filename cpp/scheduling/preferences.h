// What a Pod would rather have: kube-scheduler's preference scores with its default weights. They choose
// among nodes that cost the same GPU.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cluster.h"
#include "neighbours.h"

namespace nos {

// For all Pods of one spec.
class Preferences {
  public:
    explicit Preferences(std::shared_ptr<const PodSpec> spec) : spec_{std::move(spec)} {}

    // The spec of a node is another one.
    void look_at(const Cluster& cluster, NodeId id);

    // Whether all nodes are the same to it.
    [[nodiscard]] bool none(const Neighbours* neighbours) const;

    // The one of the candidates, which are some of the feasible nodes, that is preferred most; of equal ones
    // the first. Both ascend. `neighbours`: null where no Pod near by matters.
    [[nodiscard]] NodeId choose(const Cluster& cluster, const Neighbours* neighbours,
                                const std::vector<NodeId>& feasible, const std::vector<NodeId>& candidates);

  private:
    using Raw = std::vector<std::int64_t>;  // by index among the feasible nodes

    struct Hit {
        std::uint32_t image = 0;  // of the spec's
        std::int64_t bytes = 0;
    };

    [[nodiscard]] Raw of_images(const Cluster& cluster, const std::vector<NodeId>& feasible) const;
    [[nodiscard]] static Raw of_pods(const Cluster& cluster, const Neighbours& neighbours,
                                     const std::vector<NodeId>& feasible);
    // -1 for nodes that are not scored.
    [[nodiscard]] static Raw of_spread(const Cluster& cluster, const Neighbours& neighbours, bool by_default,
                                       const std::vector<NodeId>& feasible);

    std::shared_ptr<const PodSpec> spec_;
    Table<NodeId, std::int32_t> taints_;    // that it would rather not tolerate
    Table<NodeId, std::int32_t> affinity_;  // weights of the terms that match
    Table<NodeId, std::vector<Hit>> hits_;  // images that are there
    std::size_t tainted_ = 0;               // nodes with one of these
    std::size_t preferred_ = 0;
    std::size_t with_images_ = 0;
    std::vector<std::int64_t> image_nodes_;  // by image: nodes that have it
};

}  // namespace nos
