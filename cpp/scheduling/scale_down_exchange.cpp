#include "scale_down_exchange.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "domain.h"
#include "load.h"
#include "transaction.h"

namespace nos {

namespace {

// Candidates that go for one new node, at most.
constexpr std::size_t most_for_one = 3;

struct Offer {
    std::int64_t gain = 0;
    ScaleDownSearch::Set set;
    std::size_t group = 0;
};

Candidate as_one(const std::vector<Candidate>& candidates, const ScaleDownSearch::Set& set) {
    Candidate all;
    for (const std::size_t one : set) {
        const Candidate& part = candidates[one];
        all.nodes.insert(all.nodes.end(), part.nodes.begin(), part.nodes.end());
        all.limits.insert(all.limits.end(), part.limits.begin(), part.limits.end());
        all.movers.insert(all.movers.end(), part.movers.begin(), part.movers.end());
        all.price += part.price;
    }
    return all;
}

// What is free of all nodes together.
Load free_of(const Cluster& cluster) {
    Load free;
    Domain all;
    for (std::size_t number = 0; number < cluster.node_bound(); ++number) {
        const NodeId id{number};
        if (const Node& node = cluster.node(id); node.present()) {
            all.nodes.push_back(id);
            free.cpu += std::max<std::int64_t>(0, node.free(Basic::cpu));
            free.memory += std::max<std::int64_t>(0, node.free(Basic::memory));
        }
    }
    free.gpu = gpus_of(cluster, all).free;
    return free;
}

// Whether so much could be free with one node of the group more, as far as sums tell.
bool could_hold(const Load& free, const NodeSpec& node, const Load& wanted) {
    const Quantities& more = node.allocatable;
    return wanted.gpu <= free.gpu + more.gpus * whole_gpu &&
           wanted.cpu <= free.cpu + more.basic[static_cast<std::size_t>(Basic::cpu)] &&
           wanted.memory <= free.memory + more.basic[static_cast<std::size_t>(Basic::memory)];
}

// Each candidate, and those next to it in their order, for one node of each group that costs less.
std::vector<Offer> offers(const Cluster& cluster, const std::vector<Candidate>& candidates,
                          const Purchase& purchase, std::int64_t move_price) {
    std::vector<Offer> all;
    const Load free = free_of(cluster);
    for (std::size_t first = 0; first < candidates.size(); ++first) {
        ScaleDownSearch::Set set;
        std::int64_t worth = 0;
        Load wanted;
        while (set.size() < most_for_one && first + set.size() < candidates.size()) {
            set.push_back(first + set.size());
            worth += candidates[set.back()].worth(move_price);
            for (const PodId id : candidates[set.back()].movers) {
                wanted.add(load_of(cluster, id));
            }
            for (std::size_t group = 0; group < purchase.groups().size(); ++group) {
                const std::int64_t gain = worth - purchase.groups()[group].price;
                if (gain > 0 && purchase.left(group) > 0 &&
                    could_hold(free, *purchase.groups()[group].node, wanted)) {
                    all.push_back({gain, set, group});
                }
            }
        }
    }
    std::ranges::stable_sort(all, std::greater{}, &Offer::gain);
    return all;
}

}  // namespace

std::vector<Exchange> scale_down_exchanges(Cluster& cluster, Scheduler& scheduler,
                                           const ScaleDownRequest& request, Purchase& purchase,
                                           std::int64_t& steps) {
    std::vector<Candidate> candidates = scale_down_candidates(cluster, request).found;
    sort_by_move(cluster, candidates);
    const std::vector<Offer> all = offers(cluster, candidates, purchase, request.move_price);
    std::map<std::size_t, NodeId> nodes;  // by group, until it is taken
    for (const Offer& offer : all) {
        if (!nodes.contains(offer.group)) {
            nodes[offer.group] = purchase.open(cluster, offer.group);
            cluster.set_going(nodes[offer.group], true);
        }
    }
    std::vector<Exchange> found;
    {
        const Transaction transaction{cluster};
        ScaleDownRequest rest = request;
        rest.most_steps = steps;
        ScaleDownSearch search{cluster, scheduler, rest, candidates};
        std::set<NodeId> settled;  // that go, or to which somebody went
        for (const Offer& offer : all) {
            Candidate gone = as_one(candidates, offer.set);
            const auto node = nodes.find(offer.group);
            if (node == nodes.end() || search.steps_left() <= 0 ||
                std::ranges::any_of(gone.nodes, [&](NodeId id) { return settled.contains(id); })) {
                continue;
            }
            Attempt attempt{cluster};
            cluster.set_going(node->second, false);
            constexpr std::int64_t second_thoughts = 8;
            if (!search.empty(offer.set, static_cast<std::int64_t>(gone.movers.size()) + second_thoughts)) {
                continue;
            }
            attempt.keep();
            settled.insert(gone.nodes.begin(), gone.nodes.end());
            Exchange exchange{std::move(gone), {}, {offer.group, node->second}};
            for (const std::size_t one : offer.set) {
                exchange.places.merge(*search.places(one));
            }
            for (const auto& [id, place] : exchange.places) {
                settled.insert(place.node);
            }
            nodes.erase(node);
            found.push_back(std::move(exchange));
        }
        steps = search.steps_left();
    }
    for (const auto& [group, node] : nodes) {
        purchase.close(cluster, node);
    }
    for (const Exchange& exchange : found) {
        cluster.set_going(exchange.node.node, false);
        for (const NodeId node : exchange.gone.nodes) {
            cluster.set_going(node, true);
        }
    }
    return found;
}

}  // namespace nos
