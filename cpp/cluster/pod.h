// A Pod of the ledger.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cut.h"
#include "few.h"
#include "id.h"
#include "namespaces.h"
#include "selection.h"

namespace nos {

enum class Phase : std::uint8_t {
    absent,
    waiting,  // for nos to place it
    assumed,  // placed by nos, not confirmed by the API server yet
    bound,
    nominated,  // about to be bound, by another scheduler or, if held, by nos: takes no room but in a Visit
};

using Slots = Few<std::uint16_t, 8>;  // GPU slots of one node

struct Pod {
    Phase phase = Phase::absent;
    std::int32_t priority = 0;
    std::int64_t arrival = 0;
    SpecId spec;
    LabelsId labels;
    NamespaceId space;                 // its namespace
    std::uint32_t place_in_space = 0;  // among the Pods there
    QuotaId quota;                     // of its namespace; invalid: none
    std::int32_t charged_gb = 0;       // 0: not charged under it, else for GPUs of so much memory each
    bool terminating = false;
    bool preempts = true;          // others may be evicted for it
    bool movable = false;          // it may be evicted to run elsewhere
    bool held = false;             // it is nominated by nos: room is being made, and nobody else gets it
    bool leaving = false;          // it is to be evicted for another one
    bool is_protected = false;     // its eviction was refused: nobody counts on it now
    GangId gang;                   // invalid: it is on its own
    std::uint32_t gang_index = 0;  // of this Pod among the members
    NodeId wish;                   // of a waiting one: where room was being made for it
    NodeId node;                   // where it is assumed or bound
    NodeId nominated;              // where it is nominated
    std::uint32_t index = 0;       // of this Pod in node.pods, or in the Cluster's waiting list
    Slots gpus;           // the slots it holds whole or in part; on an absent node those it wants back
    Instances instances;  // the MIG instances it holds, on nodes that nos cuts; likewise
    std::vector<std::string> volumes;  // chosen for its claims while it is assumed: nobody else gets them

    // The node on which its quota counts it; invalid: nowhere. Not who leaves for another one.
    [[nodiscard]] NodeId charged_on() const {
        if (phase == Phase::assumed || phase == Phase::bound) {
            return leaving ? NodeId{} : node;
        }
        return held ? nominated : NodeId{};
    }
};

// Whether it is on a node to stay. One that is nominated there, and only visits, is not.
inline bool is_placed(const Pod& pod) {
    return pod.node.valid() && (pod.phase == Phase::assumed || pod.phase == Phase::bound) && !pod.terminating;
}

}  // namespace nos
