#include "scheduler.h"

#include <algorithm>

#include "order.h"
#include "transaction.h"

namespace nos {

namespace {

// Nodes ranked over all specs, at most: about 30 bytes each.
constexpr std::size_t most_ranked_nodes = 4'000'000;

}  // namespace

std::optional<Bind> Scheduler::place(PodId id) {
    scorer_.learn(cluster_);
    const SpecId spec_id = cluster_.pod(id).spec;
    const InternedSpec& interned = cluster_.spec(spec_id);
    if (!interned.spec->unsupported.empty()) {
        return std::nullopt;
    }
    Ranking& ranking = known_of(spec_id).ranking;
    ranking.refresh(cluster_, scorer_, interned);
    const auto node = ranking.best();
    if (!node) {
        return std::nullopt;
    }
    auto [gpus, instances] = scorer_.allocate(*interned.spec, cluster_.node(*node));
    cluster_.assume(id, *node, std::move(gpus), std::move(instances));
    const Pod& pod = cluster_.pod(id);
    return Bind{id, *node, pod.gpus, pod.instances};
}

Outcome Scheduler::schedule() {
    Outcome outcome;
    Transaction transaction{cluster_};
    std::vector<PodId> left;
    for (const PodId id : order(cluster_)) {
        if (auto bind = place(id)) {
            outcome.binds.push_back(std::move(*bind));
        } else {
            left.push_back(id);
        }
    }
    while (plan_again(outcome.binds, left)) {
    }
    for (const PodId id : left) {
        outcome.waiting.push_back({id, reason_for(cluster_.pod(id).spec)});
    }
    transaction.commit();
    return outcome;
}

// In the order of arrival small instances lie where large ones then do not fit. So the instances of this
// cycle are placed once more, the large ones first, and after them who was left over, in order. Kept only
// when everybody is placed again and somebody more: nobody loses his turn to a larger wish.
bool Scheduler::plan_again(std::vector<Bind>& binds, std::vector<PodId>& left) {
    std::vector<Bind> before;
    std::vector<Bind> after;
    for (const Bind& bind : binds) {
        (bind.instances.empty() ? after : before).push_back(bind);
    }
    const auto wants_gpu = [&](PodId id) {
        const PodSpec& spec = *cluster_.spec(cluster_.pod(id).spec).spec;
        return spec.unsupported.empty() && (!spec.profiles.empty() || spec.gpu_slots() > 0);
    };
    if (before.empty() || std::ranges::none_of(left, wants_gpu)) {
        return false;
    }
    std::vector<std::pair<std::int64_t, PodId>> order;
    for (const Bind& bind : before) {
        order.emplace_back(units(bind), bind.pod);
    }
    std::ranges::stable_sort(order, std::greater{}, &std::pair<std::int64_t, PodId>::first);
    for (const Bind& bind : before) {
        cluster_.forget(bind.pod);
    }
    const std::size_t unmoved = after.size();
    for (const auto& [size, id] : order) {
        if (auto bind = place(id)) {
            after.push_back(std::move(*bind));
        }
    }
    std::vector<PodId> still_left;
    if (after.size() == binds.size()) {
        for (const PodId id : left) {
            if (auto bind = wants_gpu(id) ? place(id) : std::nullopt) {
                after.push_back(std::move(*bind));
            } else {
                still_left.push_back(id);
            }
        }
    }
    if (after.size() <= binds.size()) {
        for (std::size_t i = unmoved; i < after.size(); ++i) {
            cluster_.forget(after[i].pod);
        }
        for (const Bind& bind : before) {
            cluster_.assume(bind.pod, bind.node, bind.gpus, bind.instances);
        }
        return false;
    }
    binds = std::move(after);
    left = std::move(still_left);
    return true;
}

std::int64_t Scheduler::units(const Bind& bind) const {
    std::int64_t sum = 0;
    for (const Held& held : bind.instances) {
        const GpuSpec& gpu = cluster_.node(bind.node).spec->gpus[held.gpu];
        sum += gpu.model->model().profiles[held.placement.profile].size;
    }
    return sum;
}

Scheduler::Known& Scheduler::known_of(SpecId spec) {
    if (spec.value() >= known_.size()) {
        known_.resize(cluster_.spec_bound());
    }
    Known& known = known_[spec];
    if (known.ranking.size() == 0) {
        drop_oldest_rankings();
    }
    known.last_used = ++uses_;
    return known;
}

std::shared_ptr<Reason> Scheduler::reason_for(SpecId spec) {
    const InternedSpec& interned = cluster_.spec(spec);
    Known& known = known_of(spec);
    const bool supported = interned.spec->unsupported.empty();
    if (supported) {
        known.ranking.refresh(cluster_, scorer_, interned);
    }
    if (known.reason == nullptr || known.reason_spec != interned.spec ||
        known.reason_cursor != known.ranking.cursor()) {
        known.reason = std::make_shared<Reason>(
            supported ? explain(cluster_, interned, known.ranking.verdicts()) : unsupported(*interned.spec));
        known.reason_spec = interned.spec;
        known.reason_cursor = known.ranking.cursor();
    }
    return known.reason;
}

std::vector<NodeId> Scheduler::feasible(const PodSpec& spec) const {
    std::vector<NodeId> nodes;
    if (!spec.unsupported.empty()) {
        return nodes;
    }
    const ExtendedRequests extended = cluster_.resolve(spec);
    for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
        if (match(cluster_, spec, extended, NodeId{number}).fits()) {
            nodes.emplace_back(number);
        }
    }
    return nodes;
}

Fragmentation Scheduler::fragmentation() {
    scorer_.learn(cluster_);
    Fragmentation sum;
    for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
        const Fragmentation of_node = scorer_.fragmentation(cluster_.node(NodeId{number}));
        sum.free += of_node.free;
        sum.stranded += of_node.stranded;
    }
    return sum;
}

void Scheduler::drop_oldest_rankings() {
    const std::size_t most = most_ranked_nodes / std::max<std::size_t>(1, cluster_.node_bound());
    std::vector<SpecId> ranked;
    for (std::size_t number = 0; number < known_.size(); ++number) {
        if (known_[SpecId{number}].ranking.size() > 0) {
            ranked.emplace_back(number);
        }
    }
    if (ranked.size() <= most) {
        return;
    }
    std::ranges::sort(ranked, {}, [&](SpecId id) { return known_[id].last_used; });
    for (std::size_t i = 0; i < ranked.size() - most / 2; ++i) {
        known_[ranked[i]] = {};
    }
}

}  // namespace nos
