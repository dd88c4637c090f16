#include "reason.h"

#include <algorithm>
#include <array>

#include "nearest_fix.h"
#include "no_geometry.h"

namespace nos {

namespace {

constexpr std::array<std::string_view, 28> code_names = {
    "Unsupported",
    "NoNodes",
    "Unschedulable",
    "Taint",
    "NodeAffinity",
    "HostPort",
    "TooManyPods",
    "InsufficientCpu",
    "InsufficientMemory",
    "InsufficientStorage",
    "InsufficientGpu",
    "NoGeometry",
    "InsufficientResource",
    "VolumeNotReady",
    "VolumeInUse",
    "VolumeLimit",
    "VolumeAffinity",
    "TopologySpread",
    "PodAffinity",
    "PodAntiAffinity",
    "NodeFeature",
    "OnlyByDra",
    "MakingRoom",
    "GangTooSmall",
    "GangDoesNotFit",
    "GangInvalid",
    "QuotaMax",
    "QuotaExhausted",
};

ReasonCode code_of(std::uint8_t cause) {
    constexpr std::array<ReasonCode, Verdict::extended> codes = {
        ReasonCode::no_nodes,
        ReasonCode::gang_does_not_fit,
        ReasonCode::unschedulable,
        ReasonCode::taint,
        ReasonCode::node_affinity,
        ReasonCode::host_port,
        ReasonCode::too_many_pods,
        ReasonCode::insufficient_cpu,
        ReasonCode::insufficient_memory,
        ReasonCode::insufficient_storage,
        ReasonCode::insufficient_gpu,
        ReasonCode::no_geometry,
        ReasonCode::volume_in_use,
        ReasonCode::volume_limit,
        ReasonCode::volume_affinity,
        ReasonCode::topology_spread,
        ReasonCode::topology_spread,
        ReasonCode::pod_affinity,
        ReasonCode::pod_anti_affinity,
        ReasonCode::pod_anti_affinity,
        ReasonCode::node_feature,
        ReasonCode::only_by_dra,
    };
    return cause < Verdict::extended ? codes.at(cause) : ReasonCode::insufficient_resource;
}

class Explanation {
  public:
    Explanation(const Cluster& cluster, const InternedSpec& interned, const Table<NodeId, Verdict>& verdicts)
        : cluster_{cluster}, interned_{interned}, verdicts_{verdicts} {}

    Reason give() {
        count();
        Reason reason;
        if (cluster_.node_count() == 0) {
            reason.message = "0/0 nodes are available: the cluster has no node.";
            return reason;
        }
        if (causes_.at(Verdict::geometry) > 0) {
            geometry_ = no_geometry(cluster_, *interned_.spec, verdicts_);
        }
        reason.counts = texts();
        reason.code = primary();
        reason.message = "0/" + std::to_string(cluster_.node_count()) + " nodes are available:";
        for (const auto& [text, nodes] : reason.counts) {
            reason.message +=
                (reason.message.ends_with(':') ? " " : ", ") + std::to_string(nodes) + " " + text;
        }
        reason.message += "." + fix();
        return reason;
    }

  private:
    template <class Visit>
    void each_node(Visit visit) const {
        for (std::size_t number = 0; number < verdicts_.size(); ++number) {
            const NodeId id{number};
            if (!verdicts_[id].has(Verdict::absent)) {
                visit(id, verdicts_[id]);
            }
        }
    }

    // Of the causes before and after room only the first is counted, of room every one, as kube-scheduler
    // does.
    void count() {
        each_node([&](NodeId id, Verdict verdict) {
            bool counted = false;
            for (std::uint8_t cause = Verdict::outside; cause < Verdict::bits; ++cause) {
                const bool is_room = Verdict::is_room(cause);
                if (!verdict.has(cause) || (counted && !is_room) ||
                    (cause > Verdict::geometry && !is_room && verdict.lacks_room())) {
                    continue;
                }
                ++causes_.at(cause);
                counted = true;
                if (cause == Verdict::taint) {
                    count_taint(untolerated_taint(*interned_.spec, *cluster_.node(id).spec));
                }
                if (cause < Verdict::pods) {
                    return;
                }
            }
        });
    }

    void count_taint(const Taint* taint) {
        const auto same = [&](const auto& known) {
            return known.first->key == taint->key && known.first->value == taint->value;
        };
        const auto known = std::ranges::find_if(taints_, same);
        if (known == taints_.end()) {
            taints_.emplace_back(taint, 1);
        } else {
            ++known->second;
        }
    }

    [[nodiscard]] std::vector<std::pair<std::string, std::int64_t>> texts() const {
        std::vector<std::pair<std::string, std::int64_t>> texts;
        for (std::uint8_t cause = Verdict::outside; cause < Verdict::bits; ++cause) {
            if (cause == Verdict::taint) {
                for (const auto& [taint, nodes] : taints_) {
                    texts.emplace_back(
                        "node(s) had untolerated taint {" + taint->key + ": " + taint->value + "}", nodes);
                }
            } else if (causes_.at(cause) > 0) {
                texts.emplace_back(text_of(cause), causes_.at(cause));
            }
        }
        std::ranges::stable_sort(texts, std::greater{}, [](const auto& entry) { return entry.second; });
        return texts;
    }

    [[nodiscard]] std::string text_of(std::uint8_t cause) const {
        switch (cause) {
            case Verdict::outside:
                return "node(s) were outside the domain of the pod group";
            case Verdict::unschedulable:
                return "node(s) were unschedulable";
            case Verdict::affinity:
                return "node(s) didn't match Pod's node affinity/selector";
            case Verdict::host_port:
                return "node(s) didn't have free ports for the requested pod ports";
            case Verdict::pods:
                return "Too many pods";
            case Verdict::cpu:
            case Verdict::memory:
            case Verdict::ephemeral_storage:
                return "Insufficient " + std::string{basic_names.at(cause - std::size_t{Verdict::cpu})};
            case Verdict::gpu:
                return interned_.spec->gpu_share_milli > 0 ? "Insufficient milli-GPU on one GPU"
                                                           : "Insufficient " + std::string{gpu_resource};
            case Verdict::geometry:
                return "No geometry: " + geometry_.text;
            case Verdict::volume_in_use:
                return "node(s) unavailable: a ReadWriteOncePod claim is in use by another pod";
            case Verdict::volume_limit:
                return "node(s) exceed max volume count";
            case Verdict::volume_affinity:
                return interned_.spec->claims.empty() ? "node(s) had volume node affinity conflict"
                                                      : "node(s) didn't find available persistent volumes "
                                                        "to bind, nor can they be made there";
            case Verdict::spread_label:
                return "node(s) didn't match pod topology spread constraints (missing required label)";
            case Verdict::spread:
                return "node(s) didn't match pod topology spread constraints";
            case Verdict::pod_affinity:
                return "node(s) didn't match pod affinity rules";
            case Verdict::pod_anti_affinity:
                return "node(s) didn't match pod anti-affinity rules";
            case Verdict::their_anti_affinity:
                return "node(s) didn't satisfy existing pods anti-affinity rules";
            case Verdict::feature:
                return "node(s) lack " + listed(interned_.spec->features);
            case Verdict::by_dra:
                return "node(s) offer GPUs as DRA devices only, which nos does not hand out";
            default:
                return "Insufficient " + extended_name(cause - std::size_t{Verdict::extended});
        }
    }

    static std::string listed(const std::vector<std::string>& names) {
        std::string text;
        for (const std::string& name : names) {
            text += (text.empty() ? "" : ", ") + name;
        }
        return text;
    }

    [[nodiscard]] std::string extended_name(std::size_t index) const {
        // Extended requests stand in the order of their names in both lists; zero requests are left out of
        // one.
        std::size_t position = 0;
        for (const auto& [name, amount] : interned_.spec->requests.extended) {
            if (amount > 0 && position++ == index) {
                return name;
            }
        }
        return "extended resources";
    }

    // Lack of room where the Pod may go is nearer to a fix than nodes where it may not.
    [[nodiscard]] ReasonCode primary() const {
        const auto most = [&](std::size_t first, std::size_t last) {
            return static_cast<std::uint8_t>(
                std::max_element(causes_.begin() + static_cast<std::ptrdiff_t>(first),
                                 causes_.begin() + static_cast<std::ptrdiff_t>(last)) -
                causes_.begin());
        };
        // Scarce things first among equals: GPU, then other extended resources, then the rest.
        std::uint8_t room = most(Verdict::pods, Verdict::volume_in_use);
        if (const std::uint8_t other = most(Verdict::extended, Verdict::bits);
            causes_.at(other) > causes_.at(room)) {
            room = other;
        }
        if (causes_.at(Verdict::gpu) > 0 && causes_.at(Verdict::gpu) == causes_.at(room)) {
            return ReasonCode::insufficient_gpu;
        }
        if (causes_.at(Verdict::geometry) > 0 && causes_.at(Verdict::geometry) == causes_.at(room)) {
            return ReasonCode::no_geometry;
        }
        if (causes_.at(room) > 0) {
            return code_of(room);
        }
        const std::uint8_t near = most(Verdict::volume_in_use, Verdict::extended);
        return code_of(causes_.at(near) > 0 ? near : most(Verdict::outside, Verdict::pods));
    }

    [[nodiscard]] std::string fix() const {
        const auto& gpu = geometry_.best;
        return gpu && primary() == ReasonCode::no_geometry
                   ? " Closest is GPU " + std::to_string(gpu->second) + " of node " +
                         std::string{cluster_.name(gpu->first)} + "."
                   : nearest_fix(cluster_, interned_, verdicts_);
    }

    const Cluster& cluster_;
    const InternedSpec& interned_;
    const Table<NodeId, Verdict>& verdicts_;
    NoGeometry geometry_;
    std::array<std::int64_t, Verdict::bits> causes_{};
    std::vector<std::pair<const Taint*, std::int64_t>> taints_;  // and nodes, in order of first sight
};

}  // namespace

std::string_view name(ReasonCode code) { return code_names.at(static_cast<std::size_t>(code)); }

Reason not_placeable(const PodSpec& pod) {
    if (pod.unsupported.empty()) {
        return {ReasonCode::volume_not_ready, "Its volumes are not ready: " + pod.waits_for + ".", {}};
    }
    Reason reason{ReasonCode::unsupported, "Not handled by nos yet:", {}};
    for (const std::string& feature : pod.unsupported) {
        reason.message += (reason.counts.empty() ? " " : ", ") + feature;
        reason.counts.emplace_back(feature, 0);
    }
    reason.message += ". Remove it, or give the Pod another schedulerName.";
    return reason;
}

Reason explain(const Cluster& cluster, const InternedSpec& spec, const Table<NodeId, Verdict>& verdicts) {
    return Explanation{cluster, spec, verdicts}.give();
}

}  // namespace nos
