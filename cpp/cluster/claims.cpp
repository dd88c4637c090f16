// The part of the Cluster that gives Pods their GPU slots and MIG instances, and takes them back.
//
// On a node that nos cuts, whatever its agent saw in somebody's hands is taken, whether or not that Pod is on
// record here: until it is, and when it has gone from the record before the agent saw it go, a stranger has
// it.
#include <algorithm>
#include <utility>

#include "cluster.h"

namespace nos {

namespace {

// Of a GPU that nobody on record has any of.
std::int32_t idle_free(const GpuSpec& gpu) { return gpu.pod.empty() && gpu.can_be_whole() ? whole_gpu : 0; }

const InstanceSpec* find_instance(const GpuSpec& gpu, mig::Placement placement) {
    const auto found = std::ranges::find(gpu.instances, placement, &InstanceSpec::placement);
    return found == gpu.instances.end() ? nullptr : &*found;
}

}  // namespace

// ---- the cuts of a node

void Cluster::settle_cuts(Node& node) {
    node.cuts.resize(node.spec->gpus.size());
    for (std::uint16_t slot = 0; slot < node.cuts.size(); ++slot) {
        const GpuSpec& gpu = node.spec->gpus[slot];
        node.cuts[slot].closed = !gpu.can_be_cut();
        add_room(gpu, node.cuts[slot], 1);
        leave_slot(node, slot);
        for (const InstanceSpec& instance : gpu.instances) {
            if (!instance.pod.empty()) {
                claim(node, PodId{}, {slot, instance.placement});
            }
        }
    }
}

void Cluster::forget_cuts(const Node& node) {
    for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
        add_room(node.spec->gpus[slot], node.cuts[slot], -1);
    }
}

void Cluster::add_room(const GpuSpec& gpu, const Cut& cut, std::int64_t sign) {
    if (cut.closed) {
        return;
    }
    const auto known = std::ranges::find(model_rooms_, gpu.model, &ModelRoom::model);
    ModelRoom& sum =
        known != model_rooms_.end()
            ? *known
            : model_rooms_.emplace_back(gpu.model,
                                        std::vector<std::int64_t>(gpu.model->model().profiles.size()), 0, 0);
    for (std::size_t profile = 0; profile < sum.room.size(); ++profile) {
        sum.room[profile] += sign * gpu.model->room(cut.state, profile);
    }
    sum.gpus += sign;
    sum.empty_gpus += cut.claims.empty() ? sign : 0;
}

// ---- what Pods take

void Cluster::claim_known(Node& node, PodId id) {
    claim_known_slots(node, id);
    claim_known_instances(node, id);
}

void Cluster::claim_missing(Node& node, PodId id) {
    claim_missing_slots(node, id);
    claim_missing_instances(node, id);
}

// is_gone: so is what the agent sees in its hands.
void Cluster::unclaim(Node& node, PodId id, bool is_gone) {
    const Pod& pod = pods_[id];
    if (!node.cuts.empty()) {
        for (const Held& held : pod.instances) {
            unclaim(node, id, held, is_gone);
        }
    }
    for (const std::uint16_t slot : pod.gpus) {
        const std::int32_t free = node.gpu_free[slot] + specs_[pod.spec].spec->gpu_slot_milli();
        set_slot(node, slot, free);
        const bool was_seen = !node.cuts.empty() && node.spec->gpus[slot].pod == uid(id);
        if (free == whole_gpu && (!is_gone || !was_seen)) {
            leave_slot(node, slot);
        }
    }
}

// Those that the agent saw it on, then those that it names.
void Cluster::claim_known_slots(Node& node, PodId id) {
    Pod& pod = pods_[id];
    const Slots named = std::exchange(pod.gpus, {});
    for (std::uint16_t slot = 0; slot < node.cuts.size(); ++slot) {
        if (node.cuts[slot].withheld && node.spec->gpus[slot].pod == uid(id)) {
            node.cuts[slot].withheld = false;
            set_slot(node, slot, whole_gpu);
            if (!claim_slot(node, pod, slot)) {
                leave_slot(node, slot);
            }
        }
    }
    for (const std::uint16_t slot : named) {
        claim_slot(node, pod, slot);
    }
    std::ranges::sort(pod.gpus);
}

// The fullest that are free enough, lowest first; where nos cuts them, those first that are handed out whole
// already.
void Cluster::claim_missing_slots(Node& node, PodId id) {
    Pod& pod = pods_[id];
    const PodSpec& spec = *specs_[pod.spec].spec;
    const auto disturbed = [&](std::size_t slot) {
        return node.cuts.empty() ? 0 : whole_disturbance(node.spec->gpus[slot]);
    };
    while (std::cmp_less(pod.gpus.size(), spec.gpu_slots())) {
        std::optional<std::uint16_t> best;
        for (std::uint16_t slot = 0; slot < node.gpu_free.size(); ++slot) {
            if (node.gpu_free[slot] >= spec.gpu_slot_milli() &&
                std::ranges::find(pod.gpus, slot) == pod.gpus.end() &&
                (!best || std::pair{node.gpu_free[slot], disturbed(slot)} <
                              std::pair{node.gpu_free[*best], disturbed(*best)})) {
                best = slot;
            }
        }
        if (!best) {
            break;
        }
        claim_slot(node, pod, *best);
    }
    std::ranges::sort(pod.gpus);
}

// False when it has enough, or that one is not free enough.
bool Cluster::claim_slot(Node& node, Pod& pod, std::uint16_t slot) {
    const PodSpec& spec = *specs_[pod.spec].spec;
    if (std::cmp_greater_equal(pod.gpus.size(), spec.gpu_slots()) || slot >= node.gpu_free.size() ||
        node.gpu_free[slot] < spec.gpu_slot_milli() || std::ranges::find(pod.gpus, slot) != pod.gpus.end()) {
        return false;
    }
    set_slot(node, slot, node.gpu_free[slot] - spec.gpu_slot_milli());
    pod.gpus.push_back(slot);
    return true;
}

// Likewise. What it names is no more than a wish: it may have gone, and the node's GPUs may be others now.
void Cluster::claim_known_instances(Node& node, PodId id) {
    Pod& pod = pods_[id];
    if (node.cuts.empty()) {
        return;
    }
    const Instances named = std::exchange(pod.instances, {});
    if (specs_[pod.spec].spec->profiles.empty()) {
        return;
    }
    for (std::uint16_t slot = 0; slot < node.cuts.size(); ++slot) {
        for (const InstanceSpec& instance : node.spec->gpus[slot].instances) {
            const Held held{slot, instance.placement};
            auto& claims = node.cuts[slot].claims;
            auto* const stranger = std::ranges::find(claims, Claim{held.placement, PodId{}});
            if (instance.pod == uid(id) && stranger != claims.end() && lacks(node, id, held)) {
                stranger->pod = id;
                pod.instances.push_back(held);
            }
        }
    }
    for (const Held& held : named) {
        if (held.gpu < node.cuts.size() && !node.cuts[held.gpu].closed && lacks(node, id, held) &&
            node.spec->gpus[held.gpu].model->next(node.cuts[held.gpu].state, held.placement)) {
            claim(node, id, held);
        }
    }
}

// All that is missing where it disturbs least; where that is too much, what there is.
void Cluster::claim_missing_instances(Node& node, PodId id) {
    if (node.cuts.empty()) {
        return;
    }
    std::vector<ProfileRequest> missing = missing_instances(node, id);
    const auto cost_of = [&](Held held, mig::StateId, mig::StateId) {
        return disturbance(node.spec->gpus[held.gpu], held.placement);
    };
    const auto claim_all = [&](std::span<const ProfileRequest> requests) {
        const auto fit = fit_profiles(requests, *node.spec, node.cuts, cost_of);
        for (const Held& held : fit ? fit->instances : Instances{}) {
            claim(node, id, held);
        }
        return fit.has_value();
    };
    if (missing.empty() || claim_all(missing)) {
        return;
    }
    for (ProfileRequest& request : missing) {
        const std::int64_t count = std::exchange(request.count, 1);
        for (std::int64_t i = 0; i < count && claim_all({&request, 1}); ++i) {
        }
    }
}

std::vector<ProfileRequest> Cluster::missing_instances(const Node& node, PodId id) const {
    const Pod& pod = pods_[id];
    std::vector<ProfileRequest> missing = specs_[pod.spec].spec->profiles;
    for (ProfileRequest& request : missing) {
        request.count -= std::ranges::count_if(pod.instances, [&](const Held& held) {
            return find_profile(*node.spec->gpus[held.gpu].model, request) == held.placement.profile;
        });
    }
    std::erase_if(missing, [](const ProfileRequest& request) { return request.count <= 0; });
    return missing;
}

bool Cluster::lacks(const Node& node, PodId id, Held held) const {
    return std::ranges::any_of(missing_instances(node, id), [&](const ProfileRequest& request) {
        return find_profile(*node.spec->gpus[held.gpu].model, request) == held.placement.profile;
    });
}

// For a stranger when there is no id.
void Cluster::claim(Node& node, PodId id, Held held) {
    Cut& cut = node.cuts[held.gpu];
    const GpuSpec& gpu = node.spec->gpus[held.gpu];
    add_room(gpu, cut, -1);
    cut.state = gpu.model->next(cut.state, held.placement).value();
    cut.claims.push_back({held.placement, id});
    cut.withheld = false;
    add_room(gpu, cut, 1);
    set_slot(node, held.gpu, 0);
    if (id.valid()) {
        pods_[id].instances.push_back(held);
    }
}

// What the agent still sees in its hands passes to a stranger.
void Cluster::unclaim(Node& node, PodId id, Held held, bool is_gone) {
    Cut& cut = node.cuts[held.gpu];
    const GpuSpec& gpu = node.spec->gpus[held.gpu];
    const InstanceSpec* const instance = find_instance(gpu, held.placement);
    const bool is_seen = instance != nullptr && !instance->pod.empty();
    const bool goes_too = is_gone && (!id.valid() || (is_seen && instance->pod == uid(id)));
    if (is_seen && !goes_too) {
        std::ranges::find(cut.claims, Claim{held.placement, id})->pod = PodId{};
        return;
    }
    add_room(gpu, cut, -1);
    Few<Claim, 8> left;
    std::vector<mig::Placement> placements;
    for (const Claim& claim : cut.claims) {
        if (claim != Claim{held.placement, id}) {
            left.push_back(claim);
            placements.push_back(claim.placement);
        }
    }
    cut.claims = left;
    cut.state = gpu.model->of(placements).value();
    add_room(gpu, cut, 1);
    if (left.empty()) {
        leave_slot(node, held.gpu);
    }
}

// ---- slots

void Cluster::set_slot(Node& node, std::size_t slot, std::int32_t free) {
    const std::int32_t before = node.gpu_free[slot];
    node.gpu_free[slot] = static_cast<std::uint16_t>(free);
    if (!node.cuts.empty()) {
        Cut& cut = node.cuts[slot];
        const GpuSpec& gpu = node.spec->gpus[slot];
        const bool closed = !gpu.can_be_cut() || (cut.claims.empty() && free < whole_gpu);
        if (cut.closed != closed) {
            add_room(gpu, cut, -1);
            cut.closed = closed;
            add_room(gpu, cut, 1);
        }
    }
    node.gpu_free_milli += free - before;
    node.gpu_free_whole += (free == whole_gpu ? 1 : 0) - (before == whole_gpu ? 1 : 0);
    gpu_used_milli_ -= free - before;
}

// Nobody on record has any of it now.
void Cluster::leave_slot(Node& node, std::size_t slot) {
    const std::int32_t free = node.cuts.empty() ? whole_gpu : idle_free(node.spec->gpus[slot]);
    if (!node.cuts.empty()) {
        node.cuts[slot].withheld = free == 0;
    }
    set_slot(node, slot, free);
}

// ---- what the cuts mean

bool Cluster::placed(PodId id) const {
    const Pod& pod = pods_[id];
    if (!pod.node.valid() || !nodes_[pod.node].present()) {
        return false;
    }
    const PodSpec& spec = *specs_[pod.spec].spec;
    // Where nos does not cut, nobody has instances, unless he was to have them before nos left off.
    const bool is_cut = !nodes_[pod.node].cuts.empty();
    return std::cmp_equal(pod.gpus.size(), spec.gpu_slots()) &&
           std::cmp_equal(pod.instances.size(), is_cut ? spec.instances() : 0);
}

bool Cluster::ready(PodId id) const {
    if (!placed(id)) {
        return false;
    }
    const Pod& pod = pods_[id];
    const Node& node = nodes_[pod.node];
    const auto whole_is_ready = [&](std::uint16_t slot) {
        if (node.cuts.empty()) {
            return true;
        }
        const GpuSpec& gpu = node.spec->gpus[slot];
        return !gpu.mig && gpu.ready && (gpu.pod.empty() || gpu.pod == uid(id));
    };
    const auto instance_is_ready = [&](const Held& held) {
        const InstanceSpec* const instance = find_instance(node.spec->gpus[held.gpu], held.placement);
        return instance != nullptr && instance->ready && (instance->pod.empty() || instance->pod == uid(id));
    };
    return std::ranges::all_of(pod.gpus, whole_is_ready) &&
           std::ranges::all_of(pod.instances, instance_is_ready);
}

std::vector<Target> Cluster::targets(NodeId id) const {
    const Node& node = nodes_[id];
    std::vector<Target> targets;
    for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
        const bool whole = node.gpu_free[slot] < whole_gpu && node.cuts[slot].claims.empty();
        targets.push_back(target(node.spec->gpus[slot], node.cuts[slot], whole));
    }
    return targets;
}

}  // namespace nos
