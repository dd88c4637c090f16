#include "handles.h"

#include <algorithm>

namespace nos::nvml_sim {
namespace {

enum class Kind : std::uint8_t { none, gpu, mig, gpu_instance, compute_instance };

struct Parts {
    Kind kind;
    unsigned gpu;
    std::uint64_t serial;
};

constexpr unsigned kind_shift = 56;
constexpr unsigned gpu_shift = 40;
constexpr std::uint64_t serial_mask = (std::uint64_t{1} << gpu_shift) - 1;

std::uint64_t join(Kind kind, unsigned gpu, std::uint64_t serial) {
    return (std::uint64_t{static_cast<std::uint8_t>(kind)} << kind_shift) |
           (std::uint64_t{gpu} << gpu_shift) | (serial & serial_mask);
}

Parts split(std::uint64_t handle) {
    return {static_cast<Kind>(handle >> kind_shift), static_cast<unsigned>((handle >> gpu_shift) & 0xFFFFU),
            handle & serial_mask};
}

void require_present(const State& state, unsigned gpu) {
    if (state.gpus[gpu].lost) {
        throw Refusal{Return::gpu_is_lost};
    }
}

template <class Instance>
const Instance& find_serial(const std::vector<Instance>& instances, std::uint64_t serial) {
    const auto found = std::ranges::find(instances, serial, &Instance::serial);
    if (found == instances.end()) {
        throw Refusal{Return::invalid_argument};
    }
    return *found;
}

}  // namespace

Device device_handle(const State& state, unsigned gpu) {
    return Device{join(Kind::gpu, gpu, state.gpus[gpu].epoch)};
}

Device device_handle(const ComputeInstance& mig) { return Device{join(Kind::mig, mig.gpu, mig.serial)}; }

GpuInstanceHandle handle_of(const GpuInstance& gi) {
    return GpuInstanceHandle{join(Kind::gpu_instance, gi.gpu, gi.serial)};
}

ComputeInstanceHandle handle_of(const ComputeInstance& ci) {
    return ComputeInstanceHandle{join(Kind::compute_instance, ci.gpu, ci.serial)};
}

Target resolve(const State& state, Device handle) {
    const Parts parts = split(static_cast<std::uint64_t>(handle));
    if (parts.gpu >= state.gpus.size()) {
        throw Refusal{Return::invalid_argument};
    }
    if (parts.kind == Kind::gpu) {
        require_present(state, parts.gpu);
        if (parts.serial != state.gpus[parts.gpu].epoch) {
            throw Refusal{Return::invalid_argument};
        }
        return {parts.gpu, nullptr};
    }
    if (parts.kind != Kind::mig) {
        throw Refusal{Return::invalid_argument};
    }
    require_present(state, parts.gpu);
    return {parts.gpu, &find_serial(state.compute_instances, parts.serial)};
}

unsigned resolve_gpu(const State& state, Device handle) {
    const Target target = resolve(state, handle);
    if (target.mig != nullptr) {
        throw Refusal{Return::invalid_argument};
    }
    return target.gpu;
}

const ComputeInstance& resolve_mig(const State& state, Device handle) {
    const Target target = resolve(state, handle);
    if (target.mig == nullptr) {
        throw Refusal{Return::invalid_argument};
    }
    return *target.mig;
}

const GpuInstance& resolve(const State& state, GpuInstanceHandle handle) {
    const Parts parts = split(static_cast<std::uint64_t>(handle));
    if (parts.kind != Kind::gpu_instance) {
        throw Refusal{Return::invalid_argument};
    }
    const GpuInstance& found = find_serial(state.gpu_instances, parts.serial);
    require_present(state, found.gpu);
    return found;
}

const ComputeInstance& resolve(const State& state, ComputeInstanceHandle handle) {
    const Parts parts = split(static_cast<std::uint64_t>(handle));
    if (parts.kind != Kind::compute_instance) {
        throw Refusal{Return::invalid_argument};
    }
    const ComputeInstance& found = find_serial(state.compute_instances, parts.serial);
    require_present(state, found.gpu);
    return found;
}

void require_permission(const State& state) {
    if (!state.permitted) {
        throw Refusal{Return::no_permission};
    }
}

}  // namespace nos::nvml_sim
