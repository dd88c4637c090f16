#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "abi.h"
#include "configuration.h"

namespace nos::nvml_sim {

struct GpuState {
    bool mig = false, mig_pending = false, lost = false;
    std::uint64_t epoch = 0;  // grows with each reset: older handles are stale
    unsigned utilization = 0, memory_utilization = 0;
};

struct GpuInstance {
    unsigned gpu, id, profile_id, start, size;
    std::uint64_t serial;
};

struct ComputeInstance {
    unsigned gpu, gpu_instance, id, profile_id, start, size;
    unsigned index;  // among the GPU's MIG devices; kept for life, so that those that go leave holes
    std::uint64_t serial;
    std::string uuid;
};

struct Process {
    unsigned gpu, pid, mib;
    unsigned gpu_instance, compute_instance;  // no_id where the GPU is not cut
};

struct Event {
    std::uint64_t serial;
    unsigned gpu;
    std::uint64_t type, data;
    unsigned gpu_instance, compute_instance;
};

enum class Kill : std::uint8_t { never, before, after };

// What happens to calls of a function: the first `skip` pass, the next `count` are hit, the rest pass.
struct Fault {
    static constexpr unsigned forever = 0xFFFFFFFF;

    std::string function;
    unsigned skip, count;
    Return result;
    unsigned delay_ms;
    Kill kill;
};

// All that changes, of all GPUs, shared by the processes that use the simulated driver. nos.testbed.nvml_sim
// reads and edits the same text.
struct State {
    std::uint64_t serial = 0;  // the last one used, for handles, UUIDs and events: never used again
    bool permitted = true;
    std::vector<GpuState> gpus;
    std::vector<GpuInstance> gpu_instances;
    std::vector<ComputeInstance> compute_instances;
    std::vector<Process> processes;
    std::vector<Event> events;
    std::vector<Fault> faults;

    [[nodiscard]] const GpuInstance* find_gpu_instance(unsigned gpu, unsigned id) const;
    [[nodiscard]] const ComputeInstance* find_compute_instance(unsigned gpu, unsigned gpu_instance,
                                                               unsigned id) const;
};

// Throws std::invalid_argument.
State parse_state(std::string_view text, const Configuration& configuration);
std::string format_state(const State& state);

// What a machine shows after its first boot.
State initial_state(const Configuration& configuration);

}  // namespace nos::nvml_sim
