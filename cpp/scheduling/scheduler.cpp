#include "scheduler.h"

#include <algorithm>

#include "order.h"
#include "transaction.h"

namespace nos {

namespace {

// Nodes ranked over all specs, at most: about 30 bytes each.
constexpr std::size_t most_ranked_nodes = 4'000'000;

}  // namespace

std::optional<Bind> Scheduler::place(PodId id) {
    scorer_.learn(cluster_);
    const InternedSpec& interned = cluster_.spec(cluster_.pod(id).spec);
    const PodSpec& spec = *interned.spec;
    if (!spec.is_placeable()) {
        return std::nullopt;
    }
    const auto node = choose(known_of(id).ranking, interned, cluster_.pod(id));
    if (!node) {
        return std::nullopt;
    }
    auto [gpus, instances] = scorer_.allocate(spec, cluster_.node(*node));
    std::vector<std::string> volumes;
    if (!spec.claims.empty()) {
        volumes = find_volumes(cluster_, spec, *node).value();
    }
    cluster_.assume(id, *node, std::move(gpus), std::move(instances), std::move(volumes));
    const Pod& pod = cluster_.pod(id);
    return Bind{id, *node, pod.gpus, pod.instances, pod.volumes};
}

// The node where room was made for it, or the best of those that also have room for Pods that are nominated
// there.
std::optional<NodeId> Scheduler::choose(Ranking& ranking, const InternedSpec& spec, const Pod& pod) {
    const std::int32_t priority = pod.priority;
    std::vector<NodeId> too_full;
    ranking.refresh(cluster_, scorer_, spec);
    if (pod.wish.valid() && ranking.verdicts(cluster_, spec)[pod.wish].fits() &&
        fits_beside_nominated(ranking, spec, priority, pod.wish)) {
        return pod.wish;
    }
    ranking.readmit(cluster_, scorer_, spec, priority);
    while (true) {
        ranking.refresh(cluster_, scorer_, spec);
        for (const NodeId id : too_full) {
            ranking.exclude(id, priority);
        }
        const auto node = ranking.best(cluster_, spec);
        if (!node || fits_beside_nominated(ranking, spec, priority, *node)) {
            return node;
        }
        too_full.push_back(*node);
    }
}

// A node is touched by the question: a ranking follows at its next refresh.
bool Scheduler::fits_beside_nominated(Ranking& ranking, const InternedSpec& spec, std::int32_t priority,
                                      NodeId id) {
    if (cluster_.node(id).nominated.empty()) {
        return true;
    }
    const Visit visit{cluster_, id, priority};
    if (visit.empty()) {
        return true;
    }
    ranking.refresh(cluster_, scorer_, spec);
    return ranking.verdicts(cluster_, spec)[id].fits();
}

// Of all nodes, with those that are nominated to them.
Table<NodeId, Verdict> Scheduler::verdicts(Ranking& ranking, const InternedSpec& spec,
                                           std::int32_t priority) {
    ranking.refresh(cluster_, scorer_, spec);
    Table<NodeId, Verdict> verdicts = ranking.verdicts(cluster_, spec);
    for (std::size_t number = 0; number < verdicts.size(); ++number) {
        const NodeId id{number};
        if (!cluster_.node(id).nominated.empty()) {
            const Visit visit{cluster_, id, priority};
            ranking.refresh(cluster_, scorer_, spec);
            verdicts[id].add(ranking.verdicts(cluster_, spec)[id]);
        }
    }
    return verdicts;
}

Outcome Scheduler::schedule() {
    Outcome outcome;
    Transaction transaction{cluster_};
    recall();
    std::vector<PodId> left;
    for (const PodId id : order(cluster_)) {
        if (auto bind = place(id)) {
            outcome.binds.push_back(std::move(*bind));
        } else if (!make_room(id)) {
            cluster_.drop_wish(id);
            left.push_back(id);
        }
    }
    while (plan_again(outcome.binds, left)) {
    }
    for (const PodId id : left) {
        outcome.waiting.push_back({id, reason_for(id)});
    }
    for (const PodId id : cluster_.held()) {
        outcome.waiting.push_back({id, std::make_shared<Reason>(making_room(id))});
    }
    outcome.evictions = evictions_;
    transaction.commit();
    return outcome;
}

// In the order of arrival small instances lie where large ones then do not fit. So the instances of this
// cycle are placed once more, the large ones first, then those whose place hung on where others are, and
// after them who was left over, in order. Kept only when everybody is placed again and somebody more: nobody
// loses his turn to a larger wish.
bool Scheduler::plan_again(std::vector<Bind>& binds, std::vector<PodId>& left) {
    std::vector<Bind> before;
    std::vector<Bind> after;
    const auto has_instances = [](const Bind& bind) { return !bind.instances.empty(); };
    const auto looks_at_others = [&](const Bind& bind) {
        const PodSpec& spec = *cluster_.spec(cluster_.pod(bind.pod).spec).spec;
        return !spec.pod_affinity.empty() || std::ranges::any_of(spec.spread, &SpreadConstraint::required);
    };
    for (const Bind& bind : binds) {
        (has_instances(bind) || looks_at_others(bind) ? before : after).push_back(bind);
    }
    const auto wants_gpu = [&](PodId id) {
        const PodSpec& spec = *cluster_.spec(cluster_.pod(id).spec).spec;
        return spec.is_placeable() && (!spec.profiles.empty() || spec.gpu_slots() > 0);
    };
    if (std::ranges::none_of(before, has_instances) || std::ranges::none_of(left, wants_gpu)) {
        return false;
    }
    std::vector<std::pair<std::int64_t, PodId>> order;
    for (const Bind& bind : before) {
        order.emplace_back(units(bind), bind.pod);
    }
    std::ranges::stable_sort(order, std::greater{}, &std::pair<std::int64_t, PodId>::first);
    for (const Bind& bind : before) {
        cluster_.forget(bind.pod);
    }
    const std::size_t unmoved = after.size();
    for (const auto& [size, id] : order) {
        if (auto bind = place(id)) {
            after.push_back(std::move(*bind));
        }
    }
    std::vector<PodId> still_left;
    if (after.size() == binds.size()) {
        for (const PodId id : left) {
            if (auto bind = wants_gpu(id) ? place(id) : std::nullopt) {
                after.push_back(std::move(*bind));
            } else {
                still_left.push_back(id);
            }
        }
    }
    if (after.size() <= binds.size()) {
        for (std::size_t i = unmoved; i < after.size(); ++i) {
            cluster_.forget(after[i].pod);
        }
        for (const Bind& bind : before) {
            cluster_.assume(bind.pod, bind.node, bind.gpus, bind.instances, bind.volumes);
        }
        return false;
    }
    binds = std::move(after);
    left = std::move(still_left);
    return true;
}

Reason Scheduler::making_room(PodId id) const {
    std::int64_t pods = std::ranges::count(evictions_, id, &Eviction::for_pod);
    return {ReasonCode::making_room,
            "room is made for it on node " + std::string{cluster_.name(cluster_.pod(id).nominated)} + ": " +
                std::to_string(pods) + (pods == 1 ? " Pod has" : " Pods have") + " to go first.",
            {}};
}

std::int64_t Scheduler::units(const Bind& bind) const {
    std::int64_t sum = 0;
    for (const Held& held : bind.instances) {
        const GpuSpec& gpu = cluster_.node(bind.node).spec->gpus[held.gpu];
        sum += gpu.model->model().profiles[held.placement.profile].size;
    }
    return sum;
}

Scheduler::Known& Scheduler::known_of(PodId id) {
    const Pod& pod = cluster_.pod(id);
    if (pod.spec.value() >= known_.size()) {
        known_.values().resize(cluster_.spec_bound());
    }
    KnownSpec& known = known_[pod.spec];
    const InternedSpec& interned = cluster_.spec(pod.spec);
    if (known.version != interned.version) {
        rankings_ -= known.kins.size();
        known = {interned.version, {}};
    }
    const KinId kin = cluster_.selection().kin(pod.labels);
    const std::uint64_t serial = cluster_.selection().serial(kin);
    auto found = std::ranges::find_if(known.kins, [&](const auto& entry) { return entry->kin == serial; });
    if (found == known.kins.end()) {
        drop_oldest_rankings();
        known.kins.push_back(std::make_unique<Known>(Known{Ranking{interned, kin}, serial, nullptr, 0, 0}));
        ++rankings_;
        found = known.kins.end() - 1;
    }
    (*found)->last_used = ++uses_;
    return **found;
}

std::shared_ptr<Reason> Scheduler::reason_for(PodId id) {
    const InternedSpec& interned = cluster_.spec(cluster_.pod(id).spec);
    Known& known = known_of(id);
    if (!interned.spec->is_placeable()) {
        if (known.reason == nullptr) {
            known.reason = std::make_shared<Reason>(not_placeable(*interned.spec));
        }
        return known.reason;
    }
    known.ranking.refresh(cluster_, scorer_, interned);
    if (known.reason == nullptr || known.reason_cursor != known.ranking.cursor()) {
        known.reason = std::make_shared<Reason>(
            explain(cluster_, interned, verdicts(known.ranking, interned, cluster_.pod(id).priority)));
        known.ranking.refresh(cluster_, scorer_, interned);
        known.reason_cursor = known.ranking.cursor();
    }
    return known.reason;
}

std::vector<NodeId> Scheduler::feasible(const std::shared_ptr<const PodSpec>& spec,
                                        const std::shared_ptr<const PodLabels>& labels,
                                        std::int32_t priority) {
    std::vector<NodeId> nodes;
    if (!spec->is_placeable()) {
        return nodes;
    }
    const Guest guest{cluster_, spec, labels};
    const InternedSpec& interned = cluster_.spec(guest.spec());
    Ranking ranking{interned, guest.kin()};
    const Table<NodeId, Verdict> all = verdicts(ranking, interned, priority);
    for (std::size_t number = 0; number < all.size(); ++number) {
        if (all[NodeId{number}].fits()) {
            nodes.emplace_back(number);
        }
    }
    return nodes;
}

Fragmentation Scheduler::fragmentation() {
    scorer_.learn(cluster_);
    Fragmentation sum;
    for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
        const Fragmentation of_node = scorer_.fragmentation(cluster_.node(NodeId{number}));
        sum.free += of_node.free;
        sum.stranded += of_node.stranded;
    }
    return sum;
}

void Scheduler::drop_oldest_rankings() {
    const std::size_t most = most_ranked_nodes / std::max<std::size_t>(1, cluster_.node_bound());
    if (rankings_ <= most) {
        return;
    }
    std::vector<std::uint64_t> uses;
    for (const KnownSpec& known : known_.values()) {
        for (const auto& entry : known.kins) {
            uses.push_back(entry->last_used);
        }
    }
    std::ranges::nth_element(uses, uses.begin() + static_cast<std::ptrdiff_t>(uses.size() - most / 2));
    const std::uint64_t oldest_kept = uses[uses.size() - most / 2];
    rankings_ = 0;
    for (KnownSpec& known : known_.values()) {
        std::erase_if(known.kins, [&](const auto& entry) { return entry->last_used < oldest_kept; });
        rankings_ += known.kins.size();
    }
}

}  // namespace nos
