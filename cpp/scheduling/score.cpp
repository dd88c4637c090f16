#include "score.h"

#include <algorithm>
#include <utility>

namespace nos {

namespace {

constexpr std::int64_t tie_range = 1LL << 27;  // above the free milli-GPU of any node

// The published best fit (the baseline of the FGD paper): the least CPU and GPU left over, each as a part of
// the largest node's, 128 CPUs and 8 GPUs, in steps of one hundredth.
std::int64_t best_fit(const PodSpec& pod, const Node& node) {
    const std::int64_t cpu_left =
        node.free(Basic::cpu) - pod.requests.basic[static_cast<std::size_t>(Basic::cpu)];
    const std::int64_t gpu_left = node.gpu_free_milli - pod.gpu_slots() * pod.gpu_slot_milli();
    constexpr std::int64_t most_cpu = 128'000;
    constexpr std::int64_t most_gpu = 8'000;
    return (50 * cpu_left + 50 * gpu_left * (most_cpu / most_gpu) + most_cpu - 1) / most_cpu;
}

}  // namespace

void Scorer::learn(const Cluster& cluster) {
    if (demand_version_ != cluster.demand_version()) {
        demand_version_ = cluster.demand_version();
        expected_fill_ = {};
        fgd_ = {};
        doors_ = {};
        ++epoch_;
    }
    const Demand& demand = cluster.demand();
    // The nos score also tells how fragmented a cluster is, whatever the policy.
    const bool worths_moved = expected_fill_.learn(demand);
    const bool moved = policy_.score == Score::fgd ? fgd_.learn(demand) : worths_moved;
    if (moved && (policy_.score == Score::nos || policy_.score == Score::fgd)) {
        ++epoch_;
    }
    if (!cluster.model_rooms().empty() && doors_.learn(cluster)) {
        ++epoch_;
    }
}

std::int64_t Scorer::cost(const PodSpec& pod, const Node& node) {
    if (!pod.profiles.empty() && !node.cuts.empty()) {
        return places(pod, node).value().cost;
    }
    switch (policy_.score) {
        case Score::nos:
            // Of equal losses, where the least GPU is free: one node is filled before the next.
            // And of those, where no GPU could be cut for others.
            return expected_fill_.loss(pod, node) * tie_range + node.gpu_free_milli +
                   (node.cuts.empty() ? 0 : tie_range / 2);
        case Score::fgd:
            return fgd_.cost(pod, node);
        case Score::best_fit:
            return best_fit(pod, node);
        case Score::first_fit:
            break;
    }
    return 0;
}

// Where the fewest doors close; then where least is disturbed; then the fullest GPU.
std::optional<Places> Scorer::places(const PodSpec& pod, const Node& node) const {
    const auto cost = [&](Held held, mig::StateId before, mig::StateId after) {
        const GpuSpec& gpu = node.spec->gpus[held.gpu];
        return (doors_.loss(*gpu.model, before, after) << 8U) + (disturbance(gpu, held.placement) << 5U) +
               gpu.model->free_units(after);
    };
    return find_places(pod, node, cost);
}

std::pair<Slots, Instances> Scorer::allocate(const PodSpec& pod, const Node& node) const {
    Places taken = places(pod, node).value();
    if (pod.gpu_share_milli > 0) {
        taken.gpus = {slot_for_share(pod, node)};
    }
    return {std::move(taken.gpus), std::move(taken.instances)};
}

std::uint16_t Scorer::slot_for_share(const PodSpec& pod, const Node& node) const {
    switch (policy_.score) {
        case Score::nos:
            return expected_fill_.slot_for_share(pod.gpu_share_milli, node);
        case Score::fgd:
            return fgd_.slot_for_share(pod, node);
        case Score::best_fit:
        case Score::first_fit:
            break;
    }
    std::uint16_t best = 0;
    std::int32_t least = whole_gpu + 1;
    for (std::size_t slot = 0; slot < node.gpu_free.size(); ++slot) {
        const std::int32_t free = node.gpu_free[slot];
        if (free >= pod.gpu_share_milli && free < least) {
            best = static_cast<std::uint16_t>(slot);
            least = policy_.score == Score::first_fit ? 0 : free;  // the first one that fits, or the fullest
        }
    }
    return best;
}

Fragmentation Scorer::fragmentation(const Node& node) {
    if (!node.present()) {
        return {};
    }
    Fragmentation sum{node.gpu_free_milli,
                      node.gpu_free_milli - expected_fill_.worth(node) / ExpectedFill::milli_units};
    for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
        const Cut& cut = node.cuts[slot];
        if (!cut.closed && !cut.claims.empty()) {
            const mig::States& model = *node.spec->gpus[slot].model;
            sum.free += model.free_units(cut.state) * whole_gpu / model.model().units;
            sum.stranded += doors_.stranded_milli(model, cut.state);
        }
    }
    return sum;
}

}  // namespace nos
