#include "filter.h"

#include <algorithm>

namespace nos {

namespace {

bool affinity_matches(const PodSpec& pod, const NodeSpec& node, std::string_view node_name) {
    const auto has_label = [&](const auto& wanted) {
        return find_label(node.labels, wanted.first) == std::string_view{wanted.second};
    };
    const auto term_matches = [&](const SelectorTerm& term) { return term.matches(node.labels, node_name); };
    return std::ranges::all_of(pod.node_selector, has_label) &&
           (!pod.affinity || std::ranges::any_of(*pod.affinity, term_matches));
}

std::int64_t free_of(const Node& node, ResourceId resource) {
    const auto found = std::ranges::lower_bound(node.extended, resource, {}, &ExtendedUse::resource);
    return found == node.extended.end() || found->resource != resource
               ? 0
               : found->allocatable - found->requested;
}

bool is_free(const Node& node, std::size_t slot) {
    if (node.gpu_free[slot] != whole_gpu) {
        return false;
    }
    if (node.cuts.empty() || !node.spec->gpus[slot].is_fixed()) {
        return true;
    }
    const GpuSpec& gpu = node.spec->gpus[slot];
    return gpu.ready && !gpu.mig && gpu.pod.empty();
}

bool gpus_fit(const PodSpec& pod, const Node& node) {
    if (pod.gpu_share_milli > 0) {
        const auto fits = [&](std::uint16_t free) { return free >= pod.gpu_share_milli; };
        return node.gpu_excess == 0 && std::ranges::any_of(node.gpu_free, fits);
    }
    return pod.requests.gpus == 0 || pod.requests.gpus <= free_gpus(node);
}

// Instances can be cut wherever geometry allows, whatever exists there now.
void match_profiles(const PodSpec& pod, const Node& node, Verdict& verdict) {
    std::int64_t wanted = 0;
    bool each_fits = true;
    for (const ProfileRequest& request : pod.profiles) {
        wanted += request.count;
        if (node.mig_excess > 0 || profile_room(request, *node.spec, node.cuts) < request.count) {
            verdict.add_extended(request.index);
            each_fits = false;
        }
    }
    // Whole GPUs are taken from those that nobody has cut, so a Pod of both needs the search too.
    if (!each_fits || (wanted <= 1 && pod.gpu_slots() == 0)) {
        return;
    }
    if (wanted > 0 && !place_profiles(pod, node, {}).has_value()) {
        verdict.add_extended(pod.profiles.front().index);
    }
}

}  // namespace

std::optional<Fit> place_profiles(const PodSpec& pod, const Node& node, const CostOf& cost_of) {
    // The whole GPUs that it takes besides are the last ones: a rule that allocation shares.
    std::vector<Cut> cuts = node.cuts;
    for (const std::uint16_t slot : whole_slots(pod, node)) {
        cuts[slot].closed = true;
    }
    static const CostOf no_cost = [](Held, mig::StateId, mig::StateId) { return std::int64_t{0}; };
    return fit_profiles(pod, *node.spec, cuts, cost_of ? cost_of : no_cost);
}

std::int64_t free_gpus(const Node& node) {
    std::int64_t free = node.gpu_free_whole;
    for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
        free -= node.gpu_free[slot] == whole_gpu && !is_free(node, slot) ? 1 : 0;
    }
    return free - node.gpu_excess;
}

Slots whole_slots(const PodSpec& pod, const Node& node) {
    const auto disturbs = [&](std::uint16_t slot) {
        if (node.cuts.empty()) {
            return 0;
        }
        // One that is handed out whole already, then one that will be, then one that only has to leave MIG
        // mode, then one with instances.
        const GpuSpec& gpu = node.spec->gpus[slot];
        const bool at_hand = !gpu.mig && gpu.ready && gpu.pod.empty();
        return (at_hand ? 0 : 1) + (gpu.mig ? 1 : 0) + (gpu.instances.empty() ? 0 : 1);
    };
    std::vector<std::uint16_t> free;
    for (std::uint16_t slot = 0; slot < node.gpu_free.size(); ++slot) {
        if (is_free(node, slot)) {
            free.push_back(slot);
        }
    }
    std::ranges::stable_sort(free, {}, disturbs);
    free.resize(
        std::min(free.size(), static_cast<std::size_t>(pod.gpu_share_milli > 0 ? 0 : pod.requests.gpus)));
    std::ranges::sort(free);
    return {free.begin(), free.end()};
}

const Taint* untolerated_taint(const PodSpec& pod, const NodeSpec& node) {
    const auto repels = [&](const Taint& taint) {
        return taint.effect != Effect::prefer_no_schedule && !tolerated(taint, pod.tolerations);
    };
    const auto found = std::ranges::find_if(node.taints, repels);
    return found == node.taints.end() ? nullptr : &*found;
}

Verdict match_spec(const PodSpec& pod, const NodeSpec& node, std::string_view node_name) {
    static const Taint unschedulable{"node.kubernetes.io/unschedulable", "", Effect::no_schedule};
    Verdict verdict;
    if (node.unschedulable && !tolerated(unschedulable, pod.tolerations)) {
        verdict.add(Verdict::unschedulable);
    }
    if (untolerated_taint(pod, node) != nullptr) {
        verdict.add(Verdict::taint);
    }
    if (!affinity_matches(pod, node, node_name)) {
        verdict.add(Verdict::affinity);
    }
    return verdict;
}

Verdict match_room(const PodSpec& pod, const ExtendedRequests& extended, const Node& node) {
    Verdict verdict;
    const auto taken = [&](const HostPort& wanted) {
        return std::ranges::any_of(node.host_ports,
                                   [&](const HostPort& used) { return wanted.conflicts(used); });
    };
    if (std::ranges::any_of(pod.host_ports, taken)) {
        verdict.add(Verdict::host_port);
    }
    if (std::cmp_greater_equal(node.pods.size(), node.spec->allocatable.pods)) {
        verdict.add(Verdict::pods);
    }
    constexpr std::array<Verdict::Cause, basic_count> causes = {Verdict::cpu, Verdict::memory,
                                                                Verdict::ephemeral_storage};
    for (std::size_t i = 0; i < basic_count; ++i) {
        const std::int64_t wanted = pod.requests.basic[i];
        // A node may be overcommitted; who asks for nothing of that resource still fits.
        if (wanted > 0 && wanted > node.spec->allocatable.basic[i] - node.requested[i]) {
            verdict.add(causes[i]);
        }
    }
    if (!gpus_fit(pod, node)) {
        verdict.add(Verdict::gpu);
    }
    const bool is_cut = !node.cuts.empty();
    const auto is_profile = [&](std::size_t index) {
        return std::ranges::find(pod.profiles, index, &ProfileRequest::index) != pod.profiles.end();
    };
    for (std::size_t i = 0; i < extended.size(); ++i) {
        if (extended[i].second > free_of(node, extended[i].first) && !(is_cut && is_profile(i))) {
            verdict.add_extended(i);
        }
    }
    if (is_cut) {
        match_profiles(pod, node, verdict);
    }
    return verdict;
}

Verdict match(const Cluster& cluster, const PodSpec& pod, const ExtendedRequests& extended, NodeId id) {
    const Node& node = cluster.node(id);
    Verdict verdict;
    if (!node.present()) {
        verdict.add(Verdict::absent);
        return verdict;
    }
    verdict = match_spec(pod, *node.spec, cluster.name(id));
    verdict.add(match_room(pod, extended, node));
    return verdict;
}

}  // namespace nos
