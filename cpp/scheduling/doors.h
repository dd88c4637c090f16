// What a cut costs: the room that it takes from the profiles that are typical here, each by how scarce it is.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cluster.h"

namespace nos {

// Of one model: losing room for one more instance of a profile costs
//
//   demand * size / (room + 1)
//
// with its part of the demand, its units, and how many more would fit in the whole cluster: the loss of sum
// of demand * size * log(room). Opening an empty GPU costs so much more for the whole GPUs that are wanted
// here. Fixed point.
class Doors {
  public:
    // Follows the demand and the room; true when prices moved noticeably.
    bool learn(const Cluster& cluster);

    // What it costs to take a GPU from one state to the next.
    [[nodiscard]] std::int64_t loss(const mig::States& model, mig::StateId before, mig::StateId after) const;

    // Of the free units of a GPU in that state, what the profiles that are typical here could not take, each
    // alone, in milli-GPU.
    [[nodiscard]] std::int64_t stranded_milli(const mig::States& model, mig::StateId state) const;

  private:
    struct Prices {
        std::shared_ptr<const mig::States> model;
        std::vector<std::int64_t> of_room;  // by profile
        std::vector<std::int64_t> wanted;   // likewise, the demand that they were made from
        std::int64_t of_empty_gpu = 0;
    };

    std::vector<Prices> prices_;
};

}  // namespace nos
