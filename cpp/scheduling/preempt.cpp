// The part of the Scheduler that makes room for a Pod that fits nowhere: by the eviction of others.
//
// Each cycle decides anew. Those who were held go first and find what was chosen for them free of charge, so
// that they get the same again, and no more, for as long as they need it.
#include <algorithm>
#include <iterator>
#include <tuple>

#include "filter.h"
#include "gate.h"
#include "reclaim.h"
#include "scheduler.h"
#include "transaction.h"
#include "victims.h"

namespace nos {

void Scheduler::recall() {
    evictions_.clear();
    chosen_.clear();
    hopeless_.clear();
    tolls_.clear();
    vacated_.clear();
    over_.clear();
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
    return pod.preempts && cluster_.spec(pod.spec).spec->is_placeable() &&
           (pod.wish.valid() || may_preempt(id) || cluster_.movable_count() > 0);
}

// Whether there may be anybody whom it may have evicted.
bool Scheduler::may_preempt(PodId id) const {
    const auto lowest = cluster_.lowest_priority();
    return lowest && (*lowest < cluster_.pod(id).priority || cluster_.pod(id).quota.valid());
}

// Within one quota, or where there is none, by priority; between quotas what was lent is taken back.
std::optional<Cause> Scheduler::may_evict(PodId id, PodId victim, Reclaim& reclaim) const {
    const Pod& pod = cluster_.pod(id);
    const Pod& other = cluster_.pod(victim);
    if (pod.quota == other.quota) {
        if (other.priority < pod.priority) {
            return Cause::priority;
        }
    } else if (reclaim.may_take(victim, other.node)) {
        return Cause::reclaim;
    }
    return other.movable && chosen_.contains(victim) ? std::optional{Cause::repack} : std::nullopt;
}

bool Scheduler::make_room(PodId id, const Domain* domain) {
    const Pod& pod = cluster_.pod(id);
    if (!may_make_room(id)) {
        return false;
    }
    const InternedSpec& interned = cluster_.spec(pod.spec);
    Ranking& ranking = known_of(id).ranking;
    ranking.refresh(cluster_, scorer_, interned);
    const bool is_noticed = ranking.looks_at_pods() || !interned.sole_claims.empty();
    const auto fits = [&](NodeId node) {
        const Visit visit{cluster_, node, pod.priority, is_noticed};
        if (refusal(cluster_, id, node)) {
            return false;
        }
        if (!is_noticed) {
            return match_room(cluster_, interned, cluster_.node(node)).fits();
        }
        ranking.refresh(cluster_, scorer_, interned);
        return ranking.verdicts(cluster_, interned)[node].fits();
    };
    const auto is_possible = [&](NodeId node) {
        return cluster_.node(node).present() && (domain == nullptr || domain->has(cluster_, node)) &&
               ranking.spec_fits(node);
    };
    const auto evict = [&](const Victims& victims) {
        for (const Victim& victim : victims.pods) {
            const NodeId node = cluster_.pod(victim.pod).node;
            cluster_.set_leaving(victim.pod, true);
            evictions_[victim.pod] = {victim.pod, node, victim.cause, id};
            if (node != victims.node) {
                vacated_.push_back(node);
            }
        }
        cluster_.hold(id, victims.node);
        return true;
    };

    Reclaim reclaim{cluster_, id, over_};
    const auto may = [&](PodId victim) { return may_evict(id, victim, reclaim); };
    VictimSearch search{cluster_, id, chosen_, is_noticed, fits, may};
    if (pod.wish.valid() && is_possible(pod.wish)) {
        const auto same = search.on(pod.wish);
        if (same && same->toll == Toll{} && (!moves(*same) || can_move(id, *same))) {
            return evict(*same);
        }
    }
    // What was tried for a gang is taken back, and says nothing about others.
    const bool is_memorable = !pod.gang.valid();
    const Preempting like_it{pod.spec, cluster_.selection().kin(pod.labels), pod.priority, pod.quota};
    if (is_memorable && hopeless_.contains(like_it)) {
        return false;
    }
    const auto lowest = cluster_.lowest_priority();
    if (lowest && (*lowest < pod.priority || reclaim.is_possible())) {
        const auto look = [&](NodeId node) -> std::optional<Victims> {
            auto found = is_possible(node) ? search.on(node) : std::nullopt;
            return found && !moves(*found) ? found : std::nullopt;
        };
        NodeTolls in_domain;
        NodeTolls& tolls = domain == nullptr ? tolls_[like_it] : in_domain;
        const auto best = tolls.cheapest(cluster_, vacated_, look);
        const auto here = best ? search.on(best->node, true) : std::nullopt;
        // Where there is room, and it is only quotas that are used up.
        const auto node =
            pod.quota.valid() ? ranking.best(cluster_, interned, domain, Gate{cluster_, id}) : std::nullopt;
        const auto there = node ? search.elsewhere(*node, charged_for(id)) : std::nullopt;
        if (here || there) {
            return evict(here && (!there || here->toll <= there->toll) ? *here : *there);
        }
    }
    if (is_memorable && cluster_.movable_count() > 0) {
        const auto may_move = [&](PodId victim) {
            const Pod& there = cluster_.pod(victim);
            return there.movable && !there.gang.valid() ? std::optional{Cause::repack} : std::nullopt;
        };
        VictimSearch movers{cluster_, id, chosen_, is_noticed, fits, may_move};
        if (const auto found = find_moves(id, movers, is_possible)) {
            return evict(*found);
        }
    }
    if (is_memorable) {
        hopeless_.insert(like_it);
    }
    return false;
}

// Whose charges may be in the way: who is over what his quota is guaranteed, and who is less important in the
// Pod's own; the least important first.
std::vector<PodId> Scheduler::charged_for(PodId pod_id) {
    std::vector<PodId> pods;
    const Pod& ours = cluster_.pod(pod_id);
    for (const std::string& name : cluster_.quotas().spec(ours.quota).namespaces) {
        std::ranges::copy_if(cluster_.pods_in(name), std::back_inserter(pods), [&](PodId id) {
            return cluster_.pod(id).quota == ours.quota && cluster_.pod(id).priority < ours.priority;
        });
    }
    for (std::size_t number = 0; number < cluster_.quotas().bound(); ++number) {
        if (const QuotaId quota{number}; cluster_.quotas().exists(quota)) {
            std::shared_ptr<const PodSet>& over = over_[quota];
            over = over == nullptr ? cluster_.over_quota(quota) : over;
            pods.insert(pods.end(), over->begin(), over->end());
        }
    }
    std::ranges::sort(pods, {}, [&](PodId id) {
        const Pod& pod = cluster_.pod(id);
        return std::tuple{pod.priority, -pod.arrival, cluster_.uid(id)};
    });
    pods.erase(std::ranges::unique(pods).begin(), pods.end());
    return pods;
}

bool Scheduler::moves(const Victims& victims) {
    return std::ranges::any_of(victims.pods,
                               [](const Victim& victim) { return victim.cause == Cause::repack; });
}

// The fewest Pods that make room when they run elsewhere, where there is room for them.
std::optional<Victims> Scheduler::find_moves(PodId id, VictimSearch& search,
                                             const std::function<bool(NodeId)>& is_possible) {
    constexpr std::size_t most_tried = 32;
    std::vector<Victims> plans;
    for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
        const NodeId node{number};
        if (auto found = is_possible(node) ? search.on(node) : std::nullopt) {
            plans.push_back(std::move(*found));
        }
    }
    std::ranges::stable_sort(plans, {},
                             [](const Victims& plan) { return std::pair{plan.toll.pods, plan.toll}; });
    for (std::size_t i = 0; i < std::min(plans.size(), most_tried); ++i) {
        const auto fewest = search.on(plans[i].node, true);
        if (can_move(id, *fewest)) {
            return fewest;
        }
    }
    return std::nullopt;
}

// Whether all who are to move have a place once the Pod has that which they leave.
bool Scheduler::can_move(PodId id, const Victims& victims) {
    const Attempt attempt{cluster_};
    std::vector<PodId> movers;
    for (const Victim& victim : victims.pods) {
        if (!cluster_.pod(victim.pod).terminating) {
            cluster_.displace(victim.pod);
            movers.push_back(victim.pod);
        }
    }
    cluster_.hold(id, victims.node);
    return std::ranges::all_of(movers, [&](PodId mover) { return place_in(mover, nullptr).has_value(); });
}

Reason Scheduler::making_room(PodId id, std::int64_t pods) const {
    const std::string node{cluster_.name(cluster_.pod(id).nominated)};
    if (pods == 0) {
        const bool has_gang = cluster_.pod(id).gang.valid();
        return {ReasonCode::making_room,
                has_gang
                    ? "The Pod has its place on node " + node + ", and waits for others of its pod group."
                    : "Room was made for it on node " + node + ", whose agent has yet to see that.",
                {}};
    }
    return {ReasonCode::making_room,
            "Room is made for it on node " + node + ": " + std::to_string(pods) +
                (pods == 1 ? " Pod has" : " Pods have") + " to go first.",
            {}};
}

}  // namespace nos
