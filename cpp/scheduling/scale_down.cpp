#include "scale_down.h"

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>

#include "place_gang.h"
#include "scale_down_candidates.h"
#include "scale_down_exchange.h"
#include "scale_down_search.h"
#include "scheduler.h"
#include "transaction.h"

namespace nos {

namespace {

void require_valid(const ScaleDownRequest& request) {
    std::set<std::string_view> names;
    for (const Removable& removable : request.nodes) {
        if (!names.insert(removable.node).second) {
            throw std::invalid_argument("node " + removable.node + " is named twice");
        }
        if (!removable.limit.empty() && !request.spare.contains(removable.limit)) {
            throw std::invalid_argument("node " + removable.node + " has the limit " + removable.limit +
                                        ", of which spare says nothing");
        }
    }
}

// Takes the steps that were found, each as it will be taken: the Pods leave, and each is placed as any Pod
// is, on the node where it is to go, if it still may go there.
class Walk {
  public:
    Walk(Cluster& cluster, Scheduler& scheduler) : cluster_{cluster}, scheduler_{scheduler} {}

    std::optional<Removal> take(const Candidate& candidate, const std::map<PodId, Home>& places) {
        Transaction transaction{cluster_};
        std::map<GangId, std::vector<PodId>> gangs;
        std::vector<PodId> alone;  // some of whom may have to wait for others
        for (const auto& [id, place] : places) {
            cluster_.displace(id);
            cluster_.hold(id, place.node);  // it is to wish for that node
            cluster_.release(id);
        }
        for (const auto& [id, place] : places) {
            if (const GangId gang = cluster_.pod(id).gang; gang.valid()) {
                gangs[gang].push_back(id);
            } else {
                alone.push_back(id);
            }
        }
        while (std::erase_if(alone, [&](PodId id) { return place(id, places.at(id)); }) > 0) {
        }
        if (!alone.empty()) {
            return std::nullopt;
        }
        for (const auto& [gang, members] : gangs) {
            if (!place_all(cluster_, scheduler_, gang, members) || !settle(members, places)) {
                return std::nullopt;
            }
        }
        transaction.commit();
        Removal removal;
        removal.saved = candidate.price;  // less what is ordered
        for (const PodId id : candidate.movers) {
            removal.moves.emplace_back(cluster_.uid(id), cluster_.name(cluster_.pod(id).node));
        }
        for (const NodeId node : candidate.nodes) {
            removal.nodes.emplace_back(cluster_.name(node));
        }
        for (const std::string& name : removal.nodes) {
            leave(name);
        }
        return removal;
    }

  private:
    // False when it may not go there now: it waits on.
    bool place(PodId id, const Home& place) {
        const auto bind = scheduler_.place_in(id, nullptr);
        if (!bind) {
            return false;
        }
        if (bind->node != place.node) {
            cluster_.forget(id);
            return false;
        }
        return settle({id}, {{id, place}});
    }

    // Takes the very GPUs that were found for them, beside which those of others were; false when they are on
    // other nodes.
    bool settle(const std::vector<PodId>& pods, const std::map<PodId, Home>& places) {
        if (std::ranges::any_of(pods,
                                [&](PodId id) { return cluster_.pod(id).node != places.at(id).node; })) {
            return false;
        }
        std::map<PodId, std::vector<std::string>> volumes;
        for (const PodId id : pods) {
            volumes[id] = cluster_.pod(id).volumes;
            cluster_.forget(id);
        }
        for (const PodId id : pods) {
            const Home& place = places.at(id);
            cluster_.assume(id, place.node, place.gpus, place.instances, std::move(volumes[id]));
        }
        return true;
    }

    // The node goes, and whoever is still there.
    void leave(const std::string& name) {
        const NodeId node = *cluster_.find_node(name);
        std::vector<std::string> uids;
        for (const PodId id : cluster_.node(node).pods) {
            uids.emplace_back(cluster_.uid(id));
        }
        for (const std::string& uid : uids) {
            cluster_.remove_pod(uid);
        }
        cluster_.remove_node(name);
    }

    Cluster& cluster_;
    Scheduler& scheduler_;
};

// Who goes, and why others stay.
struct Choice {
    std::vector<std::pair<Candidate, std::map<PodId, Home>>> emptied;  // in the order of the candidates
    std::map<NodeId, std::string> stays;
    std::int64_t worth = 0;
};

Choice choose(Cluster& cluster, Scheduler& scheduler, const ScaleDownRequest& request,
              const std::vector<Candidate>& candidates) {
    const Transaction transaction{cluster};
    ScaleDownSearch search{cluster, scheduler, request, candidates};
    search.run();
    Choice choice;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        if (const auto places = search.places(i)) {
            choice.emptied.emplace_back(candidates[i], *places);
            choice.worth += candidates[i].worth(request.move_price);
        } else {
            for (const NodeId node : candidates[i].nodes) {
                choice.stays[node] = search.why_not(i);
            }
        }
    }
    return choice;
}

// In either order, where that makes a difference, each for half of the steps; the better one counts.
Choice choose_best(Cluster& cluster, Scheduler& scheduler, ScaleDownRequest request,
                   std::vector<Candidate>& candidates) {
    sort_by_move(cluster, candidates);
    if (candidates.size() <= ScaleDownSearch::most_at_once) {
        return choose(cluster, scheduler, request, candidates);
    }
    request.most_steps /= 2;
    Choice best = choose(cluster, scheduler, request, candidates);
    sort_by_size(cluster, request.move_price, candidates);
    Choice other = choose(cluster, scheduler, request, candidates);
    return other.worth > best.worth ? std::move(other) : std::move(best);
}

// What is to spare after that step.
void spend(const ScaleDownRequest& request, const Removal& step, ScaleDownRequest& rest) {
    for (const Removable& removable : request.nodes) {
        if (!removable.limit.empty() && std::ranges::find(step.nodes, removable.node) != step.nodes.end()) {
            --rest.spare[removable.limit];
        }
    }
}

// Of what is left some go for new nodes; again, as long as that finds more.
void exchange(Cluster& cluster, Scheduler& scheduler, const ScaleDownRequest& request, ScaleDown& result) {
    constexpr int most_rounds = 8;
    Purchase purchase{request.groups, request.limits};
    ScaleDownRequest rest = request;
    for (const Removal& step : result.steps) {
        spend(request, step, rest);
    }
    std::int64_t steps = request.most_steps / 2;
    bool goes_on = !request.groups.empty();
    for (int round = 0; round < most_rounds && goes_on; ++round) {
        goes_on = false;
        for (const Exchange& one : scale_down_exchanges(cluster, scheduler, rest, purchase, steps)) {
            auto removal = Walk{cluster, scheduler}.take(one.gone, one.places);
            if (!removal) {
                for (const NodeId node : one.gone.nodes) {
                    cluster.set_going(node, false);
                }
                purchase.close(cluster, one.node.node);
                continue;
            }
            goes_on = true;
            removal->ordered.push_back(one.node);
            removal->saved -= request.groups[one.node.group].price;
            result.saved += removal->saved;
            spend(request, *removal, rest);
            result.steps.push_back(std::move(*removal));
        }
    }
}

}  // namespace

ScaleDown scale_down(Cluster& cluster, const Policy& policy, const ScaleDownRequest& request) {
    require_valid(request);
    Scheduler scheduler{cluster, policy};
    scheduler.schedule();
    Candidates candidates = scale_down_candidates(cluster, request);
    Choice choice = choose_best(cluster, scheduler, request, candidates.found);
    choice.stays.merge(candidates.stays);
    std::map<std::string, std::string> kept;
    for (const Removable& removable : request.nodes) {
        const auto id = cluster.find_node(removable.node);
        if (!id || !cluster.node(*id).present()) {
            kept[removable.node] = "there is no such node";
        } else if (const auto stays = choice.stays.find(*id); stays != choice.stays.end()) {
            kept[removable.node] = stays->second;
        }
    }
    std::vector<Candidate> order;
    std::map<NodeId, std::map<PodId, Home>> places;  // by the first node
    for (auto& [candidate, homes] : choice.emptied) {
        for (const NodeId node : candidate.nodes) {
            cluster.set_going(node, true);
        }
        places[candidate.nodes.front()] = std::move(homes);
        order.push_back(std::move(candidate));
    }
    sort_by_move(cluster, order);
    ScaleDown result;
    Walk walk{cluster, scheduler};
    for (const Candidate& candidate : order) {
        if (auto removal = walk.take(candidate, places.at(candidate.nodes.front()))) {
            result.saved += removal->saved;
            result.steps.push_back(std::move(*removal));
            continue;
        }
        for (const NodeId node : candidate.nodes) {
            cluster.set_going(node, false);
            kept[std::string{cluster.name(node)}] = "its Pods have no place elsewhere once others have moved";
        }
    }
    exchange(cluster, scheduler, request, result);
    for (const Removal& step : result.steps) {
        for (const std::string& node : step.nodes) {
            kept.erase(node);
        }
    }
    for (const Removable& removable : request.nodes) {
        if (const auto found = kept.find(removable.node); found != kept.end()) {
            result.kept.emplace_back(*found);
        }
    }
    return result;
}

}  // namespace nos
