// A gang's turn: as many of its waiting Pods as it lacks are placed at once, or none.
//
// They are tried in their order, and if that fails the larger ones first; with a topology key in one domain
// after the other. What was tried in vain is taken back. Who places a single Pod, and by which means, is not
// known here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "cluster.h"
#include "domain.h"
#include "reason.h"

namespace nos {

// Places a waiting Pod, in that domain where there is one: then it is assumed, else nothing has changed.
using PlaceOne = std::function<bool(PodId, const Domain*)>;
// Why that Pod does not fit now, in that domain where there is one.
using WhyNot = std::function<std::shared_ptr<Reason>(PodId, const Domain*)>;

// What there is for a gang: GPUs that are free, or all, if who places its Pods may make room.
enum class Room : std::uint8_t { free, all };

struct GangTurn {
    struct Left {
        PodId pod;
        std::shared_ptr<Reason> reason;  // all share one where the gang does not start
    };

    std::vector<PodId> placed;  // in the order in which they were
    std::vector<Left> left;
};

// Of these waiting members, in their order. Needs an open Transaction.
GangTurn place_gang(Cluster& cluster, GangId gang, const std::vector<PodId>& members,
                    const PlaceOne& place_one, const WhyNot& why_not, Room room);

}  // namespace nos
