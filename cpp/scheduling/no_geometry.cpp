#include "no_geometry.h"

#include <algorithm>

#include "amount_text.h"
#include "repartition.h"

namespace nos {

namespace {

template <class Visit>
void each_node(const Cluster& cluster, const Table<NodeId, Verdict>& verdicts, Visit visit) {
    for (std::size_t number = 0; number < verdicts.size(); ++number) {
        const NodeId id{number};
        if (verdicts[id].only_room() && verdicts[id].has(Verdict::geometry)) {
            visit(id, cluster.node(id));
        }
    }
}

std::vector<mig::Placement> placements(const Cut& cut) {
    std::vector<mig::Placement> placements;
    for (const Claim& claim : cut.claims) {
        placements.push_back(claim.placement);
    }
    return placements;
}

// One instance: the GPU with the most free units, of those that are cut into such profiles at all.
std::optional<NoGeometry> for_one(const Cluster& cluster, const ProfileRequest& request,
                                  const Table<NodeId, Verdict>& verdicts) {
    NoGeometry best;
    std::int32_t most = -1;
    each_node(cluster, verdicts, [&](NodeId id, const Node& node) {
        for (std::uint16_t slot = 0; slot < node.cuts.size(); ++slot) {
            const Cut& cut = node.cuts[slot];
            const mig::States* const model = node.spec->gpus[slot].model.get();
            const auto profile = model == nullptr ? std::nullopt : find_profile(*model, request);
            if (!profile) {
                continue;
            }
            const std::int32_t free = cut.closed ? 0 : model->free_units(cut.state);
            const bool has_room = !cut.closed && model->room(cut.state, *profile) > 0;
            if (free <= most || (has_room && !node.spec->gpus[slot].fixed)) {
                continue;
            }
            most = free;
            best.best = {id, slot};
            const mig::Profile& wanted = model->model().profiles[*profile];
            if (has_room) {
                best.text =
                    wanted.name + " would fit, but that GPU is not recut now: its agent failed or is silent";
            } else if (cut.closed) {
                best.text = wanted.name + " needs " + std::to_string(wanted.size) +
                            (wanted.size == 1 ? " free unit" : " free units") + ", the GPU has 0";
            } else {
                best.text = mig::refusal(*model, placements(cut), *profile);
            }
        }
    });
    if (most < 0) {
        return std::nullopt;
    }
    constexpr std::string_view one = "the GPU has";
    if (const std::size_t at = best.text.find(one); at != std::string::npos) {
        best.text.replace(at, one.size(), "the best GPU has");
    }
    return best;
}

}  // namespace

NoGeometry no_geometry(const Cluster& cluster, const PodSpec& pod, const Table<NodeId, Verdict>& verdicts) {
    std::string all;
    for (const ProfileRequest& request : pod.profiles) {
        std::int64_t room = 0;
        each_node(cluster, verdicts, [&](NodeId, const Node& node) {
            room = std::max(room, node.mig_excess > 0 ? 0 : profile_room(request, *node.spec, node.cuts));
        });
        if (room == 0) {
            if (auto reason = for_one(cluster, request, verdicts)) {
                return *reason;
            }
        }
        const std::string wanted = std::to_string(request.count) +
                                   (request.count == 1 ? " instance of " : " instances of ") +
                                   request.resource_suffix;
        if (room < request.count) {
            return {wanted + (request.count == 1 ? " is" : " are") + " wanted, the best node has room for " +
                        std::to_string(room),
                    {}};
        }
        all += (all.empty() ? "" : " and ") + wanted;
    }
    if (pod.gpu_slots() > 0) {
        all += " and " + amount_of(gpu_resource, static_cast<std::int64_t>(pod.gpu_slots()));
    }
    return {all + " do not fit on one node together", {}};
}

}  // namespace nos
