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

bool Scheduler::make_room(PodId id) {
    const Pod& pod = cluster_.pod(id);
    const InternedSpec& interned = cluster_.spec(pod.spec);
    if (!interned.spec->is_placeable() || !pod.preempts) {
        return false;
    }
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
        return cluster_.node(node).present() && ranking.spec_fits(node) ? search.on(node) : std::nullopt;
    };

    std::optional<Victims> best;
    if (pod.wish.valid()) {
        best = look(pod.wish);
    }
    if (!best || best->toll != Toll{}) {
        const Preempting like_it{pod.spec, cluster_.selection().kin(pod.labels), pod.priority};
        if (!cluster_.lowest_priority() || *cluster_.lowest_priority() >= pod.priority ||
            hopeless_.contains(like_it)) {
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
            hopeless_.insert(like_it);
            return false;
        }
        best = search.on(best->node, true);
    }
    for (const Victim& victim : best->pods) {
        cluster_.set_leaving(victim.pod, true);
        evictions_.push_back({victim.pod, best->node, victim.cause, id});
    }
    cluster_.hold(id, best->node);
    return true;
}

}  // namespace nos
