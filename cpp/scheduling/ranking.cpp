#include "ranking.h"

#include <algorithm>
#include <utility>

namespace nos {

void Ranking::refresh(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec) {
    const std::size_t bound = cluster.node_bound();
    verdicts_.resize(bound);
    versions_.resize(bound);
    spec_verdicts_.resize(bound);
    spec_versions_.resize(bound);
    costs_.resize(bound, infeasible);

    const bool news_near_by = !neighbours_ && Neighbours::matter(cluster, spec, kin_);
    if (news_near_by) {
        neighbours_.emplace(cluster, spec, kin_);
    }
    const bool choices_moved = !spec_->claims.empty() && choices_ != cluster.choices_version();
    if (choices_moved) {
        choices_ = cluster.choices_version();
        std::ranges::fill(spec_versions_.values(), 0);
    }
    const auto changes =
        fresh_ || news_near_by || choices_moved ? std::nullopt : cluster.changes_since(cursor_);
    const std::uint64_t epoch = scorer.epoch();
    if (changes) {
        for (const NodeId node : *changes) {
            if (versions_[node] != cluster.node(node).version) {
                evaluate(cluster, scorer, spec, node);
            }
        }
    }
    if (!changes || epoch != epoch_) {
        for (std::size_t number = 0; number < bound; ++number) {
            evaluate(cluster, scorer, spec, NodeId{number});
        }
    }
    fresh_ = false;
    epoch_ = epoch;
    cursor_ = cluster.change_count();
}

void Ranking::evaluate(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec, NodeId id) {
    const Node& node = cluster.node(id);
    Verdict verdict;
    if (spec_versions_[id] != node.spec_version) {
        spec_versions_[id] = node.spec_version;
        spec_verdicts_[id] = {};
        if (node.present()) {
            spec_verdicts_[id] = match_spec(cluster, *spec_, id);
        }
        preferences_.look_at(cluster, id);
    }
    if (!node.present()) {
        verdict.add(Verdict::absent);
    } else if (node.going) {
        verdict.add(Verdict::unschedulable);
    } else {
        verdict = spec_verdicts_[id];
        verdict.add(match_room(cluster, spec, node));
    }
    if (neighbours_) {
        neighbours_->look_at(cluster, id);
    }
    versions_[id] = node.version;
    verdicts_[id] = verdict;
    fitting_ -= costs_[id] != infeasible ? 1U : 0U;
    costs_[id] = verdict.fits() ? scorer.cost(*spec_, node) : infeasible;
    fitting_ += verdict.fits() ? 1U : 0U;
}

void Ranking::exclude(NodeId id, std::int32_t priority) {
    excluded_for_ = excluded_.empty() ? priority : std::min(excluded_for_, priority);
    excluded_.insert(id);
    fitting_ -= costs_[id] != infeasible ? 1U : 0U;
    costs_[id] = infeasible;
}

void Ranking::readmit(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec,
                      std::int32_t priority) {
    if (neighbours_ || priority > excluded_for_) {
        for (const NodeId id : std::exchange(excluded_, {})) {
            evaluate(cluster, scorer, spec, id);
        }
    }
}

// What each node costs, with the Pods near it and the Pod's quota taken into account.
const std::vector<std::int64_t>& Ranking::costs_here(const Cluster& cluster, const Gate& gate) {
    if (!neighbours_ && !gate.bars_some()) {
        return costs_.values();
    }
    costs_near_ = costs_.values();
    if (neighbours_) {
        near_.assign(verdicts_.size(), Verdict{});
        neighbours_->judge(cluster, near_);
        for (std::size_t number = 0; number < near_.size(); ++number) {
            if (!near_[number].fits()) {
                costs_near_[number] = infeasible;
            }
        }
    }
    if (gate.bars_some()) {
        for (std::size_t number = 0; number < costs_near_.size(); ++number) {
            if (gate.bars(NodeId{number})) {
                costs_near_[number] = infeasible;
            }
        }
    }
    return costs_near_;
}

std::optional<NodeId> Ranking::best(const Cluster& cluster, const InternedSpec& spec, const Domain* domain,
                                    const Gate& gate) {
    if (fitting_ == 0 || cluster.claim_taken(spec)) {
        return std::nullopt;
    }
    const std::vector<std::int64_t>& costs = costs_here(cluster, gate);
    if (domain != nullptr) {
        return best_in(cluster, costs, *domain);
    }
    // Two passes over plain integers: the compiler turns the first into vector instructions.
    std::int64_t lowest = infeasible;
    for (const std::int64_t cost : costs) {
        lowest = std::min(lowest, cost);
    }
    if (lowest == infeasible) {
        return std::nullopt;
    }
    const Neighbours* const neighbours = neighbours_ ? &*neighbours_ : nullptr;
    if (preferences_.none(neighbours)) {
        return NodeId{static_cast<std::size_t>(std::ranges::find(costs, lowest) - costs.begin())};
    }
    feasible_.clear();
    candidates_.clear();
    for (std::size_t number = 0; number < costs.size(); ++number) {
        if (costs[number] != infeasible) {
            feasible_.emplace_back(number);
            if (costs[number] == lowest) {
                candidates_.emplace_back(number);
            }
        }
    }
    return preferences_.choose(cluster, neighbours, feasible_, candidates_);
}

// As if there were no other nodes.
std::optional<NodeId> Ranking::best_in(const Cluster& cluster, const std::vector<std::int64_t>& costs,
                                       const Domain& domain) {
    feasible_.clear();
    candidates_.clear();
    std::int64_t lowest = infeasible;
    for (const NodeId id : domain.nodes) {
        const std::int64_t cost = costs[id.value()];
        if (cost == infeasible) {
            continue;
        }
        feasible_.push_back(id);
        if (cost < lowest) {
            lowest = cost;
            candidates_.clear();
        }
        if (cost == lowest) {
            candidates_.push_back(id);
        }
    }
    const Neighbours* const neighbours = neighbours_ ? &*neighbours_ : nullptr;
    if (candidates_.empty() || preferences_.none(neighbours)) {
        return candidates_.empty() ? std::nullopt : std::optional{candidates_.front()};
    }
    return preferences_.choose(cluster, neighbours, feasible_, candidates_);
}

Table<NodeId, Verdict> Ranking::verdicts(const Cluster& cluster, const InternedSpec& spec) const {
    Table<NodeId, Verdict> verdicts = verdicts_;
    if (neighbours_) {
        neighbours_->judge(cluster, verdicts.values());
    }
    if (cluster.claim_taken(spec)) {
        for (Verdict& verdict : verdicts.values()) {
            verdict.add(Verdict::volume_in_use);
        }
    }
    return verdicts;
}

}  // namespace nos
