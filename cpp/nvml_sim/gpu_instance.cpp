// GPU instances: their profiles, where they may start, and their life.
#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "abi.h"
#include "driver.h"
#include "handles.h"
#include "partition.h"

namespace {

using namespace nos::nvml_sim;  // NOLINT(google-build-using-namespace)

const Profile& profile_by_enum(const Configuration& configuration, unsigned gpu, unsigned enumerator) {
    if (enumerator >= gpu_profile_enums) {
        throw Refusal{Return::invalid_argument};
    }
    const auto& profiles = configuration.model_of(gpu).profiles;
    const auto found = std::ranges::find(profiles, enumerator, &Profile::enumerator);
    if (found == profiles.end()) {
        throw Refusal{Return::not_supported};
    }
    return *found;
}

const Profile& profile_by_id(const Configuration& configuration, unsigned gpu, unsigned id) {
    if (configuration.model_of(gpu).mig == Mig::none) {
        throw Refusal{Return::not_supported};
    }
    const Profile* const found = find_profile(configuration.model_of(gpu), id);
    if (found == nullptr) {
        throw Refusal{Return::invalid_argument};
    }
    return *found;
}

// The GPU, cut or ready to be, for a caller who may cut it.
unsigned resolve_cut(const State& state, Device device) {
    const unsigned gpu = resolve_gpu(state, device);
    require_permission(state);
    if (!state.gpus[gpu].mig) {
        throw Refusal{Return::not_supported};
    }
    return gpu;
}

void describe_plain(GpuProfileInfo& info, const Profile& profile) {
    info = {.id = profile.id,
            .p2p = 0,
            .slices = profile.slices,
            .instances = profile.max_instances,
            .multiprocessors = profile.multiprocessors,
            .copy_engines = profile.engines.copy,
            .decoders = profile.engines.decoder,
            .encoders = profile.engines.encoder,
            .jpegs = profile.engines.jpeg,
            .ofas = profile.engines.ofa,
            .memory_mib = profile.memory_mib};
}

ProfileName printed_name(const Profile& profile) {
    ProfileName name{};
    copy_text("MIG " + profile.name, name.data(), name.size());
    return name;
}

// `info` is one of the versioned structs; the caller says by its first member which one it is.
void describe(void* info, const Profile& profile) {
    const unsigned version = *static_cast<const unsigned*>(&required(static_cast<unsigned*>(info)));
    if (version == version_of<GpuProfileInfoV2>(2)) {
        *static_cast<GpuProfileInfoV2*>(info) = {.version = version,
                                                 .id = profile.id,
                                                 .p2p = 0,
                                                 .slices = profile.slices,
                                                 .instances = profile.max_instances,
                                                 .multiprocessors = profile.multiprocessors,
                                                 .copy_engines = profile.engines.copy,
                                                 .decoders = profile.engines.decoder,
                                                 .encoders = profile.engines.encoder,
                                                 .jpegs = profile.engines.jpeg,
                                                 .ofas = profile.engines.ofa,
                                                 .memory_mib = profile.memory_mib,
                                                 .name = printed_name(profile)};
    } else if (version == version_of<GpuProfileInfoV3>(3)) {
        *static_cast<GpuProfileInfoV3*>(info) = {.version = version,
                                                 .id = profile.id,
                                                 .slices = profile.slices,
                                                 .instances = profile.max_instances,
                                                 .multiprocessors = profile.multiprocessors,
                                                 .copy_engines = profile.engines.copy,
                                                 .decoders = profile.engines.decoder,
                                                 .encoders = profile.engines.encoder,
                                                 .jpegs = profile.engines.jpeg,
                                                 .ofas = profile.engines.ofa,
                                                 .memory_mib = profile.memory_mib,
                                                 .name = printed_name(profile),
                                                 .capabilities = 0};
    } else {
        throw Refusal{Return::argument_version_mismatch};
    }
}

GpuInstanceHandle create(const Configuration& configuration, State& state, unsigned gpu,
                         const Profile& profile, unsigned start) {
    const unsigned id = gpu_instance_id(configuration.model_of(gpu), profile, start);
    state.gpu_instances.push_back({gpu, id, profile.id, start, profile.size, ++state.serial});
    return handle_of(state.gpu_instances.back());
}

// The driver's arrays have no size: the caller has made room for all that the profile allows.
void list(std::span<const GpuInstance> found, GpuInstanceHandle* instances, unsigned* count) {
    required(count) = static_cast<unsigned>(found.size());
    std::ranges::transform(found, std::span(&required(instances), found.size()).begin(),
                           [](const GpuInstance& gi) { return handle_of(gi); });
}

}  // namespace

NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstanceProfileInfo(Device device, unsigned enumerator,
                                                           GpuProfileInfo* info) {
    return read("nvmlDeviceGetGpuInstanceProfileInfo", [=](const Configuration& c, const State& state) {
        describe_plain(required(info), profile_by_enum(c, resolve_gpu(state, device), enumerator));
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstanceProfileInfoV(Device device, unsigned enumerator, void* info) {
    return read("nvmlDeviceGetGpuInstanceProfileInfo", [=](const Configuration& c, const State& state) {
        describe(info, profile_by_enum(c, resolve_gpu(state, device), enumerator));
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstanceProfileInfoByIdV(Device device, unsigned id, void* info) {
    return read("nvmlDeviceGetGpuInstanceProfileInfoById", [=](const Configuration& c, const State& state) {
        describe(info, profile_by_id(c, resolve_gpu(state, device), id));
    });
}

// All placements, also those that are taken. Asked with a null array for their number alone.
NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstancePossiblePlacements_v2(Device device, unsigned id,
                                                                     Placement* placements, unsigned* count) {
    return read(
        "nvmlDeviceGetGpuInstancePossiblePlacements", [=](const Configuration& c, const State& state) {
            const unsigned gpu = resolve_gpu(state, device);
            require_permission(state);
            const Profile& profile = profile_by_id(c, gpu, id);
            required(count) = static_cast<unsigned>(profile.starts.size());
            if (placements == nullptr) {
                return;
            }
            std::ranges::transform(profile.starts, std::span(placements, profile.starts.size()).begin(),
                                   [&](unsigned start) { return Placement{start, profile.size}; });
        });
}

NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstanceRemainingCapacity(Device device, unsigned id,
                                                                 unsigned* count) {
    return read("nvmlDeviceGetGpuInstanceRemainingCapacity", [=](const Configuration& c, const State& state) {
        const unsigned gpu = resolve_cut(state, device);
        required(count) = remaining(c, state, gpu, profile_by_id(c, gpu, id));
    });
}

NOS_NVML_EXPORT Return nvmlDeviceCreateGpuInstance(Device device, unsigned id, GpuInstanceHandle* instance) {
    return edit("nvmlDeviceCreateGpuInstance", [=](const Configuration& c, State& state) {
        const unsigned gpu = resolve_cut(state, device);
        const Profile& profile = profile_by_id(c, gpu, id);
        const std::optional<unsigned> start = choose_start(c, state, gpu, profile);
        if (!start) {
            throw Refusal{Return::insufficient_resources};
        }
        required(instance) = create(c, state, gpu, profile, *start);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceCreateGpuInstanceWithPlacement(Device device, unsigned id,
                                                                const Placement* placement,
                                                                GpuInstanceHandle* instance) {
    return edit("nvmlDeviceCreateGpuInstanceWithPlacement", [=](const Configuration& c, State& state) {
        const unsigned gpu = resolve_cut(state, device);
        const Profile& profile = profile_by_id(c, gpu, id);
        const auto [start, size] = required(placement);
        if (size != profile.size || std::ranges::find(profile.starts, start) == profile.starts.end()) {
            throw Refusal{Return::invalid_argument};
        }
        if (!fits(c, state, gpu, profile, start)) {
            throw Refusal{Return::insufficient_resources};
        }
        required(instance) = create(c, state, gpu, profile, start);
    });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceDestroy(GpuInstanceHandle instance) {
    return edit("nvmlGpuInstanceDestroy", [=](const Configuration&, State& state) {
        const GpuInstance gi = resolve(state, instance);
        require_permission(state);
        const auto inside = [&gi](const auto& thing) {
            return thing.gpu == gi.gpu && thing.gpu_instance == gi.id;
        };
        if (std::ranges::any_of(state.compute_instances, inside) ||
            std::ranges::any_of(state.processes, inside)) {
            throw Refusal{Return::in_use};
        }
        std::erase_if(state.gpu_instances,
                      [&](const GpuInstance& other) { return other.serial == gi.serial; });
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstances(Device device, unsigned id, GpuInstanceHandle* instances,
                                                 unsigned* count) {
    return read("nvmlDeviceGetGpuInstances", [=](const Configuration& c, const State& state) {
        const unsigned gpu = resolve_cut(state, device);
        profile_by_id(c, gpu, id);
        std::vector<GpuInstance> found;
        std::ranges::copy_if(state.gpu_instances, std::back_inserter(found),
                             [=](const GpuInstance& gi) { return gi.gpu == gpu && gi.profile_id == id; });
        list(found, instances, count);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstanceById(Device device, unsigned id, GpuInstanceHandle* instance) {
    return read("nvmlDeviceGetGpuInstanceById", [=](const Configuration&, const State& state) {
        const GpuInstance* const found = state.find_gpu_instance(resolve_cut(state, device), id);
        if (found == nullptr) {
            throw Refusal{Return::not_found};
        }
        required(instance) = handle_of(*found);
    });
}

NOS_NVML_EXPORT Return nvmlGpuInstanceGetInfo(GpuInstanceHandle instance, GpuInstanceInfo* info) {
    return read("nvmlGpuInstanceGetInfo", [=](const Configuration&, const State& state) {
        const GpuInstance& gi = resolve(state, instance);
        required(info) = {device_handle(state, gi.gpu), gi.id, gi.profile_id, {gi.start, gi.size}};
    });
}
