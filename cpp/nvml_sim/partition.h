#pragma once

#include <optional>
#include <string>
#include <vector>

#include "configuration.h"
#include "state.h"

namespace nos::nvml_sim {

// The driver's rules for cutting a GPU, and a GPU instance in turn.

const Profile* find_profile(const Model& model, unsigned id);
const Profile& profile_of(const Configuration& configuration, const GpuInstance& gi);
const ComputeProfile* find_compute_profile(const Configuration& configuration, unsigned id);

// Whether one more of `profile` may start there, beside all that is on the GPU.
bool fits(const Configuration& configuration, const State& state, unsigned gpu, const Profile& profile,
          unsigned start);

// Where the driver puts one if it is not told.
std::optional<unsigned> choose_start(const Configuration& configuration, const State& state, unsigned gpu,
                                     const Profile& profile);

// How many more of this profile fit.
unsigned remaining(const Configuration& configuration, const State& state, unsigned gpu,
                   const Profile& profile);

// Not in sequence: the place's number in a tree over the GPU's units, as seen on hardware (7 + start for the
// smallest).
unsigned gpu_instance_id(const Model& model, const Profile& profile, unsigned start);

// The starts within a GPU instance, in compute slices, that are free for one more compute instance.
std::vector<unsigned> free_compute_starts(const Configuration& configuration, const State& state,
                                          const GpuInstance& gi, const ComputeProfile& profile);

// "3g.20gb", and "1c.3g.20gb" for a part of it.
std::string mig_name(const Profile& profile, const ComputeProfile& compute);

// "MIG-" and a UUID that no other serial number gives.
std::string mig_uuid(const std::string& gpu_uuid, std::uint64_t serial);

}  // namespace nos::nvml_sim
