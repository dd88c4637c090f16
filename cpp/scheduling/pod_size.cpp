#include "pod_size.h"

#include <algorithm>
#include <functional>
#include <limits>

namespace nos {

namespace {

constexpr std::int64_t whole = 1'000'000;
constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

// Visits what is asked for beside what there is of it, resource by resource.
void each_resource(const PodSpec& pod, const NodeSpec& node,
                   const std::function<void(std::int64_t wanted, std::int64_t there)>& visit) {
    visit(1, node.allocatable.pods);
    for (std::size_t i = 0; i < basic_count; ++i) {
        visit(pod.requests.basic.at(i), node.allocatable.basic.at(i));
    }
    if (pod.gpu_share_milli > 0) {
        visit(1, node.allocatable.gpus * (whole_gpu / pod.gpu_share_milli));
    } else {
        visit(pod.requests.gpus, node.allocatable.gpus);
    }
    std::size_t index = 0;
    for (const auto& [name, amount] : pod.requests.extended) {
        if (amount == 0) {
            continue;
        }
        const auto request = std::ranges::find(pod.profiles, index++, &ProfileRequest::index);
        if (!node.gpus.empty() && request != pod.profiles.end()) {
            visit(amount, profile_capacity(*request, node));
            continue;
        }
        const auto there = std::ranges::find(node.allocatable.extended, name, &Amounts::value_type::first);
        visit(amount, there == node.allocatable.extended.end() ? 0 : there->second);
    }
}

std::int64_t milli_of(const ProfileRequest& request, std::span<const NodeGroup> groups) {
    for (const NodeGroup& group : groups) {
        for (const GpuSpec& gpu : group.node->gpus) {
            if (gpu.model == nullptr) {
                continue;
            }
            if (const auto profile = find_profile(*gpu.model, request)) {
                const mig::Model& model = gpu.model->model();
                return request.count * model.profiles[*profile].size * whole_gpu / model.units;
            }
        }
    }
    return 0;
}

}  // namespace

std::array<std::int64_t, 3> pod_size(const PodSpec& pod, std::span<const NodeGroup> groups) {
    std::int64_t gpu = pod.gpu_slots() * pod.gpu_slot_milli();
    for (const ProfileRequest& request : pod.profiles) {
        gpu += milli_of(request, groups);
    }
    return {gpu, pod.requests.basic[static_cast<std::size_t>(Basic::cpu)],
            pod.requests.basic[static_cast<std::size_t>(Basic::memory)]};
}

std::int64_t largest_part(const PodSpec& pod, const NodeSpec& node) {
    std::int64_t largest = 0;
    each_resource(pod, node, [&](std::int64_t wanted, std::int64_t there) {
        if (wanted > there) {
            largest = whole + 1;
        } else if (wanted > 0) {
            // As wide as it has to be: bytes by millionths are beyond 64 bits.
            const double part = static_cast<double>(wanted) / static_cast<double>(there);
            largest = std::max(largest, static_cast<std::int64_t>(part * static_cast<double>(whole)));
        }
    });
    return largest;
}

std::int64_t most_on(const PodSpec& pod, const NodeSpec& node) {
    std::int64_t most = never;
    each_resource(pod, node, [&](std::int64_t wanted, std::int64_t there) {
        most = wanted > 0 ? std::min(most, there / wanted) : most;
    });
    return most;
}

}  // namespace nos
