#include "relocation.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "filter.h"
#include "place_gang.h"
#include "transaction.h"

namespace nos {

namespace {

bool contains(const std::vector<NodeId>& nodes, NodeId id) {
    return std::ranges::find(nodes, id) != nodes.end();
}

}  // namespace

bool place_all(Cluster& cluster, Scheduler& scheduler, GangId gang, const std::vector<PodId>& pods) {
    Attempt attempt{cluster};
    const GangTurn turn = place_gang(
        cluster, gang, pods,
        [&](PodId id, const Domain* domain) { return scheduler.place_in(id, domain).has_value(); },
        [](PodId /*id*/, const Domain* /*domain*/) { return std::make_shared<Reason>(); }, Room::free);
    if (!turn.left.empty()) {
        return false;
    }
    attempt.keep();
    return true;
}

void set_going(Cluster& cluster, const std::vector<NodeId>& nodes, bool going) {
    for (const NodeId node : nodes) {
        cluster.set_going(node, going);
    }
}

Relocation::Relocation(Cluster& cluster, Scheduler& scheduler, const std::vector<Candidate>& candidates,
                       std::int64_t steps)
    : cluster_{cluster}, scheduler_{scheduler}, candidates_{candidates}, steps_{steps} {
    for (const Candidate& candidate : candidates_) {
        for (const PodId id : candidate.movers) {
            const Pod& pod = cluster.pod(id);
            homes_[id] = {pod.node, pod.gpus, pod.instances};
            loads_[id] = load_of(cluster, id);
        }
    }
}

bool Relocation::place(const std::vector<PodId>& pods, std::vector<NodeId> emptying,
                       const std::vector<std::size_t>& closed, std::int64_t steps) {
    why_not_ = "the search was cut short";
    emptying_ = std::move(emptying);
    closed_ = closed;
    steps_now_ = std::min(steps, steps_);
    return place_from(0, units(pods), {});
}

// Gangs first; those who look at others last; the large ones before the small ones.
std::vector<Relocation::Unit> Relocation::units(const std::vector<PodId>& pods) const {
    std::map<GangId, std::vector<PodId>> gangs;
    std::vector<PodId> alone;
    for (const PodId id : pods) {
        const GangId gang = cluster_.pod(id).gang;
        (gang.valid() ? gangs[gang] : alone).push_back(id);
    }
    const auto key = [&](PodId id) {
        const Load& load = loads_.at(id);
        const Pod& pod = cluster_.pod(id);
        return std::tuple{looks_at_others(id), -load.gpu,    -load.cpu,       -load.memory, pod.spec,
                          pod.labels,          pod.priority, cluster_.uid(id)};
    };
    std::ranges::sort(alone, {}, key);
    std::vector<Unit> all;
    for (auto& [gang, members] : gangs) {
        std::ranges::sort(members, {}, key);
        all.push_back({std::move(members), gang});
    }
    std::ranges::stable_sort(all, std::greater{}, [](const Unit& unit) { return unit.pods.size(); });
    for (const PodId id : alone) {
        all.push_back({{id}, GangId{}});
    }
    return all;
}

bool Relocation::looks_at_others(PodId id) const {
    const PodSpec& spec = *cluster_.spec(cluster_.pod(id).spec).spec;
    return !spec.pod_affinity.empty() || std::ranges::any_of(spec.spread, &SpreadConstraint::required);
}

bool Relocation::are_alike(const Unit& left, const Unit& right) const {
    const Pod& one = cluster_.pod(left.pods.front());
    const Pod& other = cluster_.pod(right.pods.front());
    return !left.gang.valid() && !right.gang.valid() && one.spec == other.spec &&
           one.labels == other.labels && one.priority == other.priority && one.quota == other.quota;
}

// Everybody from that one on: each at the best place that leaves room for the others. hopeless: where the one
// before it, if that is alike, has been tried in vain.
bool Relocation::place_from(std::size_t at, const std::vector<Unit>& units,
                            const std::vector<NodeId>& hopeless) {
    if (at == units.size()) {
        return true;
    }
    if (units[at].gang.valid()) {
        steps_ -= static_cast<std::int64_t>(units[at].pods.size());
        steps_now_ -= static_cast<std::int64_t>(units[at].pods.size());
        if (!place_all(cluster_, scheduler_, units[at].gang, units[at].pods)) {
            why_not_ = "pod group " + std::string{cluster_.name(units[at].gang)} + " has no place elsewhere";
            return false;
        }
        return place_from(at + 1, units, {});
    }
    std::vector<NodeId> tried;
    if (at > 0 && are_alike(units[at - 1], units[at])) {
        tried = hopeless;
    }
    while (true) {
        Attempt attempt{cluster_};
        const auto node = place_one(units[at].pods.front(), tried);
        if (!node) {
            return false;
        }
        if (place_from(at + 1, units, tried)) {
            attempt.keep();
            return true;
        }
        tried.push_back(*node);
    }
}

std::optional<NodeId> Relocation::place_one(PodId id, const std::vector<NodeId>& hopeless) {
    if (steps_now_ <= 0) {
        return std::nullopt;
    }
    --steps_;
    --steps_now_;
    std::vector<NodeId> opened;
    for (const NodeId node : hopeless) {
        if (!cluster_.node(node).going) {
            cluster_.set_going(node, true);
            opened.push_back(node);
        }
    }
    const auto bind = scheduler_.place_in(id, nullptr);
    for (const NodeId node : opened) {
        cluster_.set_going(node, false);
    }
    if (bind) {
        return bind->node;
    }
    if (const auto node = place_on_closed(id, hopeless)) {
        return node;
    }
    if (hopeless.empty()) {
        why_not_ = no_place(id);
    }
    return std::nullopt;
}

// Of a Pod that waits for a place: it may have been moved already.
std::string Relocation::no_place(PodId id) const {
    const NodeId home = homes_.at(id).node;
    const std::string called = "Pod " + std::string{cluster_.uid(id)};
    return cluster_.node(home).going && !contains(emptying_, home)
               ? called + ", which comes from node " + std::string{cluster_.name(home)} +
                     ", has no other place"
               : called + " has no place elsewhere";
}

// On a candidate that was not tried yet, and that is open from then on.
std::optional<NodeId> Relocation::place_on_closed(PodId id, const std::vector<NodeId>& hopeless) {
    for (std::size_t i = closed_.size(); i-- > 0 && steps_now_ > 0;) {
        const std::vector<NodeId>& nodes = candidates_[closed_[i]].nodes;
        const bool will_do = std::ranges::any_of(nodes, [&](NodeId node) {
            return cluster_.node(node).going && !contains(hopeless, node) && would_fit(id, node);
        });
        if (!will_do) {
            continue;
        }
        --steps_;
        --steps_now_;
        set_going(cluster_, nodes, false);
        if (const auto bind = scheduler_.place_in(id, nullptr)) {
            return bind->node;
        }
        set_going(cluster_, nodes, true);
    }
    return std::nullopt;
}

// If the node were open; as far as it alone can tell.
bool Relocation::would_fit(PodId id, NodeId node) const {
    const InternedSpec& spec = cluster_.spec(cluster_.pod(id).spec);
    return match_room(cluster_, spec, cluster_.node(node)).fits() &&
           match_spec(cluster_, *spec.spec, node).fits();
}

}  // namespace nos
