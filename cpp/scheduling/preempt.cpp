// The part of the Scheduler that makes room for a Pod that fits nowhere: by the eviction of others.
//
// Each cycle decides anew. Those who were held go first and find what was chosen for them free of charge, so
// that they get the same again, and no more, for as long as they need it.
#include <algorithm>

#include "filter.h"
#include "scheduler.h"
#include "victims.h"

namespace nos {

void Scheduler::recall() {
    evictions_.clear();
    chosen_.clear();
    hopeless_.clear();
    const std::vector<PodId> leaving{cluster_.leaving().begin(), cluster_.leaving().end()};
    for (const PodId id : leaving) {
        chosen_.insert(id);
        cluster_.set_leaving(id, false);
    }
    const std::vector<PodId> held{cluster_.held().begin(), cluster_.held().end()};
    for (const PodId id : held) {
        cluster_.release(id);
    }
}

bool Scheduler::may_make_room(PodId id) const {
    const Pod& pod = cluster_.pod(id);
    if (!cluster_.spec(pod.spec).spec->is_placeable() || !pod.preempts) {
        return false;
    }
    const auto lowest = cluster_.lowest_priority();
    return pod.wish.valid() || (lowest && *lowest < pod.priority);
}

bool Scheduler::make_room(PodId id, const Domain* domain) {
    const Pod& pod = cluster_.pod(id);
    if (!may_make_room(id)) {
        return false;
    }
    // What was tried for a gang is taken back, and says nothing about others.
    const bool is_memorable = !pod.gang.valid();
    const Preempting like_it{pod.spec, cluster_.selection().kin(pod.labels), pod.priority};
    const InternedSpec& interned = cluster_.spec(pod.spec);
    Ranking& ranking = known_of(id).ranking;
    ranking.refresh(cluster_, scorer_, interned);
    const bool is_noticed = ranking.looks_at_pods() || !interned.sole_claims.empty();
    const auto fits = [&](NodeId node) {
        const Visit visit{cluster_, node, pod.priority, is_noticed};
        if (!is_noticed) {
            return match_room(cluster_, interned, cluster_.node(node)).fits();
        }
        ranking.refresh(cluster_, scorer_, interned);
        return ranking.verdicts(cluster_, interned)[node].fits();
    };
    const auto may = [&](PodId victim) -> std::optional<Cause> {
        return cluster_.pod(victim).priority < pod.priority ? std::optional{Cause::priority} : std::nullopt;
    };
    VictimSearch search{cluster_, id, chosen_, is_noticed, fits, may};
    const auto look = [&](NodeId node) -> std::optional<Victims> {
        const bool is_there =
            cluster_.node(node).present() && (domain == nullptr || domain->has(cluster_, node));
        return is_there && ranking.spec_fits(node) ? search.on(node) : std::nullopt;
    };

    std::optional<Victims> best;
    if (pod.wish.valid()) {
        best = look(pod.wish);
    }
    if (!best || best->toll != Toll{}) {
        if (is_memorable && hopeless_.contains(like_it)) {
            return false;
        }
        for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
            auto found = look(NodeId{number});
            if (found && (!best || found->toll < best->toll)) {
                best = std::move(found);
            }
            if (best && best->toll == Toll{}) {
                break;
            }
        }
        if (!best) {
            if (is_memorable) {
                hopeless_.insert(like_it);
            }
            return false;
        }
        best = search.on(best->node, true);
    }
    for (const Victim& victim : best->pods) {
        cluster_.set_leaving(victim.pod, true);
        evictions_[victim.pod] = {victim.pod, best->node, victim.cause, id};
    }
    cluster_.hold(id, best->node);
    return true;
}

Reason Scheduler::making_room(PodId id) const {
    const auto is_for_it = [&](const auto& entry) {
        return entry.second.for_pod == id && cluster_.pod(entry.first).leaving;
    };
    const auto pods = std::ranges::count_if(evictions_, is_for_it);
    const std::string node{cluster_.name(cluster_.pod(id).nominated)};
    if (pods == 0) {
        return {ReasonCode::making_room,
                "has its place on node " + node + ", and waits for others of its pod group",
                {}};
    }
    return {ReasonCode::making_room,
            "room is made for it on node " + node + ": " + std::to_string(pods) +
                (pods == 1 ? " Pod has" : " Pods have") + " to go first",
            {}};
}

}  // namespace nos
