// What keeps a Pod off every group's nodes, for people.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "filter.h"
#include "node_group.h"

namespace nos {

// The Cluster is as before when it returns.
class WhyLeft {
  public:
    WhyLeft(Cluster& cluster, Purchase& purchase) : cluster_{cluster}, purchase_{purchase} {}

    // Equal Pods are looked at once.
    std::string operator()(PodId id);

  private:
    [[nodiscard]] std::string in_group(PodId id, std::size_t group);
    [[nodiscard]] Verdict verdict_on(NodeId node, const InternedSpec& interned, KinId kin) const;

    Cluster& cluster_;
    Purchase& purchase_;
    std::map<std::tuple<SpecId, KinId, QuotaId, GangId>, std::string> known_;
};

}  // namespace nos
