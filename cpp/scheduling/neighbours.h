// The Pods near each node, as far as the placing of one Pod depends on them: (anti-)affinity, its own and
// theirs, and topology spread. The rules are those of kube-scheduler's InterPodAffinity and
// PodTopologySpread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cluster.h"
#include "filter.h"

namespace nos {

// Counts per topology domain, for all Pods of one spec and one kin. A node that changed is counted anew, and
// nothing else.
class Neighbours {
  public:
    // What is counted, and where.
    struct Tally {
        enum class Role : std::uint8_t { affinity, anti_affinity, their_anti_affinity, preference, spread };

        Role role = Role::affinity;
        TopologyId topology;
        std::int32_t constraint = 0;  // of a spread: its index in the spec
        bool by_node = false;         // of a preferred spread over host names: each node counts for itself
        bool only_visitors = false;   // of a spread with an empty selector: so kube-scheduler counts it
        std::int64_t total = 0;       // over all domains
        Table<DomainId, std::int64_t> counts;
        Table<DomainId, std::int32_t> nodes;  // of a spread: those that count
        Table<NodeId, std::int32_t> of_node;  // what it has added
        Table<NodeId, DomainId> added_to;     // and where; invalid: nowhere
    };

    // Whether there is anything to count: for most Pods there is not.
    static bool matter(const Cluster& cluster, const InternedSpec& spec, KinId kin);

    Neighbours(const Cluster& cluster, const InternedSpec& spec, KinId kin);

    // Counts a node anew.
    void look_at(const Cluster& cluster, NodeId id);

    // Adds to `verdicts` what the Pods near each node have against it.
    void judge(const Cluster& cluster, std::vector<Verdict>& verdicts) const;

    // What nodes are preferred by.
    [[nodiscard]] const std::vector<Tally>& tallies() const { return tallies_; }
    [[nodiscard]] const SpreadConstraint& constraint(const Tally& tally) const {
        return spec_->spread[static_cast<std::size_t>(tally.constraint)];
    }

  private:
    // What one Pod adds to a tally.
    struct Effect {
        std::uint32_t tally = 0;
        std::int32_t amount = 0;
    };
    using Effects = std::vector<Effect>;

    struct OfKin {
        std::uint64_t serial = 0;
        Effects effects;
    };
    struct OfSpec {
        std::uint64_t version = 0;
        Effects effects;
    };

    std::uint32_t tally_of(Tally::Role role, TopologyId topology);
    void add_spread(const Cluster& cluster, std::size_t index, TopologyId topology);
    const Effects& effects_of(const Cluster& cluster, KinId kin);
    const Effects& effects_of(const Cluster& cluster, SpecId id);
    [[nodiscard]] bool counts(const Cluster& cluster, const Tally& tally, NodeId id) const;
    void apply(const Effects& effects, const Pod& pod);
    static void put(Tally& tally, NodeId id, DomainId domain, bool counted, std::int32_t amount);
    void judge_affinity(const Cluster& cluster, std::vector<Verdict>& verdicts) const;
    void judge_spread(const Cluster& cluster, const Tally& tally, std::vector<Verdict>& verdicts) const;

    std::shared_ptr<const PodSpec> spec_;
    std::vector<Term> terms_;
    KinId kin_;
    bool is_first_ = true;              // it matches its own affinity terms, all of them
    std::vector<bool> selects_itself_;  // by spread constraint
    std::vector<Tally> tallies_;
    Table<KinId, OfKin> of_kin_;
    Table<SpecId, OfSpec> of_spec_;
    std::vector<std::int32_t> scratch_;  // by tally
};

}  // namespace nos
