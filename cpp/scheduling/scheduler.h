// One cycle: order, filter, score, allocate, assume; a Reason for who is left.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cluster.h"
#include "domain.h"
#include "gate.h"
#include "node_tolls.h"
#include "place_gang.h"
#include "policy.h"
#include "ranking.h"
#include "reason.h"
#include "reclaim.h"
#include "score.h"
#include "victims.h"

namespace nos {

// Decision: this Pod goes to this node, on these GPU slots.
struct Bind {
    PodId pod;
    NodeId node;
    Slots gpus;
    Instances instances;
    std::vector<std::string> volumes;  // for its claims, in their order; "": one is to be made
};

struct Waiting {
    PodId pod;
    std::shared_ptr<Reason> reason;  // equal Pods share one
};

// Decision: this Pod is to be evicted so that another one gets its room.
struct Eviction {
    PodId pod;
    NodeId node;
    Cause cause = Cause::priority;
    PodId for_pod;
};

struct Outcome {
    std::vector<Bind> binds;  // every one is assumed in the Cluster
    std::vector<Waiting> waiting;
    std::vector<Eviction> evictions;  // all that are wanted now, those of earlier cycles too
};

// Decides on one Cluster, which must outlive it. Between cycles it keeps only what saves work in the next
// one.
class Scheduler {
  public:
    Scheduler(Cluster& cluster, Policy policy) : cluster_{cluster}, scorer_{policy} {}

    // Places one waiting Pod if it fits; its Bind is assumed in the Cluster. Of a gang only one whose other
    // members run already: those of a gang that has not started go together.
    std::optional<Bind> place(PodId id);
    // Likewise whatever its gang, on a node of that domain where there is one.
    std::optional<Bind> place_in(PodId id, const Domain* domain);
    // Places the waiting members of a gang by means of `place_one`: as many as it lacks, or more, or nobody.
    // Needs an open Transaction.
    GangTurn place_gang(GangId gang, const PlaceOne& place_one, Room room);
    // Of a Pod that is assumed.
    [[nodiscard]] Bind bind_of(PodId id) const;
    // Places every waiting Pod that fits, in order, and holds those for whom room can be made by evictions;
    // and then, if some are left over, the MIG instances anew, as long as that lets more in. All or nothing:
    // an exception leaves the Cluster as it was.
    Outcome schedule();
    // Whether the one's quota may take back what it is guaranteed from the other, who is on a node.
    [[nodiscard]] bool may_reclaim(PodId id, PodId victim) const;
    // The nodes where such a Pod would fit now, whatever its quota.
    [[nodiscard]] std::vector<NodeId> feasible(const std::shared_ptr<const PodSpec>& spec,
                                               const std::shared_ptr<const PodLabels>& labels,
                                               std::int32_t priority);
    // What is free of all GPUs, and the part of it that will probably never be handed out to the demand seen
    // here. Who asks changes no decision.
    [[nodiscard]] Fragmentation fragmentation() const;

  private:
    struct QuotaReason {
        std::uint64_t version = 0;  // of all quotas
        std::uint64_t cursor = 0;   // of the ranking
        std::shared_ptr<Reason> reason;
    };
    // What is known about the Pods of one spec and one kin.
    struct Known {
        Ranking ranking;
        std::uint64_t kin = 0;  // its serial
        std::shared_ptr<Reason> reason;
        std::uint64_t reason_cursor = 0;  // of the ranking it was drawn from
        std::uint64_t last_used = 0;
        std::map<QuotaId, QuotaReason> quota_reasons;
    };
    struct KnownSpec {
        std::uint64_t version = 0;
        std::vector<std::unique_ptr<Known>> kins;
    };

    // Pods for whom one search serves.
    struct Preempting {
        SpecId spec;
        KinId kin;
        std::int32_t priority = 0;
        QuotaId quota;

        auto operator<=>(const Preempting&) const = default;
    };

    void recall();
    bool make_room(PodId id, const Domain* domain);
    [[nodiscard]] bool may_make_room(PodId id) const;
    [[nodiscard]] bool may_preempt(PodId id) const;
    [[nodiscard]] std::optional<Cause> may_evict(PodId id, PodId victim, Reclaim& reclaim) const;
    std::vector<PodId> charged_for(PodId pod_id);
    [[nodiscard]] static bool moves(const Victims& victims);
    std::optional<Victims> find_moves(PodId id, VictimSearch& search,
                                      const std::function<bool(NodeId)>& is_possible);
    bool can_move(PodId id, const Victims& victims);
    void take_turns(std::span<const PodId> pods, std::vector<Bind>& binds, std::vector<PodId>& left);
    void take_turn(GangId gang, std::vector<Bind>& binds, std::vector<PodId>& left);
    bool plan_again(std::vector<Bind>& binds, std::vector<PodId>& left);
    [[nodiscard]] std::optional<Domain> domain_to_keep(const Bind& bind) const;
    [[nodiscard]] std::int64_t units(const Bind& bind) const;
    [[nodiscard]] Reason making_room(PodId id, std::int64_t pods) const;
    std::optional<NodeId> choose(Ranking& ranking, const InternedSpec& spec, const Pod& pod,
                                 const Domain* domain, const Gate& gate);
    bool fits_beside_nominated(Ranking& ranking, const InternedSpec& spec, std::int32_t priority, NodeId id);
    Table<NodeId, Verdict> verdicts(Ranking& ranking, const InternedSpec& spec, std::int32_t priority);
    Known& known_of(PodId id);
    std::shared_ptr<Reason> reason_for(PodId id);
    std::shared_ptr<Reason> quota_reason_for(PodId id, Known& known);
    std::shared_ptr<Reason> reason_in(PodId id, const Domain* domain);
    void drop_oldest_rankings();

    Cluster& cluster_;
    Scorer scorer_;
    Table<SpecId, KnownSpec> known_;
    std::map<PodId, std::shared_ptr<Reason>> of_gangs_;  // reasons of their waiting Pods in this cycle
    std::size_t rankings_ = 0;
    std::uint64_t uses_ = 0;

    // Of the cycle.
    std::map<PodId, Eviction> evictions_;  // by victim, some of whom are not leaving after all
    std::set<PodId> chosen_;               // by the cycle before, to be evicted
    std::set<Preempting> hopeless_;
    std::map<Preempting, NodeTolls> tolls_;
    Reclaim::Over over_;
    std::vector<NodeId> vacated_;  // by Pods that go for somebody on another node
};

}  // namespace nos
