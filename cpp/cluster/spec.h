// What Pods ask for and what nodes offer: immutable values, equal by content.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pod_selector.h"
#include "selector.h"
#include "states.h"
#include "volume.h"

namespace nos {

// The resources that every node has and nearly every Pod asks for; all others are "extended".
enum class Basic : std::uint8_t { cpu, memory, ephemeral_storage };
inline constexpr std::size_t basic_count = 3;
inline constexpr std::array<std::string_view, basic_count> basic_names = {"cpu", "memory",
                                                                          "ephemeral-storage"};

inline constexpr std::string_view gpu_resource = "nvidia.com/gpu";
inline constexpr std::string_view mig_prefix = "nvidia.com/mig-";    // and the profile, its + as a dot
inline constexpr std::string_view slice_prefix = "nvidia.com/gpu-";  // and its memory: 10gb, shared by MPS
inline constexpr std::string_view pods_resource = "pods";
inline constexpr std::int32_t whole_gpu = 1000;    // milli-GPU
inline constexpr std::int64_t most_gpus = 65'535;  // on one node
inline constexpr std::int64_t most_of_anything = 1LL
                                                 << 50;  // so that the sum over a node's Pods cannot overflow

using Amounts = std::vector<std::pair<std::string, std::int64_t>>;  // sorted by name, names unique

// Quantities by resource, split as the ledger keeps them.
struct Quantities {
    std::array<std::int64_t, basic_count> basic{};  // cpu in milli-CPU, the others in bytes
    std::int64_t pods = 0;
    std::int64_t gpus = 0;
    Amounts extended;

    // Throws std::invalid_argument on a negative, absurd or repeated one.
    explicit Quantities(const Amounts& amounts);
    Quantities() = default;
    bool operator==(const Quantities&) const = default;
};

struct HostPort {
    std::int32_t port = 0;
    std::string protocol = "TCP";
    std::string address = "0.0.0.0";

    [[nodiscard]] bool conflicts(const HostPort& other) const;
    auto operator<=>(const HostPort&) const = default;
};

// MIG instances of one profile that a Pod asks for.
struct ProfileRequest {
    std::string resource_suffix;  // what follows mig_prefix
    std::int64_t count = 0;
    std::size_t index = 0;  // among the extended requests above 0

    bool operator==(const ProfileRequest&) const = default;
};

// Whether that is what a resource calls the profile: its + as a dot.
bool names_profile(std::string_view resource_suffix, std::string_view profile);

// A preference for nodes.
struct PreferredTerm {
    std::int32_t weight = 0;
    SelectorTerm term;

    auto operator<=>(const PreferredTerm&) const = default;
};

struct PodSpec {
    Quantities requests;
    std::vector<ProfileRequest> profiles;  // those among the requests
    std::int32_t gpu_share_milli = 0;      // of one GPU; 0: whole GPUs, requests.gpus of them
    Labels node_selector;
    std::optional<std::vector<SelectorTerm>> affinity;  // required node affinity: an OR of terms
    std::vector<PreferredTerm> preferred_affinity;
    std::vector<Toleration> tolerations;
    std::vector<HostPort> host_ports;
    std::vector<std::string> features;  // that its node must have
    std::vector<std::string> images;    // of its containers

    std::vector<PodTerm> pod_affinity;
    std::vector<PodTerm> pod_anti_affinity;
    std::vector<WeightedPodTerm> preferred_pod_affinity;
    std::vector<SpreadConstraint> spread;
    bool spread_by_default = false;  // the constraints are the cluster's: a node may lack some of their keys

    std::vector<std::vector<SelectorTerm>> volume_affinity;  // of its bound volumes: an AND of ORs
    std::vector<VolumeClaim> claims;                         // those not bound yet
    std::vector<std::string> sole_claims;                    // no two Pods on nodes share one of these
    std::vector<Attachment> volumes;                         // to attach; sorted, unique
    std::string waits_for;                 // what has to happen before it can be placed anywhere
    std::vector<std::string> unsupported;  // what nos does not handle yet: such a Pod waits

    [[nodiscard]] bool is_placeable() const { return unsupported.empty() && waits_for.empty(); }
    // GPU slots taken, and how much of each.
    [[nodiscard]] std::int64_t gpu_slots() const { return gpu_share_milli > 0 ? 1 : requests.gpus; }
    [[nodiscard]] std::int32_t gpu_slot_milli() const {
        return gpu_share_milli > 0 ? gpu_share_milli : whole_gpu;
    }
    // MIG instances taken.
    [[nodiscard]] std::int64_t instances() const;
    // Leaves out requests for 0 and fills in profiles; throws std::invalid_argument when the parts do not go
    // together.
    void settle();
    [[nodiscard]] std::size_t hash() const;
    bool operator==(const PodSpec&) const = default;
};

// A MIG instance that exists.
struct InstanceSpec {
    mig::Placement placement;
    bool ready = false;  // the kubelet hands it out
    std::string pod;     // uid of who holds it

    [[nodiscard]] bool is_ready() const { return ready && pod.empty(); }
    bool operator==(const InstanceSpec&) const = default;
};

// A GPU that nos cuts, as its node's agent sees it.
struct GpuSpec {
    std::shared_ptr<const mig::States> model;  // null: it cannot be cut
    bool mig = false;                          // MIG mode is on
    bool ready = false;                        // the kubelet hands it out whole
    bool healthy = true;                       // else it stays as it is, and nobody new gets any of it
    bool fixed = false;                        // it is not recut: only what is ready now is given to Pods
    std::string pod;                           // uid of who holds it whole
    std::vector<InstanceSpec> instances;

    [[nodiscard]] bool can_be_cut() const { return healthy && model != nullptr; }
    // One that cannot be cut is of use only while the kubelet hands it out.
    [[nodiscard]] bool can_be_whole() const { return healthy && (model != nullptr || ready); }
    bool operator==(const GpuSpec& other) const;
};

// An image on a node. By the hash of its name: what is at stake is a preference, and nodes have hundreds.
struct ImageSpec {
    std::uint64_t name_hash = 0;
    std::int64_t bytes = 0;

    auto operator<=>(const ImageSpec&) const = default;
};

// Of a name that is # and 16 hexadecimal digits: that number.
std::uint64_t image_hash(std::string_view name);
// Such a name for it.
std::string image_name(std::uint64_t hash);

struct NodeSpec {
    Quantities allocatable;
    std::vector<GpuSpec> gpus;  // by slot, where nos cuts this node's; else empty
    Labels labels;
    std::vector<Taint> taints;
    bool unschedulable = false;
    std::vector<std::string> features;                                // sorted
    std::vector<ImageSpec> images;                                    // sorted
    std::vector<std::pair<std::string, std::int64_t>> attach_limits;  // by driver, sorted
    std::vector<Attachment> attached;  // volumes on it, whoever uses them; sorted, unique
    std::vector<std::string> by_dra;   // extended resources that it offers as DRA devices only
    std::int64_t gpu_memory_gb = 0;    // of each of its GPUs; 0: nobody told

    // Whole, or shared by MPS.
    [[nodiscard]] bool has_gpus() const;
    void validate() const;
    bool operator==(const NodeSpec&) const = default;
};

}  // namespace nos
