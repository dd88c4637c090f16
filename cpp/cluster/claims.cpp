// The part of the Cluster that keeps account of MIG instances.
#include <algorithm>

#include "cluster.h"

namespace nos {

void Cluster::settle_cuts(Node& node) {
    for (const GpuSpec& gpu : node.spec->gpus) {
        Cut& cut = node.cuts.emplace_back();
        cut.closed = gpu.model == nullptr;
        add_room(gpu, cut, 1);
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

void Cluster::close(Node& node, std::size_t slot, bool closed) {
    Cut& cut = node.cuts[slot];
    if (cut.closed != closed) {
        add_room(node.spec->gpus[slot], cut, -1);
        cut.closed = closed;
        add_room(node.spec->gpus[slot], cut, 1);
    }
}

// Those that it names, if they still fit; for the others free instances that exist, else any place. What is
// nowhere to be found is excess: the node is cut in another way than anybody told.
void Cluster::claim_instances(Node& node, PodId id) {
    Pod& pod = pods_[id];
    const PodSpec& spec = *specs_[pod.spec].spec;
    if (node.cuts.empty() || spec.profiles.empty()) {
        return;
    }
    const Instances named = pod.instances;
    pod.instances.clear();
    for (const ProfileRequest& request : spec.profiles) {
        std::int64_t missing = request.count;
        const auto try_claim = [&](const Held& held) {
            const GpuSpec& gpu = node.spec->gpus[held.gpu];
            if (missing > 0 && gpu.model != nullptr &&
                find_profile(*gpu.model, request) == held.placement.profile && claim(node, id, held)) {
                pod.instances.push_back(held);
                --missing;
            }
        };
        for (const Held& held : named) {
            if (held.gpu < node.cuts.size()) {
                try_claim(held);
            }
        }
        for (std::uint16_t slot = 0; slot < node.cuts.size() && missing > 0; ++slot) {
            for (const InstanceSpec& instance : node.spec->gpus[slot].instances) {
                if (instance.pod.empty()) {
                    try_claim({slot, instance.placement});
                }
            }
        }
        for (std::uint16_t slot = 0; slot < node.cuts.size() && missing > 0; ++slot) {
            if (const GpuSpec& gpu = node.spec->gpus[slot]; gpu.model != nullptr) {
                for (const mig::Placement placement : gpu.model->placements()) {
                    try_claim({slot, placement});
                }
            }
        }
        node.mig_excess += missing;
    }
}

void Cluster::unclaim_instances(Node& node, PodId id) {
    const Pod& pod = pods_[id];
    if (node.cuts.empty()) {
        return;
    }
    for (const ProfileRequest& request : specs_[pod.spec].spec->profiles) {
        node.mig_excess -= request.count;
    }
    node.mig_excess += static_cast<std::int64_t>(pod.instances.size());
    for (const Held& held : pod.instances) {
        Cut& cut = node.cuts[held.gpu];
        const GpuSpec& gpu = node.spec->gpus[held.gpu];
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
            set_slot(node, held.gpu, whole_gpu);
        }
    }
}

bool Cluster::claim(Node& node, PodId id, Held held) {
    Cut& cut = node.cuts[held.gpu];
    if (cut.closed) {
        return false;
    }
    const GpuSpec& gpu = node.spec->gpus[held.gpu];
    const auto after = gpu.model->next(cut.state, held.placement);
    if (!after) {
        return false;
    }
    add_room(gpu, cut, -1);
    cut.state = *after;
    cut.claims.push_back({held.placement, id});
    add_room(gpu, cut, 1);
    set_slot(node, held.gpu, 0);
    return true;
}

bool Cluster::ready(PodId id) const {
    const Pod& pod = pods_[id];
    if (!pod.node.valid() || !nodes_[pod.node].present()) {
        return false;
    }
    const Node& node = nodes_[pod.node];
    if (node.cuts.empty()) {
        return true;
    }
    const PodSpec& spec = *specs_[pod.spec].spec;
    std::int64_t instances = 0;
    for (const ProfileRequest& request : spec.profiles) {
        instances += request.count;
    }
    const auto whole_is_ready = [&](std::uint16_t slot) {
        const GpuSpec& gpu = node.spec->gpus[slot];
        return !gpu.mig && gpu.ready && (gpu.pod.empty() || gpu.pod == uid(id));
    };
    const auto instance_is_ready = [&](const Held& held) {
        const auto& there = node.spec->gpus[held.gpu].instances;
        const auto found = std::ranges::find(there, held.placement, &InstanceSpec::placement);
        return found != there.end() && found->ready && (found->pod.empty() || found->pod == uid(id));
    };
    return std::cmp_equal(pod.gpus.size(), spec.gpu_slots()) &&
           std::cmp_equal(pod.instances.size(), instances) && std::ranges::all_of(pod.gpus, whole_is_ready) &&
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
