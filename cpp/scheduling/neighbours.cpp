#include "neighbours.h"

#include <algorithm>
#include <limits>

namespace nos {

namespace {

using Role = Neighbours::Tally::Role;

constexpr std::string_view hostname = "kubernetes.io/hostname";
constexpr std::int32_t hard_affinity_weight = 1;  // kube-scheduler's default hardPodAffinityWeight

template <class Key, class Value>
void reach(Table<Key, Value>& table, Key key, const Value& value = {}) {
    if (key.value() >= table.size()) {
        table.resize(key.value() + std::size_t{1}, value);
    }
}

}  // namespace

bool Neighbours::matter(const Cluster& cluster, const InternedSpec& spec, KinId kin) {
    return !spec.terms.empty() || cluster.selection().is_near_by(kin);
}

Neighbours::Neighbours(const Cluster& cluster, const InternedSpec& spec, KinId kin)
    : spec_{spec.spec}, terms_{spec.terms}, kin_{kin} {
    std::size_t constraint = 0;
    for (const Term& term : terms_) {
        switch (term.role) {
            case Term::Role::affinity:
                is_first_ = is_first_ && cluster.selection().selects(term.selector, kin);
                tally_of(Role::affinity, term.topology);
                break;
            case Term::Role::anti_affinity:
                tally_of(Role::anti_affinity, term.topology);
                break;
            case Term::Role::preference:
                tally_of(Role::preference, term.topology);
                break;
            case Term::Role::spread:
                selects_itself_.push_back(cluster.selection().selects(term.selector, kin));
                add_spread(cluster, constraint++, term.topology);
                break;
        }
    }
}

// The one tally of a role and a topology key. Several terms share it: of anti-affinities any one bars a
// domain, preferences add up, and only Pods that match all affinity terms count.
std::uint32_t Neighbours::tally_of(Role role, TopologyId topology) {
    const auto known = std::ranges::find_if(
        tallies_, [&](const Tally& tally) { return tally.role == role && tally.topology == topology; });
    if (known != tallies_.end()) {
        return static_cast<std::uint32_t>(known - tallies_.begin());
    }
    Tally& tally = tallies_.emplace_back();
    tally.role = role;
    tally.topology = topology;
    return static_cast<std::uint32_t>(tallies_.size() - 1);
}

void Neighbours::add_spread(const Cluster& cluster, std::size_t index, TopologyId topology) {
    Tally& tally = tallies_.emplace_back();
    tally.role = Role::spread;
    tally.topology = topology;
    tally.constraint = static_cast<std::int32_t>(index);
    const Requirements& labels = spec_->spread[index].selector.labels;
    tally.only_visitors = labels && labels->empty();
    tally.by_node = !spec_->spread[index].required && cluster.topology(topology).key() == hostname;
}

const Neighbours::Effects& Neighbours::effects_of(const Cluster& cluster, KinId kin) {
    reach(of_kin_, kin);
    OfKin& known = of_kin_[kin];
    const Selection& selection = cluster.selection();
    if (known.serial == selection.serial(kin)) {
        return known.effects;
    }
    known = {selection.serial(kin), {}};
    const auto selects = [&](const Term& term) { return selection.selects(term.selector, kin); };
    const auto of_affinity = [](const Term& term) { return term.role == Term::Role::affinity; };
    const bool all =
        std::ranges::all_of(terms_, [&](const Term& term) { return !of_affinity(term) || selects(term); });
    std::uint32_t spread = 0;
    for (std::uint32_t number = 0; number < tallies_.size(); ++number) {
        if (tallies_[number].role == Role::spread) {
            spread = number;  // the first; the others follow in the order of their constraints
            break;
        }
    }
    for (const Term& term : terms_) {
        switch (term.role) {
            case Term::Role::affinity:
                break;
            case Term::Role::anti_affinity:
                if (selects(term)) {
                    known.effects.push_back({tally_of(Role::anti_affinity, term.topology), 1});
                }
                break;
            case Term::Role::preference:
                if (selects(term)) {
                    known.effects.push_back({tally_of(Role::preference, term.topology), term.weight});
                }
                break;
            case Term::Role::spread:
                if (selects(term)) {
                    known.effects.push_back({spread, 1});
                }
                ++spread;
                break;
        }
    }
    for (std::uint32_t number = 0; number < tallies_.size(); ++number) {
        if (all && tallies_[number].role == Role::affinity) {
            known.effects.push_back({number, 1});
        }
    }
    return known.effects;
}

// What the terms of a Pod that is there mean for ours.
const Neighbours::Effects& Neighbours::effects_of(const Cluster& cluster, SpecId id) {
    reach(of_spec_, id);
    const InternedSpec& interned = cluster.spec(id);
    if (of_spec_[id].version == interned.version) {
        return of_spec_[id].effects;
    }
    Effects effects;
    for (const Term& term : interned.terms) {
        if (term.role == Term::Role::spread || !cluster.selection().selects(term.selector, kin_)) {
            continue;
        }
        if (term.role == Term::Role::anti_affinity) {
            effects.push_back({tally_of(Role::their_anti_affinity, term.topology), 1});
        } else {
            effects.push_back({tally_of(Role::preference, term.topology),
                               term.role == Term::Role::affinity ? hard_affinity_weight : term.weight});
        }
    }
    of_spec_[id] = {interned.version, std::move(effects)};
    return of_spec_[id].effects;
}

// Whether a node counts in a spread: it has all topology keys, and the Pod may use it as far as the
// constraint minds that.
bool Neighbours::counts(const Cluster& cluster, const Tally& tally, NodeId id) const {
    const SpreadConstraint& its = constraint(tally);
    const NodeSpec& node = *cluster.node(id).spec;
    if (!spec_->spread_by_default) {
        for (const Tally& other : tallies_) {
            if (other.role == Role::spread && constraint(other).required == its.required &&
                !cluster.topology(other.topology).domain(id).valid()) {
                return false;
            }
        }
    }
    return (!its.honor_affinity || allows(*spec_, node, cluster.name(id))) &&
           (!its.honor_taints || untolerated_taint(*spec_, node) == nullptr);
}

void Neighbours::apply(const Effects& effects, const Pod& pod) {
    for (const Effect& effect : effects) {
        const Tally& tally = tallies_[effect.tally];
        const bool visits = pod.phase == Phase::nominated;
        if (tally.role != Role::spread || (!pod.terminating && (visits || !tally.only_visitors))) {
            scratch_[effect.tally] += effect.amount;
        }
    }
}

void Neighbours::look_at(const Cluster& cluster, NodeId id) {
    const Node& node = cluster.node(id);
    scratch_.assign(tallies_.size(), 0);
    if (node.present()) {
        for (const PodId pod_id : node.pods) {
            const Pod& pod = cluster.pod(pod_id);
            const Effects& theirs = effects_of(cluster, pod.spec);
            scratch_.resize(tallies_.size());
            apply(theirs, pod);
            apply(effects_of(cluster, cluster.selection().kin(pod.labels)), pod);
        }
    }
    for (std::size_t number = 0; number < tallies_.size(); ++number) {
        Tally& tally = tallies_[number];
        const bool is_spread = tally.role == Role::spread;
        const bool counted = node.present() && (!is_spread || tally.by_node || counts(cluster, tally, id));
        put(tally, id, cluster.topology(tally.topology).domain(id), counted, scratch_[number]);
    }
}

void Neighbours::put(Tally& tally, NodeId id, DomainId domain, bool counted, std::int32_t amount) {
    reach(tally.of_node, id);
    reach(tally.added_to, id);
    if (const DomainId before = tally.added_to[id]; before.valid()) {
        tally.counts[before] -= tally.of_node[id];
        tally.total -= tally.of_node[id];
        --tally.nodes[before];
    }
    tally.added_to[id] = counted ? domain : DomainId{};
    tally.of_node[id] = counted ? amount : 0;
    if (counted && domain.valid()) {
        reach(tally.counts, domain);
        reach(tally.nodes, domain);
        tally.counts[domain] += amount;
        tally.total += amount;
        ++tally.nodes[domain];
    }
}

void Neighbours::judge(const Cluster& cluster, std::vector<Verdict>& verdicts) const {
    judge_affinity(cluster, verdicts);
    for (const Tally& tally : tallies_) {
        const Topology& topology = cluster.topology(tally.topology);
        const bool own = tally.role == Role::anti_affinity;
        if (own || tally.role == Role::their_anti_affinity) {
            if (tally.total == 0) {
                continue;
            }
            for (std::size_t number = 0; number < verdicts.size(); ++number) {
                const DomainId domain = topology.domain(NodeId{number});
                if (domain.valid() && domain.value() < tally.counts.size() && tally.counts[domain] > 0) {
                    verdicts[number].add(own ? Verdict::pod_anti_affinity : Verdict::their_anti_affinity);
                }
            }
        } else if (tally.role == Role::spread && constraint(tally).required) {
            judge_spread(cluster, tally, verdicts);
        }
    }
}

// All its affinity terms hold where Pods that match every one of them are, or anywhere that has the keys
// when it would be the first of its kind.
void Neighbours::judge_affinity(const Cluster& cluster, std::vector<Verdict>& verdicts) const {
    std::int64_t total = 0;
    for (const Tally& tally : tallies_) {
        total += tally.role == Role::affinity ? tally.total : 0;
    }
    const bool first = is_first_ && total == 0;
    for (const Tally& tally : tallies_) {
        if (tally.role != Role::affinity) {
            continue;
        }
        const Topology& topology = cluster.topology(tally.topology);
        for (std::size_t number = 0; number < verdicts.size(); ++number) {
            const DomainId domain = topology.domain(NodeId{number});
            if (!domain.valid() ||
                (!first && (domain.value() >= tally.counts.size() || tally.counts[domain] <= 0))) {
                verdicts[number].add(Verdict::pod_affinity);
            }
        }
    }
}

void Neighbours::judge_spread(const Cluster& cluster, const Tally& tally,
                              std::vector<Verdict>& verdicts) const {
    const SpreadConstraint& its = constraint(tally);
    std::int64_t least = std::numeric_limits<std::int32_t>::max();
    std::int32_t domains = 0;
    for (std::size_t number = 0; number < tally.counts.size(); ++number) {
        if (tally.nodes[DomainId{number}] > 0) {
            ++domains;
            least = std::min(least, tally.counts[DomainId{number}]);
        }
    }
    if (domains < its.min_domains) {
        least = 0;
    }
    const std::int64_t itself = selects_itself_[static_cast<std::size_t>(tally.constraint)] ? 1 : 0;
    const Topology& topology = cluster.topology(tally.topology);
    for (std::size_t number = 0; number < verdicts.size(); ++number) {
        const DomainId domain = topology.domain(NodeId{number});
        if (!domain.valid()) {
            verdicts[number].add(Verdict::spread_label);
            continue;
        }
        const std::int64_t there = domain.value() < tally.counts.size() ? tally.counts[domain] : 0;
        if (there + itself - least > its.max_skew) {
            verdicts[number].add(Verdict::spread);
        }
    }
}

}  // namespace nos
