// Finding devices, whole GPUs and MIG devices alike, and what they are.
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include "abi.h"
#include "driver.h"
#include "handles.h"
#include "partition.h"

namespace {

using namespace nos::nvml_sim;  // NOLINT(google-build-using-namespace)

void copy_bus_id(std::string_view id, auto& buffer) { copy_text(id, buffer.data(), buffer.size()); }

PciInfo pci_info(const Configuration& configuration, unsigned gpu) {
    const std::string& id = configuration.gpus[gpu].pci_bus_id;  // 00000000:07:00.0
    const auto hexadecimal = [&id](std::size_t from, std::size_t count) {
        return static_cast<unsigned>(std::stoul(id.substr(from, count), nullptr, 16));
    };
    PciInfo info{};
    info.domain = hexadecimal(0, 8);
    info.bus = hexadecimal(9, 2);
    info.device = hexadecimal(12, 2);
    info.pci_device_id = configuration.model_of(gpu).pci_device;
    copy_bus_id(id, info.bus_id);
    copy_bus_id(std::string_view(id).substr(4), info.bus_id_legacy);
    return info;
}

std::string name_of(const Configuration& configuration, const State& state, const Target& target) {
    const std::string& product = configuration.model_of(target.gpu).name;
    if (target.mig == nullptr) {
        return product;
    }
    const GpuInstance& gi = *state.find_gpu_instance(target.gpu, target.mig->gpu_instance);
    return product + " MIG " +
           mig_name(profile_of(configuration, gi),
                    *find_compute_profile(configuration, target.mig->profile_id));
}

// A lost GPU hides every answer but the one that was looked for.
void require_none_lost(const State& state) {
    if (std::ranges::any_of(state.gpus, &GpuState::lost)) {
        throw Refusal{Return::gpu_is_lost};
    }
}

Device find_by_uuid(const Configuration& configuration, const State& state, std::string_view uuid) {
    for (unsigned gpu = 0; gpu < configuration.gpus.size(); ++gpu) {
        if (configuration.gpus[gpu].uuid == uuid && !state.gpus[gpu].lost) {
            return device_handle(state, gpu);
        }
    }
    for (const ComputeInstance& ci : state.compute_instances) {
        if (ci.uuid == uuid && !state.gpus[ci.gpu].lost) {
            return device_handle(ci);
        }
    }
    require_none_lost(state);
    throw Refusal{Return::not_found};
}

Device find_by_pci(const Configuration& configuration, const State& state, std::string_view id) {
    for (unsigned gpu = 0; gpu < configuration.gpus.size(); ++gpu) {
        if (!configuration.gpus[gpu].pci_bus_id.ends_with(id)) {
            continue;
        }
        if (state.gpus[gpu].lost) {
            throw Refusal{Return::gpu_is_lost};
        }
        return device_handle(state, gpu);
    }
    throw Refusal{Return::not_found};
}

}  // namespace

NOS_NVML_EXPORT Return nvmlDeviceGetCount_v2(unsigned* count) {
    return read("nvmlDeviceGetCount", [=](const Configuration& c, const State&) {
        required(count) = static_cast<unsigned>(c.gpus.size());
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device* device) {
    return read("nvmlDeviceGetHandleByIndex", [=](const Configuration&, const State& state) {
        if (index >= state.gpus.size()) {
            throw Refusal{Return::invalid_argument};
        }
        if (state.gpus[index].lost) {
            throw Refusal{Return::gpu_is_lost};
        }
        required(device) = device_handle(state, index);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetHandleByUUID(const char* uuid, Device* device) {
    return read("nvmlDeviceGetHandleByUUID", [=](const Configuration& c, const State& state) {
        required(device) = find_by_uuid(c, state, &required(uuid));
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetHandleByPciBusId_v2(const char* id, Device* device) {
    return read("nvmlDeviceGetHandleByPciBusId", [=](const Configuration& c, const State& state) {
        required(device) = find_by_pci(c, state, &required(id));
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetName(Device device, char* name, unsigned length) {
    return read("nvmlDeviceGetName", [=](const Configuration& c, const State& state) {
        copy_text(name_of(c, state, resolve(state, device)), name, length);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetUUID(Device device, char* uuid, unsigned length) {
    return read("nvmlDeviceGetUUID", [=](const Configuration& c, const State& state) {
        const Target target = resolve(state, device);
        copy_text(target.mig != nullptr ? target.mig->uuid : c.gpus[target.gpu].uuid, uuid, length);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetIndex(Device device, unsigned* index) {
    return read("nvmlDeviceGetIndex", [=](const Configuration&, const State& state) {
        const Target target = resolve(state, device);
        required(index) = target.mig != nullptr ? target.mig->index : target.gpu;
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetMinorNumber(Device device, unsigned* minor) {
    return read("nvmlDeviceGetMinorNumber", [=](const Configuration&, const State& state) {
        required(minor) = resolve_gpu(state, device);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetSerial(Device device, char* serial, unsigned length) {
    return read("nvmlDeviceGetSerial", [=](const Configuration&, const State& state) {
        constexpr unsigned long first = 1560000000;
        copy_text(std::to_string(first + resolve_gpu(state, device)), serial, length);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetPciInfo_v3(Device device, PciInfo* info) {
    return read("nvmlDeviceGetPciInfo", [=](const Configuration& c, const State& state) {
        required(info) = pci_info(c, resolve(state, device).gpu);
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetArchitecture(Device device, unsigned* architecture) {
    return read("nvmlDeviceGetArchitecture", [=](const Configuration& c, const State& state) {
        required(architecture) = c.model_of(resolve(state, device).gpu).architecture;
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetCudaComputeCapability(Device device, int* major, int* minor) {
    return read("nvmlDeviceGetCudaComputeCapability", [=](const Configuration& c, const State& state) {
        const Model& model = c.model_of(resolve(state, device).gpu);
        required(major) = static_cast<int>(model.compute_major);
        required(minor) = static_cast<int>(model.compute_minor);
    });
}
