#include "scale_down_candidates.h"

#include <algorithm>
#include <set>
#include <utility>

namespace nos {

namespace {

// Nodes that go at once, at most.
constexpr std::size_t most_together = 3;

class Look {
  public:
    Look(const Cluster& cluster, const ScaleDownRequest& request) : cluster_{cluster}, request_{request} {}

    Candidates all() {
        for (const Removable& removable : request_.nodes) {
            if (const auto id = cluster_.find_node(removable.node); id && cluster_.node(*id).present()) {
                removable_[*id] = &removable;
            }
        }
        for (const auto& [node, removable] : removable_) {
            if (auto why = why_not(node)) {
                result_.stays[node] = std::move(*why);
            }
        }
        std::set<NodeId> seen;
        for (const auto& [node, removable] : removable_) {
            if (!result_.stays.contains(node) && !seen.contains(node)) {
                const std::vector<NodeId> nodes = together(node);
                seen.insert(nodes.begin(), nodes.end());
                add(nodes);
            }
        }
        return std::move(result_);
    }

  private:
    [[nodiscard]] std::string called(PodId id) const { return "Pod " + std::string{cluster_.uid(id)}; }

    [[nodiscard]] bool is_mover(PodId id) const {
        return !cluster_.pod(id).terminating && !request_.ignored.contains(id);
    }

    // By name.
    const std::vector<const std::pair<const std::string, Budget>*>& budgets(PodId id) {
        const auto [found, is_new] = budgets_.try_emplace(cluster_.selection().kin(cluster_.pod(id).labels));
        if (is_new) {
            for (const auto& budget : cluster_.budgets()) {
                if (cluster_.selects(budget.second, id)) {
                    found->second.push_back(&budget);
                }
            }
        }
        return found->second;
    }

    std::optional<std::string> why_not(PodId id) {
        const Pod& pod = cluster_.pod(id);
        if (!is_mover(id)) {
            return std::nullopt;
        }
        if (pod.phase != Phase::bound) {
            return called(id) + " has just been placed there";
        }
        if (!request_.movable.contains(id)) {
            return called(id) + " may not be moved";
        }
        if (pod.leaving) {
            return called(id) + " makes room for another one";
        }
        if (pod.is_protected) {
            return "the eviction of " + called(id) + " was refused";
        }
        const auto& covering = budgets(id);
        if (covering.size() > 1) {
            return called(id) + " has two disruption budgets, " + covering[0]->first + " and " +
                   covering[1]->first + ": it cannot be evicted";
        }
        if (!covering.empty() && covering.front()->second.allowed <= 0) {
            return "disruption budget " + covering.front()->first + " keeps " + called(id);
        }
        return std::nullopt;
    }

    std::optional<std::string> why_not(NodeId id) {
        const Node& node = cluster_.node(id);
        if (!node.nominated.empty()) {
            return "there is to be room for " + called(node.nominated.front());
        }
        std::vector<PodId> pods{node.pods.begin(), node.pods.end()};
        std::ranges::sort(pods, {}, [&](PodId pod) { return cluster_.uid(pod); });
        for (const PodId pod : pods) {
            if (auto why = why_not(pod)) {
                return why;
            }
        }
        return std::nullopt;
    }

    // Where its members are, and how many on each.
    [[nodiscard]] std::map<NodeId, std::int64_t> nodes_of(GangId gang) const {
        std::map<NodeId, std::int64_t> nodes;
        for (const PodId member : cluster_.gang(gang).members) {
            if (is_placed(cluster_.pod(member))) {
                ++nodes[cluster_.pod(member).node];
            }
        }
        return nodes;
    }

    // With those nodes from which its gangs have to move, too. A gang that can do without its Pods on a node
    // does not.
    [[nodiscard]] std::vector<NodeId> together(NodeId first) const {
        std::vector<NodeId> nodes{first};
        std::set<GangId> seen;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            for (const PodId id : cluster_.node(nodes[i]).pods) {
                const GangId gang = cluster_.pod(id).gang;
                if (!gang.valid() || !is_mover(id) || !seen.insert(gang).second) {
                    continue;
                }
                const auto of_gang = nodes_of(gang);
                const auto is_split = [&](const auto& there) {
                    return there.second > spare_members(cluster_, gang);
                };
                if (std::ranges::none_of(of_gang, is_split)) {
                    continue;
                }
                for (const auto& [node, members] : of_gang) {
                    if (std::ranges::find(nodes, node) == nodes.end()) {
                        nodes.push_back(node);
                    }
                }
            }
        }
        std::ranges::sort(nodes);
        return nodes;
    }

    void add(const std::vector<NodeId>& nodes) {
        const auto stays = std::ranges::find_if(
            nodes, [&](NodeId node) { return !removable_.contains(node) || result_.stays.contains(node); });
        if (stays != nodes.end() || nodes.size() > most_together) {
            for (const NodeId node : nodes) {
                if (removable_.contains(node)) {
                    result_.stays.try_emplace(
                        node, stays != nodes.end()
                                  ? "a pod group there would have to leave node " +
                                        std::string{cluster_.name(*stays)} + ", too, which stays"
                                  : "its pod groups run on " + std::to_string(nodes.size()) + " nodes");
                }
            }
            return;
        }
        Candidate candidate{nodes, {}, 0, {}};
        for (const NodeId node : nodes) {
            const Removable& removable = *removable_[node];
            candidate.price += removable.price;
            if (!removable.limit.empty()) {
                candidate.limits.push_back(removable.limit);
            }
            for (const PodId pod : cluster_.node(node).pods) {
                if (is_mover(pod)) {
                    candidate.movers.push_back(pod);
                }
            }
        }
        if (!candidate.movers.empty() && candidate.worth(request_.move_price) <= 0) {
            for (const NodeId node : nodes) {
                result_.stays[node] = "moving " + std::to_string(candidate.movers.size()) +
                                      (candidate.movers.size() == 1 ? " Pod" : " Pods") +
                                      " costs as much as is saved";
            }
            return;
        }
        std::ranges::sort(candidate.movers, {}, [&](PodId pod) { return cluster_.uid(pod); });
        result_.found.push_back(std::move(candidate));
    }

    const Cluster& cluster_;
    const ScaleDownRequest& request_;
    std::map<NodeId, const Removable*> removable_;
    std::map<KinId, std::vector<const std::pair<const std::string, Budget>*>> budgets_;
    Candidates result_;
};

// Whether the one of two candidates has more than the other for what it takes; if neither, who has the lower
// name.
struct Key {
    std::int64_t gain = 0;
    std::int64_t cost = 0;  // 0: it comes before all who cost something
    std::string_view name;

    bool operator<(const Key& other) const {
        if ((cost == 0) != (other.cost == 0)) {
            return cost == 0;
        }
        const Wide of_this = Wide{gain} * std::max<std::int64_t>(other.cost, 1);
        const Wide of_other = Wide{other.gain} * std::max<std::int64_t>(cost, 1);
        if (of_this != of_other) {
            return of_this > of_other;
        }
        return cost != other.cost ? cost < other.cost : name < other.name;
    }
};

template <class KeyOf>
void sort(std::vector<Candidate>& candidates, const KeyOf& key_of) {
    std::vector<std::pair<Key, std::size_t>> order;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        order.emplace_back(key_of(candidates[i]), i);
    }
    std::ranges::sort(order, [](const auto& left, const auto& right) { return left.first < right.first; });
    std::vector<Candidate> sorted;
    for (const auto& [key, i] : order) {
        sorted.push_back(std::move(candidates[i]));
    }
    candidates = std::move(sorted);
}

}  // namespace

void sort_by_move(const Cluster& cluster, std::vector<Candidate>& candidates) {
    sort(candidates, [&](const Candidate& one) {
        return Key{one.price, static_cast<std::int64_t>(one.movers.size()), cluster.name(one.nodes.front())};
    });
}

// A share of the GPUs, and one of the CPUs.
void sort_by_size(const Cluster& cluster, std::int64_t move_price, std::vector<Candidate>& candidates) {
    constexpr std::int64_t whole = 1'000'000;
    constexpr auto cpu = static_cast<std::size_t>(Basic::cpu);
    std::int64_t gpus = 1;
    std::int64_t cpus = 1;
    for (std::size_t number = 0; number < cluster.node_bound(); ++number) {
        if (const Node& node = cluster.node(NodeId{number}); node.present()) {
            gpus += node.spec->allocatable.gpus;
            cpus += node.spec->allocatable.basic[cpu];
        }
    }
    sort(candidates, [&](const Candidate& one) {
        Key key{one.worth(move_price), 1, cluster.name(one.nodes.front())};
        for (const NodeId id : one.nodes) {
            const Quantities& allocatable = cluster.node(id).spec->allocatable;
            key.cost += allocatable.gpus * whole / gpus;
            key.cost += static_cast<std::int64_t>(Wide{allocatable.basic[cpu]} * whole / cpus);
        }
        return key;
    });
}

std::int64_t spare_members(const Cluster& cluster, GangId id) {
    const Gang& gang = cluster.gang(id);
    return gang.is_satisfied() ? gang.placed - gang.spec->min_members : 0;
}

Candidates scale_down_candidates(const Cluster& cluster, const ScaleDownRequest& request) {
    return Look{cluster, request}.all();
}

}  // namespace nos
