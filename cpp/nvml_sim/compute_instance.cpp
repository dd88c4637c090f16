// Compute instances: a GPU instance is usable once it has one.
#include <algorithm>
#include <span>
#include <vector>

#include "abi.h"
#include "driver.h"
#include "handles.h"
#include "partition.h"

namespace {

using namespace nos::nvml_sim;  // NOLINT(google-build-using-namespace)

// One that is offered in this GPU instance. Engines are always shared: there is no other engine profile.
const ComputeProfile& profile_by_enum(const Configuration& configuration, const GpuInstance& gi,
                                      unsigned enumerator, unsigned engines) {
    if (enumerator >= compute_profile_enums || engines != 0) {
        throw Refusal{Return::invalid_argument};
    }
    const auto& profiles = configuration.compute_profiles;
    const auto found = std::ranges::find(profiles, enumerator, &ComputeProfile::enumerator);
    if (found == profiles.end() || found->slices > profile_of(configuration, gi).slices) {
        throw Refusal{Return::not_supported};
    }
    return *found;
}

const ComputeProfile& profile_by_id(const Configuration& configuration, const GpuInstance& gi, unsigned id) {
    const ComputeProfile* const found = find_compute_profile(configuration, id);
    if (found == nullptr || found->slices > profile_of(configuration, gi).slices) {
        throw Refusal{Return::invalid_argument};
    }
    return *found;
}

// A printed name where `Info` has room for one.
template <class Info>
void fill(Info& info, const Profile& whole, const ComputeProfile& profile) {
    info.id = profile.id;
    info.slices = profile.slices;
    info.instances = whole.slices / profile.slices;
    info.multiprocessors = whole.multiprocessors * profile.slices / whole.slices;
    info.copy_engines = whole.engines.copy;
    info.decoders = whole.engines.decoder;
    info.encoders = whole.engines.encoder;
    info.jpegs = whole.engines.jpeg;
    info.ofas = whole.engines.ofa;
    if constexpr (requires { info.name; }) {
        info.name = {};
        copy_text("MIG " + mig_name(whole, profile), info.name.data(), info.name.size());
    }
    if constexpr (requires { info.capabilities; }) {
        info.capabilities = 0;
    }
}

bool inside(const ComputeInstance& ci, const GpuInstance& gi) {
    return ci.gpu == gi.gpu && ci.gpu_instance == gi.id;
}

// The lowest number that `taken` denies.
template <class Taken>
unsigned lowest_free(const Taken& taken) {
    unsigned number = 0;
    while (taken(number)) {
        ++number;
    }
    return number;
}

ComputeInstanceHandle create(const Configuration& configuration, State& state, const GpuInstance& gi,
                             const ComputeProfile& profile, unsigned start) {
    const auto& existing = state.compute_instances;
    const unsigned id = lowest_free([&](unsigned number) {
        return std::ranges::any_of(existing,
                                   [&](const auto& ci) { return inside(ci, gi) && ci.id == number; });
    });
    const unsigned index = lowest_free([&](unsigned number) {
        return std::ranges::any_of(existing,
                                   [&](const auto& ci) { return ci.gpu == gi.gpu && ci.index == number; });
    });
    const std::uint64_t serial = ++state.serial;
    state.compute_instances.push_back({gi.gpu, gi.id, id, profile.id, start, profile.slices, index, serial,
                                       mig_uuid(configuration.gpus[gi.gpu].uuid, serial)});
    return handle_of(state.compute_instances.back());
}

}  // namespace

NOS_NVML_EXPORT Return nvmlGpuInstanceGetComputeInstanceProfileInfo(GpuInstanceHandle instance,
                                                                    unsigned enumerator, unsigned engines,
                                                                    ComputeProfileInfo* info) {
    return read("nvmlGpuInstanceGetComputeInstanceProfileInfo",
                [=](const Configuration& c, const State& state) {
                    const GpuInstance& gi = resolve(state, instance);
                    fill(required(info), profile_of(c, gi), profile_by_enum(c, gi, enumerator, engines));
                });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceGetComputeInstanceProfileInfoV(GpuInstanceHandle instance,
                                                                     unsigned enumerator, unsigned engines,
                                                                     void* info) {
    return read("nvmlGpuInstanceGetComputeInstanceProfileInfo",
                [=](const Configuration& c, const State& state) {
                    const GpuInstance& gi = resolve(state, instance);
                    const ComputeProfile& profile = profile_by_enum(c, gi, enumerator, engines);
                    const unsigned version = required(static_cast<const unsigned*>(info));
                    if (version == version_of<ComputeProfileInfoV2>(2)) {
                        fill(*static_cast<ComputeProfileInfoV2*>(info), profile_of(c, gi), profile);
                    } else if (version == version_of<ComputeProfileInfoV3>(3)) {
                        fill(*static_cast<ComputeProfileInfoV3*>(info), profile_of(c, gi), profile);
                    } else {
                        throw Refusal{Return::argument_version_mismatch};
                    }
                });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceGetComputeInstanceRemainingCapacity(GpuInstanceHandle instance,
                                                                          unsigned id, unsigned* count) {
    return read("nvmlGpuInstanceGetComputeInstanceRemainingCapacity",
                [=](const Configuration& c, const State& state) {
                    const GpuInstance& gi = resolve(state, instance);
                    require_permission(state);
                    const ComputeProfile& profile = profile_by_id(c, gi, id);
                    unsigned end = 0;
                    unsigned fitting = 0;
                    for (const unsigned start : free_compute_starts(c, state, gi, profile)) {
                        if (start < end) {
                            continue;
                        }
                        end = start + profile.slices;
                        ++fitting;
                    }
                    required(count) = fitting;
                });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceGetComputeInstancePossiblePlacements(GpuInstanceHandle instance,
                                                                           unsigned id, Placement* placements,
                                                                           unsigned* count) {
    return read("nvmlGpuInstanceGetComputeInstancePossiblePlacements",
                [=](const Configuration& c, const State& state) {
                    const GpuInstance& gi = resolve(state, instance);
                    require_permission(state);
                    const ComputeProfile& profile = profile_by_id(c, gi, id);
                    const std::size_t places = profile_of(c, gi).slices - profile.slices + 1;
                    required(count) = static_cast<unsigned>(places);
                    if (placements == nullptr) {
                        return;
                    }
                    std::ranges::generate(std::span(placements, places), [start = 0U, &profile]() mutable {
                        return Placement{start++, profile.slices};
                    });
                });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceCreateComputeInstance(GpuInstanceHandle instance, unsigned id,
                                                            ComputeInstanceHandle* created) {
    return edit("nvmlGpuInstanceCreateComputeInstance", [=](const Configuration& c, State& state) {
        const GpuInstance& gi = resolve(state, instance);
        require_permission(state);
        const ComputeProfile& profile = profile_by_id(c, gi, id);
        const std::vector<unsigned> starts = free_compute_starts(c, state, gi, profile);
        if (starts.empty()) {
            throw Refusal{Return::insufficient_resources};
        }
        required(created) = create(c, state, gi, profile, starts.front());
    });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceCreateComputeInstanceWithPlacement(GpuInstanceHandle instance,
                                                                         unsigned id,
                                                                         const Placement* placement,
                                                                         ComputeInstanceHandle* created) {
    return edit("nvmlGpuInstanceCreateComputeInstanceWithPlacement",
                [=](const Configuration& c, State& state) {
                    const GpuInstance& gi = resolve(state, instance);
                    require_permission(state);
                    const ComputeProfile& profile = profile_by_id(c, gi, id);
                    const auto [start, size] = required(placement);
                    if (size != profile.slices || start + size > profile_of(c, gi).slices) {
                        throw Refusal{Return::invalid_argument};
                    }
                    const std::vector<unsigned> starts = free_compute_starts(c, state, gi, profile);
                    if (std::ranges::find(starts, start) == starts.end()) {
                        throw Refusal{Return::insufficient_resources};
                    }
                    required(created) = create(c, state, gi, profile, start);
                });
}

NOS_NVML_EXPORT Return nvmlComputeInstanceDestroy(ComputeInstanceHandle instance) {
    return edit("nvmlComputeInstanceDestroy", [=](const Configuration&, State& state) {
        const ComputeInstance ci = resolve(state, instance);
        require_permission(state);
        const bool busy = std::ranges::any_of(state.processes, [&ci](const Process& process) {
            return process.gpu == ci.gpu && process.gpu_instance == ci.gpu_instance &&
                   process.compute_instance == ci.id;
        });
        if (busy) {
            throw Refusal{Return::in_use};
        }
        std::erase_if(state.compute_instances, [&](const auto& other) { return other.serial == ci.serial; });
    });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceGetComputeInstances(GpuInstanceHandle instance, unsigned id,
                                                          ComputeInstanceHandle* instances, unsigned* count) {
    return read("nvmlGpuInstanceGetComputeInstances", [=](const Configuration& c, const State& state) {
        const GpuInstance& gi = resolve(state, instance);
        require_permission(state);
        profile_by_id(c, gi, id);
        std::vector<ComputeInstanceHandle> found;
        for (const ComputeInstance& ci : state.compute_instances) {
            if (inside(ci, gi) && ci.profile_id == id) {
                found.push_back(handle_of(ci));
            }
        }
        required(count) = static_cast<unsigned>(found.size());
        std::ranges::copy(found, std::span(&required(instances), found.size()).begin());
    });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceGetComputeInstanceById(GpuInstanceHandle instance, unsigned id,
                                                             ComputeInstanceHandle* found) {
    return read("nvmlGpuInstanceGetComputeInstanceById", [=](const Configuration&, const State& state) {
        const GpuInstance& gi = resolve(state, instance);
        require_permission(state);
        const ComputeInstance* const ci = state.find_compute_instance(gi.gpu, gi.id, id);
        if (ci == nullptr) {
            throw Refusal{Return::not_found};
        }
        required(found) = handle_of(*ci);
    });
}

NOS_NVML_EXPORT Return nvmlComputeInstanceGetInfo_v2(ComputeInstanceHandle instance,
                                                     ComputeInstanceInfo* info) {
    return read("nvmlComputeInstanceGetInfo", [=](const Configuration&, const State& state) {
        const ComputeInstance& ci = resolve(state, instance);
        const GpuInstance& gi = *state.find_gpu_instance(ci.gpu, ci.gpu_instance);
        required(info) = {device_handle(ci), handle_of(gi), ci.id, ci.profile_id, {ci.start, ci.size}};
    });
}
