// How the GPUs of one node are cut, and for whom.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "few.h"
#include "id.h"
#include "spec.h"

namespace nos {

// A placement on one GPU slot of a node.
struct Held {
    std::uint16_t gpu = 0;
    mig::Placement placement;

    auto operator<=>(const Held&) const = default;
};

using Instances = Few<Held, 4>;  // of one Pod

struct Claim {
    mig::Placement placement;
    PodId pod;  // invalid: a stranger, whom the agent saw there and who is on no record here

    bool operator==(const Claim&) const = default;
};

// What Pods take of one GPU. Instances that exist and are free take nothing: they may be destroyed.
struct Cut {
    mig::StateId state = 0;  // of the claims
    bool closed = false;     // no more can be cut from it: taken whole or in shares, withheld, or not able
    bool withheld = false;   // nobody here has any of it, and nobody gets it: a stranger does, or it is unfit
    Few<Claim, 8> claims;

    bool operator==(const Cut&) const = default;
};

// What a GPU is to become: its claims, and of the free instances those that do not stand in their way. One
// that is not healthy, or cannot be cut, stays as it is.
struct Target {
    bool mig = false;
    std::vector<mig::Placement> instances;  // ascending

    bool operator==(const Target&) const = default;
};

Target target(const GpuSpec& gpu, const Cut& cut, bool taken_whole);

// The number of the profile that is requested in this model.
std::optional<std::size_t> find_profile(const mig::States& model, const ProfileRequest& request);

// An instance for a request, on one of several GPUs.
struct Option {
    Held held;
    mig::StateId after = 0;
    std::int64_t cost = 0;
};

// What a placement costs there; of options with equal costs the first slot and start are taken.
using CostOf = std::function<std::int64_t(Held held, mig::StateId before, mig::StateId after)>;

// How much of what exists on the GPU an instance there would change: nothing, nothing once it is made, free
// space, free instances, its mode.
std::int64_t disturbance(const GpuSpec& gpu, mig::Placement placement);
// The same for taking it whole: nothing, nothing once it is handed out, its mode, free instances too.
std::int64_t whole_disturbance(const GpuSpec& gpu);

// Places for all these on these GPUs, found by taking the cheapest options first; the sum of their costs.
// Nothing when they do not fit. Exact about that.
struct Fit {
    Instances instances;
    std::int64_t cost = 0;
};
std::optional<Fit> fit_profiles(std::span<const ProfileRequest> requests, const NodeSpec& node,
                                const std::vector<Cut>& cuts, const CostOf& cost_of);

// How many instances of one profile would fit on the node now, or if it were empty.
std::int64_t profile_room(const ProfileRequest& request, const NodeSpec& node, const std::vector<Cut>& cuts);
std::int64_t profile_capacity(const ProfileRequest& request, const NodeSpec& node);

}  // namespace nos
