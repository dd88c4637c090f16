#include "fgd.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace nos {

namespace {

constexpr std::int64_t weight_one = 1LL << 16;
constexpr std::int64_t typical_per_cent = 95;

}  // namespace

Fgd::Fgd() {
    // floor(100 sigmoid(-g)) >= 100 - i  <=>  g <= ln(i / (100 - i)), in GPUs.
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        const double odds = static_cast<double>(i) / static_cast<double>(steps_.size() - i);
        steps_.at(i) = i == 0 ? -(1LL << 60)
                              : static_cast<std::int64_t>(std::floor(std::log(odds) * 1000.0 * weight_one));
    }
}

bool Fgd::learn(const Demand& demand) {
    if (demand.arrivals() < next_look_ || demand.total() == 0) {
        return false;
    }
    next_look_ = demand.arrivals() + std::max<std::int64_t>(1, demand.total() / Demand::one_pod / 8);
    std::map<std::tuple<std::int64_t, std::int64_t, std::int32_t>, std::int64_t> classes;
    for (const auto& [demanded, count] : demand.counts()) {
        const std::int32_t milli = demanded.shared() ? demanded.gpu_share_milli : whole_gpu;
        classes[{demanded.cpu_milli, demanded.gpu_slots(), milli}] += count;
    }
    std::vector<Typical> typical;
    typical.reserve(classes.size());
    for (const auto& [key, count] : classes) {
        typical.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), count});
    }
    std::ranges::stable_sort(typical, std::greater{}, &Typical::weight);
    std::int64_t kept = 0;
    std::size_t size = 0;
    while (size < typical.size() && kept * 100 < demand.total() * typical_per_cent) {
        kept += typical[size++].weight;
    }
    typical.resize(size);
    for (Typical& entry : typical) {
        entry.weight = entry.weight * weight_one / kept;
    }
    const bool moved = typical != typical_;
    typical_ = std::move(typical);
    return moved;
}

std::int64_t Fgd::fragments(std::int64_t cpu_milli, std::span<const std::uint16_t> gpu_free) const {
    std::int64_t free_milli = 0;
    for (const std::uint16_t free : gpu_free) {
        free_milli += free;
    }
    std::int64_t sum = 0;
    for (const Typical& pod : typical_) {
        std::int64_t lost = free_milli;
        if (pod.gpus > 0 && pod.cpu_milli <= cpu_milli) {
            std::int64_t fitting = 0;
            std::int64_t too_small = 0;
            for (const std::uint16_t free : gpu_free) {
                fitting += free >= pod.milli ? 1 : 0;
                too_small += free < pod.milli ? free : 0;
            }
            lost = fitting >= pod.gpus ? too_small : free_milli;
        }
        sum += pod.weight * lost;
    }
    return sum;
}

std::int64_t Fgd::cost_at(const PodSpec& pod, const Node& node, std::uint16_t slot) const {
    Few<std::uint16_t, 8> after = node.gpu_free;
    if (pod.gpu_share_milli > 0) {
        after[slot] = static_cast<std::uint16_t>(after[slot] - pod.gpu_share_milli);
    }
    std::int64_t whole = pod.requests.gpus;
    for (std::uint16_t& free : after) {
        if (whole > 0 && free == whole_gpu) {
            free = 0;
            --whole;
        }
    }
    const std::int64_t cpu = node.free(Basic::cpu);
    const std::int64_t growth =
        fragments(cpu - pod.requests.basic[static_cast<std::size_t>(Basic::cpu)], after) -
        fragments(cpu, node.gpu_free);
    return std::ranges::lower_bound(steps_, growth) - steps_.begin();
}

std::int64_t Fgd::cost(const PodSpec& pod, const Node& node) const {
    return cost_at(pod, node, pod.gpu_share_milli > 0 ? slot_for_share(pod, node) : std::uint16_t{0});
}

std::uint16_t Fgd::slot_for_share(const PodSpec& pod, const Node& node) const {
    std::uint16_t best = 0;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (std::size_t slot = 0; slot < node.gpu_free.size(); ++slot) {
        if (node.gpu_free[slot] < pod.gpu_share_milli) {
            continue;
        }
        const std::int64_t cost = cost_at(pod, node, static_cast<std::uint16_t>(slot));
        if (cost < least) {
            least = cost;
            best = static_cast<std::uint16_t>(slot);
        }
    }
    return best;
}

}  // namespace nos
