// MIG mode, and the MIG devices of a GPU.
#include <algorithm>

#include "abi.h"
#include "driver.h"
#include "handles.h"
#include "partition.h"

namespace {

using namespace nos::nvml_sim;  // NOLINT(google-build-using-namespace)

// The mode becomes the one wanted, or stays pending; success of the call says only that it was noted.
Return switch_mode(const Gpu& gpu, Mig how, unsigned index, State& state) {
    GpuState& now = state.gpus[index];
    if (now.mig == now.mig_pending) {
        return Return::success;
    }
    const auto concerns = [index](const auto& thing) { return thing.gpu == index; };
    if (std::ranges::any_of(state.processes, concerns) ||
        std::ranges::any_of(state.gpu_instances, concerns)) {
        return Return::in_use;
    }
    if (how == Mig::by_reset) {
        if (gpu.reset_needs_reboot) {
            return Return::reset_required;
        }
        now.epoch = ++state.serial;  // whoever holds a handle must ask for another
    }
    now.mig = now.mig_pending;
    return Return::success;
}

Attributes attributes_of(const Configuration& configuration, const State& state, const ComputeInstance& ci) {
    const Profile& profile = profile_of(configuration, *state.find_gpu_instance(ci.gpu, ci.gpu_instance));
    return {.multiprocessors = profile.multiprocessors * ci.size / profile.slices,
            .copy_engines = profile.engines.copy,
            .decoders = profile.engines.decoder,
            .encoders = profile.engines.encoder,
            .jpegs = profile.engines.jpeg,
            .ofas = profile.engines.ofa,
            .gpu_instance_slices = profile.slices,
            .compute_instance_slices = ci.size,
            .memory_mib = profile.memory_mib};
}

}  // namespace

NOS_NVML_EXPORT Return nvmlDeviceSetMigMode(Device device, unsigned mode, Return* activation) {
    return edit("nvmlDeviceSetMigMode", [=](const Configuration& c, State& state) {
        const unsigned gpu = resolve_gpu(state, device);
        const Mig how = c.model_of(gpu).mig;
        if (how == Mig::none) {
            throw Refusal{Return::not_supported};
        }
        require_permission(state);
        if (mode > 1) {
            throw Refusal{Return::invalid_argument};
        }
        state.gpus[gpu].mig_pending = mode == 1;
        required(activation) = switch_mode(c.gpus[gpu], how, gpu, state);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetMigMode(Device device, unsigned* current, unsigned* pending) {
    return read("nvmlDeviceGetMigMode", [=](const Configuration& c, const State& state) {
        const unsigned gpu = resolve_gpu(state, device);
        if (c.model_of(gpu).mig == Mig::none) {
            throw Refusal{Return::not_supported};
        }
        required(current) = state.gpus[gpu].mig ? 1 : 0;
        required(pending) = state.gpus[gpu].mig_pending ? 1 : 0;
    });
}

NOS_NVML_EXPORT Return nvmlDeviceIsMigDeviceHandle(Device device, unsigned* is_mig) {
    return read("nvmlDeviceIsMigDeviceHandle", [=](const Configuration&, const State& state) {
        required(is_mig) = resolve(state, device).mig != nullptr ? 1 : 0;
    });
}

// Zero where MIG mode is off.
NOS_NVML_EXPORT Return nvmlDeviceGetMaxMigDeviceCount(Device device, unsigned* count) {
    return read("nvmlDeviceGetMaxMigDeviceCount", [=](const Configuration& c, const State& state) {
        const unsigned gpu = resolve_gpu(state, device);
        required(count) = state.gpus[gpu].mig ? c.model_of(gpu).slices : 0;
    });
}

// NOT_FOUND is a hole: there may be more behind it.
NOS_NVML_EXPORT Return nvmlDeviceGetMigDeviceHandleByIndex(Device device, unsigned index, Device* mig) {
    return read("nvmlDeviceGetMigDeviceHandleByIndex", [=](const Configuration& c, const State& state) {
        const unsigned gpu = resolve_gpu(state, device);
        if (c.model_of(gpu).mig == Mig::none) {
            throw Refusal{Return::not_supported};
        }
        if (index >= c.model_of(gpu).slices) {
            throw Refusal{Return::invalid_argument};
        }
        const auto found = std::ranges::find_if(state.compute_instances, [=](const ComputeInstance& ci) {
            return ci.gpu == gpu && ci.index == index;
        });
        if (found == state.compute_instances.end()) {
            throw Refusal{Return::not_found};
        }
        required(mig) = device_handle(*found);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device mig, Device* device) {
    return read("nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
                [=](const Configuration&, const State& state) {
                    required(device) = device_handle(state, resolve_mig(state, mig).gpu);
                });
}

NOS_NVML_EXPORT Return nvmlDeviceGetGpuInstanceId(Device mig, unsigned* id) {
    return read("nvmlDeviceGetGpuInstanceId", [=](const Configuration&, const State& state) {
        required(id) = resolve_mig(state, mig).gpu_instance;
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetComputeInstanceId(Device mig, unsigned* id) {
    return read("nvmlDeviceGetComputeInstanceId",
                [=](const Configuration&, const State& state) { required(id) = resolve_mig(state, mig).id; });
}

NOS_NVML_EXPORT Return nvmlDeviceGetAttributes_v2(Device device, Attributes* attributes) {
    return read("nvmlDeviceGetAttributes", [=](const Configuration& c, const State& state) {
        const Target target = resolve(state, device);
        if (target.mig == nullptr) {
            throw Refusal{Return::not_supported};
        }
        required(attributes) = attributes_of(c, state, *target.mig);
    });
}
