#include "ranking.h"

#include <algorithm>

namespace nos {

void Ranking::refresh(const Cluster& cluster, Scorer& scorer, const InternedSpec& spec) {
    const bool first = spec_ != spec.spec;
    if (first) {
        *this = Ranking{};
        spec_ = spec.spec;
        extended_ = spec.extended;
    }
    verdicts_.resize(cluster.node_bound());
    versions_.resize(cluster.node_bound());
    spec_verdicts_.resize(cluster.node_bound());
    spec_versions_.resize(cluster.node_bound());
    costs_.resize(cluster.node_bound(), infeasible);

    const auto changes = first ? std::nullopt : cluster.changes_since(cursor_);
    const std::uint64_t epoch = scorer.epoch();
    if (changes) {
        for (const NodeId node : *changes) {
            if (versions_[node] != cluster.node(node).version) {
                evaluate(cluster, scorer, node);
            }
        }
    }
    if (!changes || epoch != epoch_) {
        for (std::size_t number = 0; number < cluster.node_bound(); ++number) {
            evaluate(cluster, scorer, NodeId{number});
        }
    }
    epoch_ = epoch;
    cursor_ = cluster.change_count();
}

void Ranking::evaluate(const Cluster& cluster, Scorer& scorer, NodeId id) {
    const Node& node = cluster.node(id);
    Verdict verdict;
    if (!node.present()) {
        verdict.add(Verdict::absent);
    } else {
        if (spec_versions_[id] != node.spec_version) {
            spec_versions_[id] = node.spec_version;
            spec_verdicts_[id] = match_spec(*spec_, *node.spec, cluster.name(id));
        }
        verdict = spec_verdicts_[id];
        verdict.add(match_room(*spec_, extended_, node));
    }
    versions_[id] = node.version;
    verdicts_[id] = verdict;
    fitting_ -= costs_[id] != infeasible ? 1U : 0U;
    costs_[id] = verdict.fits() ? scorer.cost(*spec_, node) : infeasible;
    fitting_ += verdict.fits() ? 1U : 0U;
}

std::optional<NodeId> Ranking::best() const {
    if (fitting_ == 0) {
        return std::nullopt;
    }
    const auto& costs = costs_.values();
    // Two passes over plain integers: the compiler turns the first into vector instructions.
    std::int64_t lowest = infeasible;
    for (const std::int64_t cost : costs) {
        lowest = std::min(lowest, cost);
    }
    return NodeId{static_cast<std::size_t>(std::ranges::find(costs, lowest) - costs.begin())};
}

}  // namespace nos
