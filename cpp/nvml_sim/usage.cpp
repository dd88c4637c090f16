// What devices are doing: memory, utilisation, processes, sensors.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "abi.h"
#include "driver.h"
#include "handles.h"
#include "partition.h"

namespace {

using namespace nos::nvml_sim;  // NOLINT(google-build-using-namespace)

constexpr std::uint64_t mib = 1U << 20U;
constexpr unsigned celsius = 35;
constexpr unsigned milliwatts = 65'000;
constexpr unsigned field_memory_temperature = 82;
constexpr unsigned field_power_average = 185;
constexpr unsigned field_power_instant = 186;
constexpr unsigned field_end = 308;

// On a whole GPU all processes, its instances' too.
std::vector<Process> processes_on(const State& state, const Target& target) {
    std::vector<Process> result;
    std::ranges::copy_if(state.processes, std::back_inserter(result), [&](const Process& process) {
        return process.gpu == target.gpu &&
               (target.mig == nullptr || (process.gpu_instance == target.mig->gpu_instance &&
                                          process.compute_instance == target.mig->id));
    });
    return result;
}

// A MIG device's memory is its GPU instance's, which the compute instances share.
Memory memory_of(const Configuration& configuration, const State& state, const Target& target) {
    std::uint64_t total = configuration.model_of(target.gpu).memory_mib;
    if (target.mig != nullptr) {
        total = profile_of(configuration, *state.find_gpu_instance(target.gpu, target.mig->gpu_instance))
                    .memory_mib;
    }
    std::uint64_t used = 0;
    for (const Process& process : state.processes) {
        const bool here = target.mig == nullptr || process.gpu_instance == target.mig->gpu_instance;
        if (process.gpu == target.gpu && here) {
            used += process.mib;
        }
    }
    used = std::min(used, total);
    return {total * mib, (total - used) * mib, used * mib};
}

Return list_processes(const char* function, Device device, unsigned* count, ProcessInfo* infos, bool any) {
    Return too_small = Return::success;
    const Return result = read(function, [&](const Configuration&, const State& state) {
        std::vector<Process> processes = processes_on(state, resolve(state, device));
        if (!any) {
            processes.clear();
        }
        const unsigned room = required(count);
        *count = static_cast<unsigned>(processes.size());
        if (processes.empty()) {
            return;
        }
        if (infos == nullptr || room < processes.size()) {
            too_small = Return::insufficient_size;
            return;
        }
        std::ranges::transform(processes, std::span(infos, room).begin(), [](const Process& process) {
            return ProcessInfo{process.pid, process.mib * mib, process.gpu_instance,
                               process.compute_instance};
        });
    });
    return result == Return::success ? too_small : result;
}

void read_field(FieldValue& field, bool whole_gpu) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    field.timestamp = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
    field.latency_usec = 0;
    constexpr unsigned unsigned_int = 1;
    field.value_type = unsigned_int;
    field.result = Return::success;
    if (field.field_id == 0 || field.field_id >= field_end) {
        field.result = Return::invalid_argument;
    } else if (whole_gpu && field.field_id == field_memory_temperature) {
        field.value = celsius;
    } else if (whole_gpu &&
               (field.field_id == field_power_average || field.field_id == field_power_instant)) {
        field.value = milliwatts;
    } else {
        field.result = Return::not_supported;
    }
}

}  // namespace

NOS_NVML_EXPORT Return nvmlDeviceGetMemoryInfo(Device device, Memory* memory) {
    return read("nvmlDeviceGetMemoryInfo", [=](const Configuration& c, const State& state) {
        required(memory) = memory_of(c, state, resolve(state, device));
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2* memory) {
    return read("nvmlDeviceGetMemoryInfo", [=](const Configuration& c, const State& state) {
        if (required(memory).version != version_of<MemoryV2>(2)) {
            throw Refusal{Return::argument_version_mismatch};
        }
        const Memory plain = memory_of(c, state, resolve(state, device));
        *memory = {memory->version, plain.total, 0, plain.free, plain.used};
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetUtilizationRates(Device device, Utilization* utilization) {
    return read("nvmlDeviceGetUtilizationRates", [=](const Configuration&, const State& state) {
        const Target target = resolve(state, device);
        const GpuState& gpu = state.gpus[target.gpu];
        if (target.mig != nullptr || gpu.mig) {
            throw Refusal{Return::not_supported};
        }
        required(utilization) = {gpu.utilization, gpu.memory_utilization};
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetComputeRunningProcesses_v2(Device device, unsigned* count,
                                                               ProcessInfo* infos) {
    return list_processes("nvmlDeviceGetComputeRunningProcesses", device, count, infos, true);
}

NOS_NVML_EXPORT Return nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned* count,
                                                               ProcessInfo* infos) {
    return list_processes("nvmlDeviceGetComputeRunningProcesses", device, count, infos, true);
}

NOS_NVML_EXPORT Return nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned* count,
                                                                ProcessInfo* infos) {
    return list_processes("nvmlDeviceGetGraphicsRunningProcesses", device, count, infos, false);
}

NOS_NVML_EXPORT Return nvmlDeviceGetMPSComputeRunningProcesses_v3(Device device, unsigned* count,
                                                                  ProcessInfo* infos) {
    return list_processes("nvmlDeviceGetMPSComputeRunningProcesses", device, count, infos, false);
}

NOS_NVML_EXPORT Return nvmlDeviceGetTemperature(Device device, unsigned sensor, unsigned* temperature) {
    return read("nvmlDeviceGetTemperature", [=](const Configuration&, const State& state) {
        resolve_gpu(state, device);
        if (sensor != 0) {
            throw Refusal{Return::invalid_argument};
        }
        required(temperature) = celsius;
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetTemperatureV(Device device, Temperature* temperature) {
    return read("nvmlDeviceGetTemperature", [=](const Configuration&, const State& state) {
        resolve_gpu(state, device);
        if (required(temperature).version != version_of<Temperature>(1)) {
            throw Refusal{Return::argument_version_mismatch};
        }
        if (temperature->sensor != 0) {
            throw Refusal{Return::invalid_argument};
        }
        temperature->celsius = celsius;
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetPowerUsage(Device device, unsigned* power) {
    return read("nvmlDeviceGetPowerUsage", [=](const Configuration&, const State& state) {
        resolve_gpu(state, device);
        required(power) = milliwatts;
    });
}

// Success says only that every entry has its own result.
NOS_NVML_EXPORT Return nvmlDeviceGetFieldValues(Device device, int count, FieldValue* values) {
    return read("nvmlDeviceGetFieldValues", [=](const Configuration&, const State& state) {
        const Target target = resolve(state, device);
        if (count <= 0) {
            throw Refusal{Return::invalid_argument};
        }
        for (FieldValue& field : std::span(&required(values), static_cast<std::size_t>(count))) {
            read_field(field, target.mig == nullptr);
        }
    });
}
