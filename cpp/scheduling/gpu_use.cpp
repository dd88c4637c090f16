#include "gpu_use.h"

#include <algorithm>
#include <functional>

#include "doors.h"

namespace nos {

namespace {

constexpr std::size_t most_classes = 64;     // those that came most
constexpr std::int64_t most_gpu_weight = 3;  // a class counts by its Pods and their GPUs, up to so many

std::vector<Demand::Count> classes_of(const Demand& demand) {
    std::vector<Demand::Count> classes;
    for (const Demand::Count& entry : demand.counts()) {
        if (entry.demand.gpu_milli() > 0 && entry.count > 0) {
            const std::int64_t weight = entry.count * std::min(most_gpu_weight, entry.demand.gpu_slots());
            classes.push_back({entry.demand, weight});
        }
    }
    std::ranges::stable_sort(classes, std::greater{}, &Demand::Count::count);
    classes.resize(std::min(classes.size(), most_classes));
    return classes;
}

// What Pods of the class could take of the node's GPUs if it had CPU and memory without end.
std::int64_t fits(const DemandClass& demand, const Node& node) {
    if (!demand.shared()) {
        return node.gpu_free_whole / demand.gpus * demand.gpus * whole_gpu;
    }
    const std::int64_t share = demand.gpu_share_milli;
    std::int64_t sum = 0;
    for (const std::uint16_t free : node.gpu_free) {
        sum += free / share * share;
    }
    return sum;
}

// What they could take of `gpu` with so much left of something that each needs so much of.
std::int64_t with(std::int64_t left, std::int64_t needed, const DemandClass& demand, std::int64_t gpu) {
    if (needed == 0) {
        return gpu;
    }
    const std::int64_t pods = std::min(std::max<std::int64_t>(0, left) / needed, gpu / demand.gpu_milli());
    return std::min(gpu, pods * demand.gpu_milli());
}

void add_stranded(GpuUse& use, const Node& node, const std::vector<Demand::Count>& classes) {
    std::int64_t total = 0;
    std::int64_t geometry = 0;
    std::int64_t cpu = 0;
    std::int64_t memory = 0;
    for (const auto& [demand, weight] : classes) {
        const std::int64_t fitting = fits(demand, node);
        const std::int64_t by_cpu = with(node.free(Basic::cpu), demand.cpu_milli, demand, fitting);
        const std::int64_t by_memory = with(node.free(Basic::memory), demand.memory_bytes, demand, fitting);
        total += weight;
        geometry += weight * (node.gpu_free_milli - fitting);
        (by_cpu <= by_memory ? cpu : memory) += weight * (fitting - std::min(by_cpu, by_memory));
    }
    if (total > 0) {
        use.stranded_by_geometry += geometry / total;
        use.stranded_by_cpu += cpu / total;
        use.stranded_by_memory += memory / total;
    }
}

GpuUse use_of_node(NodeId id, const Node& node, const std::vector<Demand::Count>& classes,
                   const Doors& doors) {
    GpuUse use{.node = id, .all = static_cast<std::int64_t>(node.gpu_free.size()) * whole_gpu};
    use.free = node.gpu_free_milli;
    add_stranded(use, node, classes);
    for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
        const Cut& cut = node.cuts[slot];
        if (cut.withheld) {
            use.withheld += whole_gpu;
        } else if (!cut.closed && !cut.claims.empty()) {
            const mig::States& model = *node.spec->gpus[slot].model;
            use.free += model.free_units(cut.state) * whole_gpu / model.model().units;
            use.stranded_by_geometry += doors.stranded_milli(model, cut.state);
        }
    }
    return use;
}

}  // namespace

std::vector<GpuUse> gpu_use(const Cluster& cluster) {
    const std::vector<Demand::Count> classes = classes_of(cluster.demand());
    Doors doors;
    doors.learn(cluster);
    std::vector<GpuUse> found;
    for (std::size_t number = 0; number < cluster.node_bound(); ++number) {
        const Node& node = cluster.node(NodeId{number});
        if (node.present() && !node.gpu_free.empty()) {
            found.push_back(use_of_node(NodeId{number}, node, classes, doors));
        }
    }
    return found;
}

}  // namespace nos
