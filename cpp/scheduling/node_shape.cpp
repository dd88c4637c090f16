#include "node_shape.h"

#include <algorithm>
#include <functional>
#include <set>

#include "filter.h"

namespace nos {

namespace {

const mig::States* model_of(const NodeSpec& node) {
    return node.gpus.empty() ? nullptr : node.gpus.front().model.get();
}

// In the order in which a load counts them: the largest first.
std::vector<std::int32_t> shares_of(const Cluster& cluster, const std::vector<SpecId>& kinds) {
    std::set<std::int32_t, std::greater<>> shares;
    for (const SpecId kind : kinds) {
        if (const std::int32_t share = cluster.spec(kind).spec->gpu_share_milli; share > 0) {
            shares.insert(share);
        }
    }
    return {shares.begin(), shares.end()};
}

std::vector<std::size_t> profiles_of(const Cluster& cluster, const NodeSpec& node,
                                     const std::vector<SpecId>& kinds) {
    const mig::States* const model = model_of(node);
    std::vector<std::size_t> profiles;
    if (model == nullptr) {
        return profiles;
    }
    std::set<std::size_t> found;
    for (const SpecId kind : kinds) {
        for (const ProfileRequest& request : cluster.spec(kind).spec->profiles) {
            if (const auto profile = find_profile(*model, request)) {
                found.insert(*profile);
            }
        }
    }
    profiles.assign(found.begin(), found.end());
    std::ranges::stable_sort(profiles, std::greater{}, [&](std::size_t profile) {
        const mig::Profile& facts = model->model().profiles[profile];
        return std::pair{facts.size, facts.compute_slices};
    });
    return profiles;
}

}  // namespace

bool NodeShape::is_plain(const NodeSpec& node) {
    return std::ranges::all_of(node.gpus, [&](const GpuSpec& gpu) {
        return gpu.model == node.gpus.front().model && gpu.healthy && !gpu.fixed && gpu.pod.empty() &&
               gpu.instances.empty() && gpu.can_be_whole();
    });
}

NodeShape::NodeShape(const Cluster& cluster, NodeId node, const std::vector<SpecId>& kinds)
    : packing_{cluster.node(node).spec->allocatable.gpus,
               cluster.node(node).spec->gpus.empty() ? nullptr : cluster.node(node).spec->gpus.front().model,
               shares_of(cluster, kinds), profiles_of(cluster, *cluster.node(node).spec, kinds)} {
    const Node& there = cluster.node(node);
    const NodeSpec& spec = *there.spec;
    const std::vector<std::int32_t> shares = shares_of(cluster, kinds);
    const std::vector<std::size_t> profiles = profiles_of(cluster, spec, kinds);
    load_size_ = 1 + shares.size() + profiles.size();
    const bool is_cut = !spec.gpus.empty();

    capacity_ = {spec.allocatable.pods};
    capacity_.insert(capacity_.end(), spec.allocatable.basic.begin(), spec.allocatable.basic.end());
    capacity_.push_back(spec.allocatable.gpus * whole_gpu);  // of memory units
    capacity_.push_back(spec.allocatable.gpus * whole_gpu);  // of compute slices
    std::vector<ResourceId> extended;
    for (const SpecId kind : kinds) {
        for (const auto& [resource, amount] : cluster.spec(kind).extended) {
            if (std::ranges::find(extended, resource) == extended.end()) {
                extended.push_back(resource);
                const auto use =
                    std::ranges::lower_bound(there.extended, resource, {}, &ExtendedUse::resource);
                capacity_.push_back(
                    use == there.extended.end() || use->resource != resource ? 0 : use->allocatable);
            }
        }
    }
    const std::size_t first_extended = capacity_.size() - extended.size();
    for (const SpecId kind : kinds) {
        const InternedSpec& interned = cluster.spec(kind);
        const PodSpec& pod = *interned.spec;
        std::vector<std::int64_t>& wants = wants_.emplace_back(capacity_.size());
        wants[0] = 1;
        std::ranges::copy(pod.requests.basic, wants.begin() + 1);
        GpuLoad& load = loads_.emplace_back(load_size_);
        if (pod.gpu_share_milli > 0) {
            ++load[1 +
                   static_cast<std::size_t>(std::ranges::find(shares, pod.gpu_share_milli) - shares.begin())];
        } else {
            load[0] = static_cast<std::int32_t>(std::min<std::int64_t>(pod.requests.gpus, most_gpus));
        }
        for (std::size_t i = 0; i < interned.extended.size(); ++i) {
            const auto& [resource, amount] = interned.extended[i];
            const auto request = std::ranges::find(pod.profiles, i, &ProfileRequest::index);
            const auto profile = is_cut && request != pod.profiles.end() && model_of(spec) != nullptr
                                     ? find_profile(*model_of(spec), *request)
                                     : std::nullopt;
            if (profile) {
                const auto place =
                    static_cast<std::size_t>(std::ranges::find(profiles, *profile) - profiles.begin());
                load[1 + shares.size() + place] +=
                    static_cast<std::int32_t>(std::min<std::int64_t>(amount, most_gpus));
            } else {
                const auto place =
                    static_cast<std::size_t>(std::ranges::find(extended, resource) - extended.begin());
                wants[first_extended + place] = amount;
            }
        }
        for (std::size_t i = 0; i < load_size_; ++i) {
            wants[1 + basic_count] += load[i] * packing_.milli_units(i);
            wants[2 + basic_count] += load[i] * packing_.milli_slices(i);
        }
        const bool is_linear =
            std::ranges::all_of(load.begin() + 1, load.end(), [](auto count) { return count == 0; });
        is_linear_.push_back(is_linear);
        needs_packing_ = needs_packing_ || !is_linear;
    }
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
        may_hold_.push_back(match_spec(cluster, *cluster.spec(kinds[kind]).spec, node).fits() &&
                            match_room(cluster, cluster.spec(kinds[kind]), there).fits() &&
                            more(empty(), kind, 1) == 1);
    }
}

std::int32_t NodeShape::more(const Left& left, std::size_t kind, std::int32_t limit) {
    for (std::size_t i = 0; i < capacity_.size(); ++i) {
        if (const std::int64_t wanted = wants_[kind][i]; wanted > 0) {
            limit = static_cast<std::int32_t>(std::min<std::int64_t>(limit, left.resources[i] / wanted));
        }
    }
    const bool takes_gpu = !is_linear_[kind] || loads_[kind][0] > 0;
    if (!needs_packing_ || !takes_gpu) {
        return limit;
    }
    GpuLoad load = left.load;
    for (; limit > 0; --limit) {
        for (std::size_t i = 0; i < load_size_; ++i) {
            load[i] = left.load[i] + limit * loads_[kind][i];
        }
        if (packing_.fits(load)) {
            break;
        }
    }
    return limit;
}

void NodeShape::add(Left& left, std::size_t kind, std::int32_t count) const {
    for (std::size_t i = 0; i < capacity_.size(); ++i) {
        left.resources[i] -= count * wants_[kind][i];
    }
    for (std::size_t i = 0; i < load_size_; ++i) {
        left.load[i] += count * loads_[kind][i];
    }
}

std::optional<std::vector<GpuContent>> NodeShape::gpus(const Counts& pattern) {
    Left all = empty();
    for (std::size_t kind = 0; kind < pattern.size(); ++kind) {
        add(all, kind, pattern[kind]);
    }
    return packing_.pack(all.load);
}

}  // namespace nos
