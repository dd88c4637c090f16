// A node of the ledger: what it offers, what its Pods take, who they are.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "attachments.h"
#include "cut.h"
#include "few.h"
#include "id.h"
#include "spec.h"

namespace nos {

// Of one extended resource on one node.
struct ExtendedUse {
    ResourceId resource;
    std::int64_t allocatable = 0;
    std::int64_t requested = 0;

    bool operator==(const ExtendedUse&) const = default;
};

// The entry of `resource`, made when there is none; sorted by resource.
ExtendedUse& use_of(std::vector<ExtendedUse>& uses, ResourceId resource);

// A volume that is attached to a node, or will be.
struct AttachedVolume {
    VolumeId volume;
    std::uint32_t pods = 0;  // that use it there
    bool seen = false;       // to be attached

    bool operator==(const AttachedVolume&) const = default;
};

struct Node {
    bool known = false;                    // its name leads here
    std::shared_ptr<const NodeSpec> spec;  // null while the node is absent: gone, or not seen yet
    std::uint64_t spec_version = 0;        // changes with spec, unique in the Cluster
    std::uint64_t version = 0;             // changes with anything below or above, likewise
    bool going = false;                    // it is to go: nobody is placed there any more

    std::array<std::int64_t, basic_count> requested{};
    std::vector<ExtendedUse> extended;  // sorted by resource
    Few<PodId, 8> pods;
    std::vector<PodId> nominated;  // who is about to come
    std::vector<HostPort> host_ports;
    std::vector<AttachedVolume> volumes;                           // sorted by volume
    std::vector<VolumeId> attached;                                // of the spec, in numbers
    std::vector<std::pair<DriverId, std::int64_t>> attach_limits;  // likewise

    Few<std::uint16_t, 8> gpu_free;   // milli, per GPU slot
    std::int64_t gpu_free_milli = 0;  // their sum
    std::int64_t gpu_free_whole = 0;  // how many are wholly free
    std::vector<Cut> cuts;            // per GPU slot, on nodes that nos cuts; else empty
    std::int64_t mig_excess = 0;      // instances that Pods hold and that are nowhere to be found
    std::int64_t gpu_excess = 0;      // slots that Pods of other schedulers hold beyond what the node has

    AttachedVolume& entry_of(VolumeId volume);
    void use_volume(VolumeId volume);
    void leave_volume(VolumeId volume);
    [[nodiscard]] bool present() const { return spec != nullptr; }
    [[nodiscard]] std::int64_t free(Basic basic) const {
        const auto index = static_cast<std::size_t>(basic);
        return spec->allocatable.basic[index] - requested[index];
    }
};

}  // namespace nos
