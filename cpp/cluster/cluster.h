// The ledger: the one truth of a process about nodes, GPUs and Pods, with every sum kept up to date.
//
// Events edit it by idempotent upserts, which accept whatever the API server says: a Pod on an unknown node,
// more Pods than fit, a node that shrank. Decisions edit it by assume and forget, which accept only what
// fits, and which an open Transaction can undo. Nothing here decides anything. Copying is cheap and gives an
// independent ledger.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "attachments.h"
#include "counted_names.h"
#include "demand.h"
#include "entry.h"
#include "gang.h"
#include "id.h"
#include "names.h"
#include "namespaces.h"
#include "node.h"
#include "over_quota.h"
#include "pod.h"
#include "quotas.h"
#include "selection.h"
#include "spec.h"
#include "topology.h"

namespace nos {

class Transaction;

using ClaimId = Id<struct ClaimTag>;  // of a persistent volume claim that one Pod at most may have
using ExtendedRequests = std::vector<std::pair<ResourceId, std::int64_t>>;

// What a spec says about other Pods, in numbers.
struct Term {
    enum class Role : std::uint8_t { affinity, anti_affinity, preference, spread };

    Role role = Role::affinity;
    TopologyId topology;
    SelectorId selector;
    std::int32_t weight = 0;  // of a preference

    bool operator==(const Term&) const = default;
};

// A PodSpec that Pods of this Cluster share.
struct InternedSpec {
    std::shared_ptr<const PodSpec> spec;  // null: the number is free
    std::uint64_t version = 0;  // unique in the Cluster: the same spec may come again and be numbered anew
    std::size_t hash = 0;
    ExtendedRequests extended;
    std::uint32_t pods = 0;
    std::vector<Term> terms;  // by role, each role's in the order of the spec
    std::vector<ClaimId> sole_claims;
    std::vector<VolumeId> volumes;
    GpuAsk gpu_ask;
};

// How many more instances of each profile would fit, over all GPUs of one model that nos cuts and that are
// not taken whole.
struct ModelRoom {
    std::shared_ptr<const mig::States> model;
    std::vector<std::int64_t> room;  // by profile, each as if no other came
    std::int64_t gpus = 0;           // those GPUs
    std::int64_t empty_gpus = 0;     // without a claim
};

// Of how many Pods at once.
struct Budget {
    SelectorId selector;
    std::int64_t allowed = 0;
};

// What is known of a Pod that the API server has.
struct PodRecord {
    std::shared_ptr<const PodSpec> spec;
    std::shared_ptr<const PodLabels> labels;
    std::int32_t priority = 0;
    std::int64_t arrival = 0;
    std::string_view node;     // empty: it waits for nos, unless it is on a node already
    bool terminating = false;  // it is counted until it is gone, but does not weigh in a spread
    bool nominated = false;    // not bound yet: another scheduler will
    bool preempts = true;      // others may be evicted for it
    bool movable = false;      // it may be evicted to run elsewhere; its spec is as if it waited
    std::string_view wish;     // of one that waits: the node where room was being made for it
    std::string_view gang;     // its name; empty: it is on its own
    Slots gpus;                // what it is known to hold
    Instances instances;       // likewise
};

class Cluster {
  public:
    void upsert_node(std::string_view name, std::shared_ptr<const NodeSpec> spec);
    bool remove_node(std::string_view name);

    void upsert_pod(std::string_view uid, PodRecord record);
    bool remove_pod(std::string_view uid);

    void upsert_namespace(std::string_view name, Labels labels);
    bool remove_namespace(std::string_view name);

    // Throws std::invalid_argument when another quota has one of the namespaces, or the parents would form a
    // circle. A parent may come later: until then the quota is a root.
    void upsert_quota(std::string_view name, std::shared_ptr<const QuotaSpec> spec);
    bool remove_quota(std::string_view name);
    // See Quotas::habit; false when there is no such quota.
    bool set_habit(std::string_view name, std::int64_t habit);
    // Those whose amounts, or which of their Pods are over, may have changed since the last call.
    std::vector<QuotaId> take_changed_quotas() { return quotas_.take_changed(); }

    // Its Pods may come before it. Throws std::invalid_argument for a name or spec that makes no sense.
    void upsert_gang(std::string_view name, const GangSpec& spec);
    bool remove_gang(std::string_view name);

    // Count a waiting Pod on a node. Throws std::invalid_argument when it does not wait, the node is absent,
    // a slot has not enough left, an instance does not fit, or a volume is chosen for another Pod.
    void assume(PodId id, NodeId node_id, Slots gpus, Instances instances, std::vector<std::string> volumes);
    // Return an assumed Pod to the waiting ones; false when it is not assumed.
    bool forget(PodId id);

    // Keep a waiting Pod's room on a node from everybody, until it is released or placed. Throws
    // std::invalid_argument when it does not wait.
    void hold(PodId id, NodeId node_id);
    // Return a held Pod to the waiting ones, which wishes for that node; false when it is not held.
    bool release(PodId id);
    // A Pod that is bound waits, as if it had been evicted: only ever tried, and undone.
    void displace(PodId id);
    // One that was displaced is bound where it was, with what it had there.
    void put_back(PodId id, NodeId node_id, Slots gpus, Instances instances);
    // It does not wish for a node any more.
    void drop_wish(PodId id);
    // Whether a Pod on a node is to be evicted for another one.
    void set_leaving(PodId id, bool leaving);
    // Whether a node is to go, which nobody is placed on then; until it is upserted anew.
    void set_going(NodeId id, bool going);
    // Whether nobody may count on the Pod's eviction now.
    void protect(PodId id, bool on) { pods_[id].is_protected = on; }

    // A PodDisruptionBudget: how many of the Pods that it selects may be evicted now.
    void upsert_budget(std::string_view name, const PodSelector& selector, std::int64_t allowed);
    bool remove_budget(std::string_view name);

    // Puts a waiting Pod where it was, assumed or bound: with these, as far as they are there, and no more.
    // Throws std::invalid_argument when it does not wait, or a volume is chosen for another Pod.
    void restore(PodId id, std::string_view node, Phase phase, Slots gpus, Instances instances,
                 std::vector<std::string> volumes, bool leaving);
    // Whatever was seen before is forgotten, here and by who follows the demand in steps.
    void set_demand(Demand demand);
    // Counts Pods as if they had arrived: a demand that is known in advance.
    void expect(const PodSpec& spec, std::int64_t pods) { demand_.record(spec, pods); }

    [[nodiscard]] std::optional<NodeId> find_node(std::string_view name) const;
    [[nodiscard]] std::optional<PodId> find_pod(std::string_view uid) const;
    [[nodiscard]] std::optional<GangId> find_gang(std::string_view name) const;
    [[nodiscard]] std::string_view name(NodeId node) const { return node_names_.text(node.value()); }
    [[nodiscard]] std::string_view uid(PodId pod) const { return uids_.text(pod.value()); }
    [[nodiscard]] std::string_view name(ResourceId resource) const {
        return resource_names_.text(resource.value());
    }
    [[nodiscard]] const Node& node(NodeId node) const { return nodes_[node]; }
    [[nodiscard]] std::string_view name(GangId gang) const { return gang_names_.text(gang.value()); }
    [[nodiscard]] const Pod& pod(PodId pod) const { return pods_[pod]; }
    [[nodiscard]] const Gang& gang(GangId gang) const { return gangs_[gang]; }
    [[nodiscard]] const InternedSpec& spec(SpecId spec) const { return specs_[spec]; }
    // The extended requests above 0 of any spec; a resource that no node and no Pod named gets an invalid
    // number.
    [[nodiscard]] ExtendedRequests resolve(const PodSpec& spec) const;

    // Node ids are below this; some may be free (absent and without Pods).
    [[nodiscard]] std::size_t node_bound() const { return nodes_.size(); }
    [[nodiscard]] std::size_t spec_bound() const { return specs_.size(); }
    [[nodiscard]] std::size_t pod_bound() const { return pods_.size(); }
    [[nodiscard]] std::size_t gang_bound() const { return gangs_.size(); }
    [[nodiscard]] bool in_use(NodeId node) const {
        return nodes_[node].present() || !nodes_[node].pods.empty() || !nodes_[node].nominated.empty();
    }
    [[nodiscard]] std::span<const PodId> waiting() const { return waiting_; }
    [[nodiscard]] const std::set<PodId>& held() const { return held_; }
    [[nodiscard]] const std::set<PodId>& leaving() const { return leaving_; }
    // The lowest of all Pods on nodes; nothing when there are none.
    [[nodiscard]] std::optional<std::int32_t> lowest_priority() const {
        return priorities_.empty() ? std::nullopt : std::optional{priorities_.begin()->first};
    }
    // Of the Pods on nodes.
    [[nodiscard]] std::size_t movable_count() const { return movable_; }
    // By name.
    [[nodiscard]] const std::map<std::string, Budget, std::less<>>& budgets() const { return budgets_; }
    [[nodiscard]] bool selects(const Budget& budget, PodId id) const {
        return selection_.selects(budget.selector, selection_.kin(pods_[id].labels));
    }
    [[nodiscard]] std::size_t node_count() const { return present_nodes_; }
    [[nodiscard]] std::size_t pod_count() const { return uids_.size(); }
    [[nodiscard]] std::int64_t gpu_capacity_milli() const { return gpu_capacity_milli_; }
    [[nodiscard]] std::int64_t gpu_used_milli() const { return gpu_used_milli_; }
    [[nodiscard]] const Selection& selection() const { return selection_; }
    [[nodiscard]] const Topology& topology(TopologyId id) const { return topologies_[id]; }
    [[nodiscard]] DriverId driver(VolumeId volume) const { return attachments_.driver(volume); }
    // Whether a Pod on a node has one of the claims that the spec must have for itself.
    [[nodiscard]] bool claim_taken(const InternedSpec& spec) const;
    // Whether the volume is chosen for an assumed Pod. Changes with choices_version.
    [[nodiscard]] bool volume_chosen(std::string_view volume) const { return chosen_.contains(volume); }
    [[nodiscard]] std::uint64_t choices_version() const { return choices_version_; }
    [[nodiscard]] const Demand& demand() const { return demand_; }
    // Changes when the demand is set.
    [[nodiscard]] std::uint64_t demand_version() const { return demand_version_; }
    [[nodiscard]] std::span<const ModelRoom> model_rooms() const { return model_rooms_; }
    [[nodiscard]] const Quotas& quotas() const { return quotas_; }
    // Who is charged under the quota, and over what it is guaranteed.
    [[nodiscard]] std::shared_ptr<const PodSet> over_quota(QuotaId quota) const {
        return over_quota_.of(*this, quota);
    }
    [[nodiscard]] std::span<const PodId> pods_in(std::string_view namespace_name) const;
    // Of the GPUs of present nodes that have any: GB of each, and on how many nodes.
    [[nodiscard]] const std::map<std::int64_t, std::uint32_t>& gpu_memories() const { return gpu_memories_; }
    // Of each GPU of the node, as quotas count it.
    [[nodiscard]] std::int64_t gpu_memory_gb(NodeId id) const;
    // What a Pod is charged on a node whose GPUs have so much memory.
    [[nodiscard]] Charge charge_of(const InternedSpec& spec, std::int64_t gpu_memory_gb) const;

    // Whether all that the Pod asks for has its place on its node.
    [[nodiscard]] bool placed(PodId id) const;
    // Whether what the Pod holds exists and can be handed to it: once it is placed, where nos does not cut
    // the GPUs.
    [[nodiscard]] bool ready(PodId id) const;
    // What the GPUs of a node are to become; empty where nos does not cut them.
    [[nodiscard]] std::vector<Target> targets(NodeId id) const;

    // The nodes whose room or spec changed since `cursor` (a former change_count()), some perhaps repeatedly;
    // nothing when that is too long ago to tell.
    [[nodiscard]] std::optional<std::span<const NodeId>> changes_since(std::uint64_t cursor) const;
    [[nodiscard]] std::uint64_t change_count() const { return dropped_changes_ + changes_.size(); }

    [[nodiscard]] bool in_transaction() const { return in_transaction_; }
    // Throws std::logic_error while a Transaction is open.
    void refuse_in_transaction() const;
    // Recomputes every sum from scratch; throws std::logic_error that names the first that differs.
    void check() const;

    [[nodiscard]] Door& door() const { return door_; }

  private:
    friend class Attempt;
    friend class Transaction;
    friend class Guest;
    friend class Visit;
    friend class Absence;

    // What a Pod takes on its node: what it is known to hold, and of the rest any that is free.
    enum class Claiming : std::uint8_t { known, all };

    enum class Act : std::uint8_t {
        assumed,
        forgotten,
        displaced,
        put_back,
        held,
        released,
        wished,
        left,
        stayed,
        closed,
        opened,
    };

    // What undoes one of these.
    struct Undo {
        Act act = Act::assumed;
        PodId pod;
        NodeId node;  // where it was assumed or held before, or what it wished for; or which is to go or not
        Slots gpus;
        Instances instances;
        std::vector<std::string> volumes;
    };

    NodeId intern_node(std::string_view name);
    void set_spec(NodeId id, std::shared_ptr<const NodeSpec> spec);
    void release_if_unused(NodeId node);
    void touch(NodeId node);

    void touch_namespace(std::string_view name);

    void set_gang(PodId id, std::string_view name);
    void leave_gang(PodId id);
    void release_if_unused(GangId id);
    void count_in_gang(const Pod& pod, std::int64_t sign);
    void set_terminating(Pod& pod, bool terminating);
    void check_gangs() const;

    SpecId intern(const std::shared_ptr<const PodSpec>& spec);
    [[nodiscard]] InternedSpec numbered(const std::shared_ptr<const PodSpec>& spec, std::size_t hash);
    TopologyId intern_topology(std::string_view key);
    Term numbered(Term::Role role, const PodTerm& term, std::int32_t weight);
    void release(SpecId spec);
    void release_parts(const InternedSpec& interned);
    void sweep_specs();

    void set_wish(PodId id, NodeId node);
    void nominate(PodId id, NodeId node);
    NodeId leave(PodId id);
    void start_waiting(PodId id);
    void stop_waiting(PodId id);
    void undo(const Undo& last);
    void undo_to(std::size_t mark);
    void attach(PodId id, NodeId node_id, Phase phase, Slots gpus, Instances instances, Claiming claiming);
    void detach(PodId id, bool is_gone = false);
    void count_rank(const Pod& pod, bool there);
    void enter(Node& node, PodId id, Claiming claiming);
    void count(Node& node, PodId id);
    void uncount(Node& node, PodId id, bool is_gone = false);
    void count_excess(Node& node, PodId id, std::int64_t sign) const;
    static void add_requests(Node& node, const InternedSpec& interned, std::int64_t sign);
    void check_relations() const;
    void check_users() const;
    void take_claims(const Pod& pod, bool taken);
    void require_unchosen(const std::vector<std::string>& volumes) const;
    void choose_volumes(const Pod& pod, bool chosen);
    void settle_volumes(Node& node);

    void count_all_charges();
    void put_under(NamespaceId space, QuotaId quota);
    void put_under(Pod& pod, QuotaId quota);
    void set_labels(PodId id, const std::shared_ptr<const PodLabels>& labels);
    void leave_namespace(Pod& pod);
    // Its quota, if it has one, counts a Pod as long as it is charged.
    void settle_charge(PodId id);
    void uncharge(PodId id);
    void count_gpu_memory(NodeId id, bool present);
    void count_charge(const Pod& pod, std::int64_t sign);
    void check_quotas() const;

    void claim_known(Node& node, PodId id);
    void claim_missing(Node& node, PodId id);
    void unclaim(Node& node, PodId id, bool is_gone);
    void claim_known_slots(Node& node, PodId id);
    void claim_missing_slots(Node& node, PodId id);
    bool claim_slot(Node& node, Pod& pod, std::uint16_t slot);
    void claim_known_instances(Node& node, PodId id);
    void claim_missing_instances(Node& node, PodId id);
    [[nodiscard]] std::vector<ProfileRequest> missing_instances(const Node& node, PodId id) const;
    [[nodiscard]] bool lacks(const Node& node, PodId id, Held held) const;
    void claim(Node& node, PodId id, Held held);
    void unclaim(Node& node, PodId id, Held held, bool is_gone);
    void set_slot(Node& node, std::size_t slot, std::int32_t free);
    void leave_slot(Node& node, std::size_t slot);

    void settle_cuts(Node& node);
    void forget_cuts(const Node& node);
    void add_room(const GpuSpec& gpu, const Cut& cut, std::int64_t sign);

    Names node_names_;
    Names uids_;
    Names resource_names_;  // never released: there are few
    CountedNames claim_names_;
    Table<ClaimId, std::uint32_t> claim_pods_;   // on nodes
    std::set<std::string, std::less<>> chosen_;  // volumes, for assumed Pods
    std::uint64_t choices_version_ = 0;
    Attachments attachments_;
    Selection selection_;
    Topologies topologies_;
    Names gang_names_;
    Table<GangId, Gang> gangs_;
    Table<NodeId, Node> nodes_;
    Table<PodId, Pod> pods_;
    Table<SpecId, InternedSpec> specs_;
    std::unordered_multimap<std::size_t, SpecId> spec_by_hash_;
    std::vector<SpecId> free_specs_;
    std::size_t unused_specs_ = 0;  // specs without a Pod are kept for a while: their like may come again
    std::vector<PodId> waiting_;
    std::set<PodId> held_;
    std::set<PodId> leaving_;
    std::map<std::int32_t, std::uint32_t> priorities_;  // of Pods on nodes
    std::size_t movable_ = 0;
    std::size_t wishes_ = 0;  // of Pods, for a node
    std::map<std::string, Budget, std::less<>> budgets_;
    Demand demand_;
    std::uint64_t demand_version_ = 0;
    Namespaces namespaces_;
    Quotas quotas_;
    std::map<std::int64_t, std::uint32_t> gpu_memories_;
    mutable OverQuota over_quota_;  // it caches

    std::size_t present_nodes_ = 0;
    std::int64_t gpu_capacity_milli_ = 0;  // of present nodes
    std::int64_t gpu_used_milli_ = 0;
    std::vector<ModelRoom> model_rooms_;
    std::uint64_t versions_ = 0;  // of nodes, their specs and those of Pods, given out so far

    std::vector<NodeId> changes_;
    std::uint64_t dropped_changes_ = 0;

    std::vector<Undo> journal_;
    bool in_transaction_ = false;
    mutable Door door_;
};

// Pods that are nominated to a node take their room there for as long as a question takes: those that are
// held, and those of at least this priority, whom a Pod may not overtake.
class Visit {
  public:
    // is_noticed: see Absence.
    Visit(Cluster& cluster, NodeId node, std::int32_t priority, bool is_noticed = true);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    Visit(Visit&&) = delete;
    Visit& operator=(Visit&&) = delete;

    [[nodiscard]] bool empty() const { return visitors_.empty(); }

  private:
    Cluster& cluster_;
    NodeId node_;
    bool is_noticed_;
    std::vector<PodId> visitors_;
};

// Pods that leave a present node for as long as a question takes, with all that its agent sees in their
// hands.
class Absence {
  public:
    // is_noticed: the node has changed, and who looks at the Pods on it sees them gone. Else its room has,
    // and nobody is told.
    Absence(Cluster& cluster, NodeId node, bool is_noticed);
    ~Absence();
    Absence(const Absence&) = delete;
    Absence& operator=(const Absence&) = delete;
    Absence(Absence&&) = delete;
    Absence& operator=(Absence&&) = delete;

    void take(PodId id);
    void put_back(PodId id);
    // What the agent sees in the hands of Pods that are on no record, most likely no more; false when there
    // is nothing.
    bool take_strangers();

  private:
    Cluster& cluster_;
    NodeId node_;
    bool is_noticed_;
    std::vector<PodId> absent_;
    std::vector<Held> strangers_;
    std::vector<std::uint16_t> withheld_;  // whole GPUs, of strangers
};

// A Pod that is only asked about, for as long as the question takes: as interned as one of the Cluster's own.
class Guest {
  public:
    Guest(Cluster& cluster, const std::shared_ptr<const PodSpec>& spec,
          const std::shared_ptr<const PodLabels>& labels)
        : cluster_{cluster}, spec_{cluster.intern(spec)}, labels_{cluster.selection_.intern(labels)} {}
    ~Guest() {
        cluster_.selection_.release(labels_);
        cluster_.release(spec_);
    }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    Guest(Guest&&) = delete;
    Guest& operator=(Guest&&) = delete;

    [[nodiscard]] SpecId spec() const { return spec_; }
    [[nodiscard]] KinId kin() const { return cluster_.selection().kin(labels_); }

  private:
    Cluster& cluster_;
    SpecId spec_;
    LabelsId labels_;
};

}  // namespace nos
