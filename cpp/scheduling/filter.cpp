#include "filter.h"

#include <algorithm>
#include <span>
#include <utility>

namespace nos {

namespace {

bool any_term(const std::vector<SelectorTerm>& terms, const NodeSpec& node, std::string_view node_name) {
    return std::ranges::any_of(
        terms, [&](const SelectorTerm& term) { return term.matches(node.labels, node_name); });
}

bool has_features(const PodSpec& pod, const NodeSpec& node) {
    return std::ranges::all_of(pod.features, [&](const std::string& feature) {
        return std::ranges::binary_search(node.features, feature);
    });
}

bool volumes_can_be_there(const Cluster& cluster, const PodSpec& pod, NodeId id) {
    const NodeSpec& node = *cluster.node(id).spec;
    return std::ranges::all_of(pod.volume_affinity,
                               [&](const auto& terms) { return any_term(terms, node, cluster.name(id)); }) &&
           (pod.claims.empty() || find_volumes(cluster, pod, id));
}

// A volume that a Pod there uses already counts once. One that is attached and that no Pod there uses counts
// twice, as in kube-scheduler: it may be on its way out.
bool volumes_exceed(const Cluster& cluster, const InternedSpec& interned, const Node& node) {
    const auto exceeds = [&](const auto& driver_limit) {
        const auto& [driver, limit] = driver_limit;
        const auto is_there = [&](VolumeId volume) {
            const auto found = std::ranges::lower_bound(node.volumes, volume, {}, &AttachedVolume::volume);
            return found != node.volumes.end() && found->volume == volume && found->pods > 0;
        };
        const auto added = std::ranges::count_if(interned.volumes, [&](VolumeId volume) {
            return cluster.driver(volume) == driver && !is_there(volume);
        });
        return added > 0 && added + std::ranges::count_if(node.volumes, [&](const AttachedVolume& attached) {
                                return cluster.driver(attached.volume) == driver;
                            }) > limit;
    };
    return std::ranges::any_of(node.attach_limits, exceeds);
}

bool by_dra(const NodeSpec& node, std::string_view resource) {
    return std::ranges::find(node.by_dra, resource) != node.by_dra.end();
}

std::int64_t free_of(const Node& node, ResourceId resource) {
    const auto found = std::ranges::lower_bound(node.extended, resource, {}, &ExtendedUse::resource);
    return found == node.extended.end() || found->resource != resource
               ? 0
               : found->allocatable - found->requested;
}

// For whole-GPU Pods: one that is not recut is free only if it is handed out whole already.
bool is_free(const Node& node, std::size_t slot) {
    if (node.gpu_free[slot] != whole_gpu) {
        return false;
    }
    return node.cuts.empty() || !node.spec->gpus[slot].fixed || whole_disturbance(node.spec->gpus[slot]) == 0;
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
    bool each_fits = true;
    for (const ProfileRequest& request : pod.profiles) {
        if (node.mig_excess > 0 || profile_room(request, *node.spec, node.cuts) < request.count) {
            each_fits = false;
            if (profile_capacity(request, *node.spec) > 0) {
                verdict.add(Verdict::geometry);
            } else {
                verdict.add_extended(request.index);  // no GPU there is ever cut like that
            }
        }
    }
    // Each alone is not all together, nor beside whole GPUs, which are taken from those that nobody has cut.
    const bool is_one = pod.profiles.size() == 1 && pod.gpu_slots() == 0;
    if (each_fits && !pod.profiles.empty() && !is_one && verdict.fits() && !find_places(pod, node, {})) {
        verdict.add(Verdict::geometry);
    }
}

// Whole GPUs for a Pod that wants instances too: which of the models they are of decides whether those fit.
class WholeChoice {
  public:
    WholeChoice(const PodSpec& pod, const Node& node, const CostOf& cost_of)
        : pod_{pod}, node_{node}, cost_of_{cost_of}, cuts_{node.cuts} {}

    // One of `free`, of the first choice that leaves room; the slots of equal models in their order.
    std::optional<Places> choose(std::span<const std::uint16_t> free, std::size_t wanted) {
        if (chosen_.size() == wanted) {
            auto fit = fit_profiles(pod_.profiles, *node_.spec, cuts_, cost_of_);
            if (!fit) {
                return std::nullopt;
            }
            std::ranges::sort(chosen_);
            return Places{{chosen_.begin(), chosen_.end()}, fit->instances, fit->cost};
        }
        std::vector<const mig::States*> tried;
        for (std::size_t i = 0; i < free.size() && free.size() - i >= wanted - chosen_.size(); ++i) {
            const mig::States* const model = node_.spec->gpus[free[i]].model.get();
            if (std::ranges::find(tried, model) != tried.end()) {
                continue;
            }
            tried.push_back(model);
            const bool closed = std::exchange(cuts_[free[i]].closed, true);
            chosen_.push_back(free[i]);
            if (auto places = choose(free.subspan(i + 1), wanted)) {
                return places;
            }
            chosen_.pop_back();
            cuts_[free[i]].closed = closed;
        }
        return std::nullopt;
    }

  private:
    const PodSpec& pod_;
    const Node& node_;
    const CostOf& cost_of_;
    std::vector<Cut> cuts_;
    std::vector<std::uint16_t> chosen_;
};

}  // namespace

std::int64_t free_gpus(const Node& node) {
    std::int64_t free = node.gpu_free_whole;
    for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
        free -= node.gpu_free[slot] == whole_gpu && !is_free(node, slot) ? 1 : 0;
    }
    return free - node.gpu_excess;
}

std::optional<Places> find_places(const PodSpec& pod, const Node& node, const CostOf& cost_of) {
    static const CostOf no_cost = [](Held, mig::StateId, mig::StateId) { return std::int64_t{0}; };
    const CostOf& cost = cost_of ? cost_of : no_cost;
    const std::size_t wanted = pod.gpu_share_milli > 0 ? 0 : static_cast<std::size_t>(pod.requests.gpus);
    const bool cuts = !pod.profiles.empty() && !node.cuts.empty();
    if (cuts && wanted == 0) {
        auto fit = fit_profiles(pod.profiles, *node.spec, node.cuts, cost);
        return fit ? std::optional{Places{{}, fit->instances, fit->cost}} : std::nullopt;
    }
    std::vector<std::uint16_t> free;
    for (std::uint16_t slot = 0; slot < node.gpu_free.size(); ++slot) {
        if (is_free(node, slot)) {
            free.push_back(slot);
        }
    }
    if (free.size() < wanted) {
        return std::nullopt;
    }
    if (!node.cuts.empty()) {
        std::ranges::stable_sort(
            free, {}, [&](std::uint16_t slot) { return whole_disturbance(node.spec->gpus[slot]); });
    }
    if (cuts) {
        return WholeChoice{pod, node, cost}.choose(free, wanted);
    }
    free.resize(wanted);
    std::ranges::sort(free);
    return Places{{free.begin(), free.end()}, {}, 0};
}

const Taint* untolerated_taint(const PodSpec& pod, const NodeSpec& node) {
    const auto repels = [&](const Taint& taint) {
        return taint.effect != Effect::prefer_no_schedule && !tolerated(taint, pod.tolerations);
    };
    const auto found = std::ranges::find_if(node.taints, repels);
    return found == node.taints.end() ? nullptr : &*found;
}

bool allows(const PodSpec& pod, const NodeSpec& node, std::string_view node_name) {
    const auto has_label = [&](const auto& wanted) {
        return find_label(node.labels, wanted.first) == std::string_view{wanted.second};
    };
    return std::ranges::all_of(pod.node_selector, has_label) &&
           (!pod.affinity || any_term(*pod.affinity, node, node_name));
}

std::optional<std::vector<std::string>> find_volumes(const Cluster& cluster, const PodSpec& pod, NodeId id) {
    const NodeSpec& node = *cluster.node(id).spec;
    const std::string_view node_name = cluster.name(id);
    std::vector<std::string> chosen;
    for (const VolumeClaim& claim : pod.claims) {
        const auto will_do = [&](std::uint32_t position) {
            const Volume& volume = claim.volumes[position];
            return std::ranges::find(chosen, volume.name) == chosen.end() &&
                   !cluster.volume_chosen(volume.name) &&
                   (!volume.affinity || any_term(*volume.affinity, node, node_name));
        };
        const std::vector<std::uint32_t> candidates = claim.index.candidates(node.labels);
        const auto found = std::ranges::find_if(candidates, will_do);
        if (found != candidates.end()) {
            chosen.push_back(claim.volumes[*found].name);
            continue;
        }
        const bool can_be_made =
            claim.provision && std::ranges::all_of(*claim.provision, [&](const auto& terms) {
                return any_term(terms, node, node_name);
            });
        if (!can_be_made) {
            return std::nullopt;
        }
        chosen.emplace_back();
    }
    return chosen;
}

Verdict match_spec(const Cluster& cluster, const PodSpec& pod, NodeId id) {
    const NodeSpec& node = *cluster.node(id).spec;
    static const Taint unschedulable{"node.kubernetes.io/unschedulable", "", Effect::no_schedule};
    Verdict verdict;
    if (node.unschedulable && !tolerated(unschedulable, pod.tolerations)) {
        verdict.add(Verdict::unschedulable);
    }
    if (untolerated_taint(pod, node) != nullptr) {
        verdict.add(Verdict::taint);
    }
    if (!allows(pod, node, cluster.name(id))) {
        verdict.add(Verdict::affinity);
    }
    if (!has_features(pod, node)) {
        verdict.add(Verdict::feature);
    }
    if (!volumes_can_be_there(cluster, pod, id)) {
        verdict.add(Verdict::volume_affinity);
    }
    return verdict;
}

Verdict match_room(const Cluster& cluster, const InternedSpec& interned, const Node& node) {
    const PodSpec& pod = *interned.spec;
    const ExtendedRequests& extended = interned.extended;
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
        verdict.add(by_dra(*node.spec, gpu_resource) ? Verdict::by_dra : Verdict::gpu);
    }
    if (!interned.volumes.empty() && volumes_exceed(cluster, interned, node)) {
        verdict.add(Verdict::volume_limit);
    }
    const bool is_cut = !node.cuts.empty();
    const auto is_profile = [&](std::size_t index) {
        return std::ranges::find(pod.profiles, index, &ProfileRequest::index) != pod.profiles.end();
    };
    for (std::size_t i = 0; i < extended.size(); ++i) {
        if (extended[i].second > free_of(node, extended[i].first) && !(is_cut && is_profile(i))) {
            if (!node.spec->by_dra.empty() && by_dra(*node.spec, cluster.name(extended[i].first))) {
                verdict.add(Verdict::by_dra);
            } else {
                verdict.add_extended(i);
            }
        }
    }
    if (is_cut) {
        match_profiles(pod, node, verdict);
    }
    return verdict;
}

}  // namespace nos
