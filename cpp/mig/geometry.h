// The multisets of profiles that fit on one GPU together.
#pragma once

#include <cstdint>
#include <vector>

#include "states.h"

namespace nos::mig {

// How many instances of each profile of the model.
using Geometry = std::vector<std::int32_t>;

// All that fit, the empty one too, in ascending order. maximal: only those to which no instance could be
// added, wherever the others lay.
std::vector<Geometry> geometries(const States& states, bool maximal);

}  // namespace nos::mig
