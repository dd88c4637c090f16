// Whose Pods a quota may take back what it is guaranteed from.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "cluster.h"

namespace nos {

// On behalf of one Pod. Its quota and the victim's are compared as siblings below their nearest common
// ancestor: each side is the child of it on the way down to the quota, or its own Pods where the quota is
// that ancestor itself, who are guaranteed what no child is.
//
// The Pod may have the victim's room if its side stays within its min and the other one is beyond its own;
// or if both reach into what all siblings leave idle of their min, its side stays within its share of that
// and the other one is beyond its own. In each case the other side is beyond it in a resource that both Pods
// are charged and both quotas are compared on, so is every quota from there down to the victim's beyond its
// min, and the victim is over what its quota is guaranteed.
//
// The shares, and who is over, are as they were when the question began; the rest as it is at the moment.
class Reclaim {
  public:
    // Who is over, by quota, as far as anybody asked.
    using Over = std::map<QuotaId, std::shared_ptr<const PodSet>>;

    // over: of the cycle, whose victims change nothing about it.
    Reclaim(const Cluster& cluster, PodId pod, Over& over);

    // Of a Pod that is charged on a node.
    [[nodiscard]] bool may_take(PodId victim, NodeId node);
    // Of anybody, on some node.
    [[nodiscard]] bool is_possible();

  private:
    // A quota with those below it, or its own Pods alone.
    struct Side {
        QuotaId quota;
        bool alone = false;
    };
    struct Stand {
        bool named = false;
        std::int64_t min = 0;
        std::int64_t used = 0;
        std::int64_t share = 0;  // of what the siblings leave idle
    };

    // Where the paths of the Pod's quota and another part.
    struct Rivals {
        Side ours;
        Side theirs;
    };

    // What is known of another quota, as long as neither side changes.
    struct Known {
        Rivals rivals;
        std::uint64_t our_version = 0;
        std::uint64_t their_version = 0;
        std::int64_t memory_gb = 0;
        std::vector<QuotaResource>
            beyond;  // may be taken back, where the Pod is charged for GPUs of that memory
        std::shared_ptr<const PodSet> over;
    };

    void add_idle(QuotaId parent);
    const Known& known(QuotaId other, std::int64_t memory_gb);
    [[nodiscard]] std::vector<QuotaResource> beyond(Rivals rivals, QuotaId other,
                                                    std::int64_t memory_gb) const;
    [[nodiscard]] Rivals rivals(QuotaId other) const;
    [[nodiscard]] Stand stand(Side side, QuotaResource resource) const;
    [[nodiscard]] bool stays_within(Side ours, const Charge& charge, bool with_share) const;
    [[nodiscard]] bool is_beyond(Side theirs, QuotaId quota, QuotaResource resource, bool with_share) const;
    [[nodiscard]] bool is_compared(QuotaId root, QuotaResource resource) const;

    const Cluster& cluster_;
    const Quotas& quotas_;
    PodId pod_;
    std::vector<QuotaId> path_;            // from its quota to the root
    std::vector<std::vector<Wide>> idle_;  // among the children of each of them, and the roots; by resource
    std::vector<Known> known_;             // by quota
    Over& over_;
};

}  // namespace nos
