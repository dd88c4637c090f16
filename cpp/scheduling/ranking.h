// One spec against all nodes: verdicts and costs that are kept, so that equal Pods and unchanged nodes are
// never scored twice. A cache: it holds nothing that the Cluster and the Scorer could not tell anew.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "cluster.h"
#include "domain.h"
#include "filter.h"
#include "gate.h"
#include "neighbours.h"
#include "preferences.h"
#include "score.h"

namespace nos {

class Ranking {
  public:
    // Of Pods that these selectors select.
    explicit Ranking(const InternedSpec& spec, KinId kin)
        : spec_{spec.spec}, kin_{kin}, preferences_{spec_} {}

    // Brings everything up to date with the Cluster. `spec` is the one that it was made for.
    void refresh(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec);

    // Passes over a node that has no room for a Pod of this priority beside those nominated to it, until it
    // changes.
    void exclude(NodeId id, std::int32_t priority);
    // Looks again at such nodes where this one's priority, or the Pods near by, may make a difference.
    void readmit(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec, std::int32_t priority);

    // The node with the lowest cost of those that the gate does not bar, and of the domain where there is
    // one; of several the one that the Pod prefers, or the first; nothing when it fits nowhere.
    [[nodiscard]] std::optional<NodeId> best(const Cluster& cluster, const InternedSpec& spec,
                                             const Domain* domain, const Gate& gate);
    // By node, of everything.
    [[nodiscard]] Table<NodeId, Verdict> verdicts(const Cluster& cluster, const InternedSpec& spec) const;
    // Whether the node would do if it had room and nobody else were there.
    [[nodiscard]] bool spec_fits(NodeId id) const { return spec_verdicts_[id].fits(); }
    // Whether the Pods on nodes matter to it, beside the room that they take.
    [[nodiscard]] bool looks_at_pods() const { return neighbours_.has_value(); }
    // Changes whenever a verdict may have.
    [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
    [[nodiscard]] std::size_t size() const { return verdicts_.size(); }

  private:
    static constexpr std::int64_t infeasible = std::numeric_limits<std::int64_t>::max();

    void evaluate(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec, NodeId id);
    [[nodiscard]] const std::vector<std::int64_t>& costs_here(const Cluster& cluster, const Gate& gate);
    [[nodiscard]] std::optional<NodeId> best_in(const Cluster& cluster,
                                                const std::vector<std::int64_t>& costs, const Domain& domain);

    std::shared_ptr<const PodSpec> spec_;
    KinId kin_;
    bool fresh_ = true;
    std::uint64_t cursor_ = 0;   // into the Cluster's changes
    std::uint64_t epoch_ = 0;    // of the Scorer
    std::uint64_t choices_ = 0;  // of volumes, in the Cluster
    std::size_t fitting_ = 0;    // nodes, as far as each alone can tell
    Table<NodeId, std::int64_t> costs_;
    Table<NodeId, Verdict> verdicts_;
    Table<NodeId, Verdict> spec_verdicts_;  // the part that stays while a node's spec does
    Table<NodeId, std::uint64_t> spec_versions_;
    Table<NodeId, std::uint64_t> versions_;
    std::optional<Neighbours> neighbours_;
    Preferences preferences_;
    std::set<NodeId> excluded_;      // and some that changed since
    std::int32_t excluded_for_ = 0;  // the lowest priority of those whom one of them was refused

    // Between calls only their memory is of use.
    std::vector<Verdict> near_;
    std::vector<std::int64_t> costs_near_;
    std::vector<NodeId> feasible_;
    std::vector<NodeId> candidates_;
};

}  // namespace nos
