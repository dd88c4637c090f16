#pragma once

#include <array>
#include <cstdint>

// NVML's binary interface, as far as it is simulated: return codes, constants, handles and structs, laid out
// as the driver's callers have them. A handle is a number where NVML has a pointer to something opaque: both
// travel alike.

#define NOS_NVML_EXPORT extern "C" __attribute__((visibility("default")))

namespace nos::nvml_sim {

// NOLINTNEXTLINE(performance-enum-size): as wide as NVML's
enum class Return : unsigned {
    success = 0,
    uninitialized = 1,
    invalid_argument = 2,
    not_supported = 3,
    no_permission = 4,
    not_found = 6,
    insufficient_size = 7,
    driver_not_loaded = 9,
    timeout = 10,
    gpu_is_lost = 15,
    reset_required = 16,
    in_use = 19,
    insufficient_resources = 23,
    argument_version_mismatch = 25,
    unknown = 999,
};

enum class Device : std::uint64_t {};
enum class GpuInstanceHandle : std::uint64_t {};
enum class ComputeInstanceHandle : std::uint64_t {};
enum class EventSetHandle : std::uint64_t {};

constexpr unsigned no_id = 0xFFFFFFFF;  // "not of an instance" in processes and events
constexpr unsigned gpu_profile_enums = 0x12;
constexpr unsigned compute_profile_enums = 0x9;

struct Memory {
    std::uint64_t total, free, used;
};

struct MemoryV2 {
    unsigned version;
    std::uint64_t total, reserved, free, used;
};

struct Utilization {
    unsigned gpu, memory;
};

struct PciInfo {
    std::array<char, 16> bus_id_legacy;
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    std::array<char, 32> bus_id;
};

struct ProcessInfo {
    unsigned pid;
    std::uint64_t used_gpu_memory;
    unsigned gpu_instance_id, compute_instance_id;
};

struct Temperature {
    unsigned version, sensor;
    int celsius;
};

struct FieldValue {
    std::uint32_t field_id, scope_id;
    std::int64_t timestamp, latency_usec;
    unsigned value_type;
    Return result;
    std::uint64_t value;  // a union in NVML, of which only the unsigned members are used here
};

struct EventData {
    Device device;
    std::uint64_t type, data;
    unsigned gpu_instance_id, compute_instance_id;
};

struct Attributes {
    unsigned multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    unsigned gpu_instance_slices, compute_instance_slices;
    std::uint64_t memory_mib;
};

struct Placement {
    unsigned start, size;
};

using ProfileName = std::array<char, 96>;

struct GpuProfileInfo {
    unsigned id, p2p, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    std::uint64_t memory_mib;
};

struct GpuProfileInfoV2 {
    unsigned version;
    unsigned id, p2p, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    std::uint64_t memory_mib;
    ProfileName name;
};

struct GpuProfileInfoV3 {
    unsigned version;
    unsigned id, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    std::uint64_t memory_mib;
    ProfileName name;
    unsigned capabilities;
};

struct GpuInstanceInfo {
    Device device;
    unsigned id, profile_id;
    Placement placement;
};

struct ComputeProfileInfo {
    unsigned id, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
};

struct ComputeProfileInfoV2 {
    unsigned version;
    unsigned id, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    ProfileName name;
};

struct ComputeProfileInfoV3 {
    unsigned version;
    unsigned id, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    ProfileName name;
    unsigned capabilities;
};

struct ComputeInstanceInfo {
    Device device;
    GpuInstanceHandle gpu_instance;
    unsigned id, profile_id;
    Placement placement;
};

// What a caller must have put into `version` of a struct: its size, and the number of its layout.
template <class Struct>
constexpr unsigned version_of(unsigned number) {
    return static_cast<unsigned>(sizeof(Struct)) | (number << 24U);
}

}  // namespace nos::nvml_sim
