// Whether a Pod may run, as far as its quota goes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cluster.h"

namespace nos {

// Why not: one more charge would be more than a quota's max; or it would be borrowed, and more than all
// quotas guarantee together.
struct Refusal {
    enum class Bound : std::uint8_t { max, all_min };

    Bound bound = Bound::max;
    QuotaId quota;  // whose max; for all_min: who guarantees it, as far as anybody does
    QuotaResource resource = 0;
    std::int64_t asked = 0;
};

// For a charge under a quota: nothing when it may be. A resource that nobody on the way up names is not
// compared.
std::optional<Refusal> refusal(const Cluster& cluster, QuotaId quota, const Charge& charge);
// For a Pod on a node.
std::optional<Refusal> refusal(const Cluster& cluster, PodId id, NodeId node);

// Whether the quota would stay within what is guaranteed to it: by itself, or by the nearest above that names
// the resource.
bool stays_within_min(const Cluster& cluster, QuotaId quota, const Charge& charge);

// The answer for all nodes. It depends on the node only as far as their GPUs have different memories.
class Gate {
  public:
    Gate(const Cluster& cluster, PodId id);

    // On some node.
    [[nodiscard]] bool is_open() const { return !refusal_ || !barred_memories_.empty(); }
    [[nodiscard]] bool bars_some() const { return !barred_memories_.empty(); }
    [[nodiscard]] bool bars(NodeId node) const;
    // Where nothing is barred there is none.
    [[nodiscard]] const std::optional<Refusal>& refusal() const { return refusal_; }

  private:
    const Cluster& cluster_;
    std::optional<Refusal> refusal_;
    std::vector<std::int64_t> barred_memories_;  // of GPUs, where others are open
};

}  // namespace nos
