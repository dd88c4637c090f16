#include "scheduler.h"

#include <algorithm>
#include <set>

#include "order.h"
#include "quota_reason.h"
#include "reclaim.h"
#include "transaction.h"
#include "turns.h"

namespace nos {

namespace {

// Nodes ranked over all specs, at most: about 30 bytes each.
constexpr std::size_t most_ranked_nodes = 4'000'000;

}  // namespace

std::optional<Bind> Scheduler::place(PodId id) {
    const GangId gang = cluster_.pod(id).gang;
    if (!gang.valid()) {
        return place_in(id, nullptr);
    }
    if (!cluster_.gang(gang).is_satisfied()) {
        return std::nullopt;
    }
    std::optional<Transaction> transaction;
    if (!cluster_.in_transaction()) {
        transaction.emplace(cluster_);
    }
    const GangTurn turn = nos::place_gang(
        cluster_, gang, {id},
        [&](PodId one, const Domain* domain) { return place_in(one, domain).has_value(); },
        [](PodId /*one*/, const Domain* /*domain*/) { return std::make_shared<Reason>(); }, Room::free);
    if (transaction) {
        transaction->commit();
    }
    return turn.placed.empty() ? std::nullopt : std::optional{bind_of(id)};
}

GangTurn Scheduler::place_gang(GangId gang, const PlaceOne& place_one, Room room) {
    return nos::place_gang(
        cluster_, gang, order(cluster_, cluster_.gang(gang)), place_one,
        [&](PodId id, const Domain* domain) { return reason_in(id, domain); }, room);
}

std::optional<Bind> Scheduler::place_in(PodId id, const Domain* domain) {
    scorer_.learn(cluster_);
    const InternedSpec& interned = cluster_.spec(cluster_.pod(id).spec);
    const PodSpec& spec = *interned.spec;
    if (!spec.is_placeable()) {
        return std::nullopt;
    }
    const Gate gate{cluster_, id};
    const auto node = gate.is_open() ? choose(known_of(id).ranking, interned, cluster_.pod(id), domain, gate)
                                     : std::nullopt;
    if (!node) {
        return std::nullopt;
    }
    auto [gpus, instances] = scorer_.allocate(spec, cluster_.node(*node));
    std::vector<std::string> volumes;
    if (!spec.claims.empty()) {
        volumes = find_volumes(cluster_, spec, *node).value();
    }
    cluster_.assume(id, *node, std::move(gpus), std::move(instances), std::move(volumes));
    return bind_of(id);
}

Bind Scheduler::bind_of(PodId id) const {
    const Pod& pod = cluster_.pod(id);
    return {id, pod.node, pod.gpus, pod.instances, pod.volumes};
}

// The node where room was made for it, or the best of those that also have room for Pods that are nominated
// there.
std::optional<NodeId> Scheduler::choose(Ranking& ranking, const InternedSpec& spec, const Pod& pod,
                                        const Domain* domain, const Gate& gate) {
    const std::int32_t priority = pod.priority;
    std::vector<NodeId> too_full;
    ranking.refresh(cluster_, scorer_, spec);
    if (pod.wish.valid() && (domain == nullptr || domain->has(cluster_, pod.wish)) && !gate.bars(pod.wish) &&
        ranking.verdicts(cluster_, spec)[pod.wish].fits() &&
        fits_beside_nominated(ranking, spec, priority, pod.wish)) {
        return pod.wish;
    }
    ranking.readmit(cluster_, scorer_, spec, priority);
    while (true) {
        ranking.refresh(cluster_, scorer_, spec);
        for (const NodeId id : too_full) {
            ranking.exclude(id, priority);
        }
        const auto node = ranking.best(cluster_, spec, domain, gate);
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
    of_gangs_.clear();
    take_turns(order(cluster_), outcome.binds, left);
    while (plan_again(outcome.binds, left)) {
    }
    for (const PodId id : left) {
        const auto of_gang = of_gangs_.find(id);
        outcome.waiting.push_back({id, of_gang == of_gangs_.end() ? reason_for(id) : of_gang->second});
    }
    std::map<PodId, std::int64_t> victims;  // by whom they make room for
    for (const auto& [victim, eviction] : evictions_) {
        if (cluster_.pod(victim).leaving) {
            outcome.evictions.push_back(eviction);
            ++victims[eviction.for_pod];
        }
    }
    // Numbers depend on who came first, names do not.
    const auto uid = [&](PodId id) { return cluster_.uid(id); };
    std::ranges::sort(outcome.evictions, {}, [&](const Eviction& eviction) { return uid(eviction.pod); });
    std::vector<PodId> held{cluster_.held().begin(), cluster_.held().end()};
    std::ranges::sort(held, {}, uid);
    for (const PodId id : held) {
        outcome.waiting.push_back({id, std::make_shared<Reason>(making_room(id, victims[id]))});
    }
    transaction.commit();
    return outcome;
}

// Everybody in turn; all of a gang in that of its first.
void Scheduler::take_turns(std::span<const PodId> pods, std::vector<Bind>& binds, std::vector<PodId>& left) {
    std::set<GangId> gangs;
    Turns turns{cluster_, {pods.begin(), pods.end()}};
    while (const auto next = turns.next()) {
        const PodId id = *next;
        const GangId gang = cluster_.pod(id).gang;
        if (gang.valid()) {
            if (gangs.insert(gang).second) {
                take_turn(gang, binds, left);
            }
        } else if (auto bind = place_in(id, nullptr)) {
            binds.push_back(std::move(*bind));
        } else if (!make_room(id, nullptr)) {
            cluster_.drop_wish(id);
            left.push_back(id);
        }
    }
}

// A gang that needs room made for one of its Pods waits for it as a whole, each Pod held where it will be.
void Scheduler::take_turn(GangId gang, std::vector<Bind>& binds, std::vector<PodId>& left) {
    const auto place = [&](PodId id, const Domain* domain) { return place_in(id, domain).has_value(); };
    const auto place_or_make_room = [&](PodId id, const Domain* domain) {
        return place(id, domain) || make_room(id, domain);
    };
    GangTurn turn = place_gang(gang, place, Room::free);
    if (turn.placed.empty() &&
        std::ranges::any_of(turn.left, [&](const auto& one) { return may_make_room(one.pod); })) {
        GangTurn other = place_gang(gang, place_or_make_room, Room::all);
        if (!other.placed.empty()) {
            turn = std::move(other);
        }
    }
    const bool starts = cluster_.gang(gang).is_satisfied();
    for (const PodId id : turn.placed) {
        of_gangs_.erase(id);
        if (cluster_.pod(id).held) {
            continue;
        }
        if (starts) {
            binds.push_back(bind_of(id));
        } else {
            const NodeId node = cluster_.pod(id).node;
            cluster_.forget(id);
            cluster_.hold(id, node);
        }
    }
    for (const auto& [waiting, reason] : turn.left) {
        cluster_.drop_wish(waiting);
        left.push_back(waiting);
        of_gangs_[waiting] = reason;
    }
}

// In the order of arrival small instances lie where large ones then do not fit. So the instances of this
// cycle are placed once more, the large ones first, then those whose place hung on where others are, and
// after them who was left over, in order. Kept only when everybody is placed again and somebody more: nobody
// loses his turn to a larger wish. A gang that has started stays whole, and where it has to be; one that has
// not is tried as a whole.
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
    std::map<PodId, Domain> domains;
    for (const Bind& bind : before) {
        if (auto domain = domain_to_keep(bind)) {
            domains[bind.pod] = std::move(*domain);
        }
    }
    Attempt attempt{cluster_};
    for (const Bind& bind : before) {
        cluster_.forget(bind.pod);
    }
    for (const auto& [size, id] : order) {
        const auto domain = domains.find(id);
        if (auto bind = place_in(id, domain == domains.end() ? nullptr : &domain->second)) {
            after.push_back(std::move(*bind));
        }
    }
    if (after.size() < binds.size()) {
        return false;
    }
    const auto reasons = of_gangs_;
    std::vector<PodId> still_left;
    std::vector<PodId> once_more;
    for (const PodId id : left) {
        (wants_gpu(id) || cluster_.pod(id).gang.valid() ? once_more : still_left).push_back(id);
    }
    take_turns(once_more, after, still_left);
    if (after.size() == binds.size()) {
        of_gangs_ = reasons;
        return false;
    }
    attempt.keep();
    binds = std::move(after);
    left = std::move(still_left);
    return true;
}

// A member of a gang stays in the domain where it is, if the gang is to be in one.
std::optional<Domain> Scheduler::domain_to_keep(const Bind& bind) const {
    const GangId gang = cluster_.pod(bind.pod).gang;
    const TopologyId topology = gang.valid() ? cluster_.gang(gang).topology : TopologyId{};
    if (!topology.valid()) {
        return std::nullopt;
    }
    std::vector<Domain> all = domains(cluster_, topology);
    const auto found = std::ranges::find(all, cluster_.topology(topology).domain(bind.node), &Domain::id);
    return found == all.end() ? std::nullopt : std::optional{std::move(*found)};
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
        known.kins.push_back(
            std::make_unique<Known>(Known{Ranking{interned, kin}, serial, nullptr, 0, 0, {}}));
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
    if (auto of_quota = quota_reason_for(id, known)) {
        return of_quota;
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

// Where its quota bars it from every node, or from all that have room. Pods of one spec may have several.
std::shared_ptr<Reason> Scheduler::quota_reason_for(PodId id, Known& known) {
    const Gate gate{cluster_, id};
    if (!gate.refusal()) {
        return nullptr;
    }
    const Pod& pod = cluster_.pod(id);
    const InternedSpec& interned = cluster_.spec(pod.spec);
    known.ranking.refresh(cluster_, scorer_, interned);
    QuotaReason& kept = known.quota_reasons[pod.quota];
    if (kept.version == cluster_.quotas().version() && kept.cursor == known.ranking.cursor()) {
        return kept.reason;
    }
    bool counts = true;
    if (gate.is_open()) {
        const Table<NodeId, Verdict> all = verdicts(known.ranking, interned, pod.priority);
        counts = std::ranges::any_of(all.values(), &Verdict::fits);
        known.ranking.refresh(cluster_, scorer_, interned);
    }
    kept = {cluster_.quotas().version(), known.ranking.cursor(), nullptr};
    if (counts) {
        kept.reason = std::make_shared<Reason>(explain(cluster_, *gate.refusal()));
    }
    return kept.reason;
}

std::shared_ptr<Reason> Scheduler::reason_in(PodId id, const Domain* domain) {
    const InternedSpec& interned = cluster_.spec(cluster_.pod(id).spec);
    if (domain == nullptr || !interned.spec->is_placeable()) {
        return reason_for(id);
    }
    if (auto of_quota = quota_reason_for(id, known_of(id))) {
        return of_quota;
    }
    auto all = verdicts(known_of(id).ranking, interned, cluster_.pod(id).priority);
    for (std::size_t number = 0; number < all.size(); ++number) {
        if (!domain->has(cluster_, NodeId{number})) {
            all[NodeId{number}].add(Verdict::outside);
        }
    }
    return std::make_shared<Reason>(explain(cluster_, interned, all));
}

bool Scheduler::may_reclaim(PodId id, PodId victim) const {
    Reclaim::Over over;
    return Reclaim{cluster_, id, over}.may_take(victim, cluster_.pod(victim).charged_on());
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

Fragmentation Scheduler::fragmentation() const {
    Scorer scorer{scorer_};
    scorer.learn(cluster_);
    Fragmentation sum;
    for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
        const Fragmentation of_node = scorer.fragmentation(cluster_.node(NodeId{number}));
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
