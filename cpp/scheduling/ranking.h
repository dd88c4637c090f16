// One spec against all nodes: verdicts and costs that are kept, so that equal Pods and unchanged nodes are
// never scored twice. A cache: it holds nothing that the Cluster and the Scorer could not tell anew.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "cluster.h"
#include "filter.h"
#include "score.h"

namespace nos {

class Ranking {
  public:
    // Brings everything up to date with the Cluster.
    void refresh(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec);

    // The node with the lowest cost, the first one of several; nothing when the Pod fits nowhere.
    [[nodiscard]] std::optional<NodeId> best() const;
    [[nodiscard]] bool fits_somewhere() const { return fitting_ > 0; }
    [[nodiscard]] const Table<NodeId, Verdict>& verdicts() const { return verdicts_; }
    // Changes whenever a verdict may have.
    [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
    [[nodiscard]] std::size_t size() const { return verdicts_.size(); }

  private:
    static constexpr std::int64_t infeasible = std::numeric_limits<std::int64_t>::max();

    void evaluate(const Cluster& cluster, Scorer& scorer, NodeId id);

    std::shared_ptr<const PodSpec> spec_;
    ExtendedRequests extended_;
    std::uint64_t cursor_ = 0;  // into the Cluster's changes
    std::uint64_t epoch_ = 0;   // of the Scorer
    std::size_t fitting_ = 0;
    Table<NodeId, std::int64_t> costs_;
    Table<NodeId, Verdict> verdicts_;
    Table<NodeId, Verdict> spec_verdicts_;  // the part that stays while a node's spec does
    Table<NodeId, std::uint64_t> spec_versions_;
    Table<NodeId, std::uint64_t> versions_;
};

}  // namespace nos
