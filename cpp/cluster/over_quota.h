// Which Pods are over what is guaranteed to them: those that came after it was used up.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "id.h"
#include "quotas.h"

namespace nos {

class Cluster;

using PodSet = std::vector<PodId>;  // ascending

// Under each resource a Pod leans on the nearest of its quota and that one's ancestors that names it in min,
// for the part of it that none of its children is guaranteed. Those who lean on one quota are put in order:
// earliest arrival, highest priority, smallest charge (of the resources it names, by name), uid. From the
// first on with whom they take more than there is, all are over.
//
// Counted when somebody asks, and kept until something changes.
class OverQuota {
  public:
    // Of the Pods that are charged under the quota itself.
    std::shared_ptr<const PodSet> of(const Cluster& cluster, QuotaId quota);

  private:
    struct Standing {
        std::uint64_t version = 0;       // of the quota
        std::vector<PodId> first_over;   // by resource; invalid: nobody is
        std::uint64_t over_version = 0;  // of the latest of those that the quota leans on
        std::shared_ptr<const PodSet> over;
    };

    const std::vector<PodId>& first_over(const Cluster& cluster, QuotaId quota);

    Table<QuotaId, Standing> standings_;
};

// Whether the first goes before the second where both lean on the quota.
bool came_before(const Cluster& cluster, QuotaId quota, PodId a, PodId b);

}  // namespace nos
