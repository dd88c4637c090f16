#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace nos::nvml_sim {

struct Engines {
    unsigned copy = 0, decoder = 0, encoder = 0, jpeg = 0, ofa = 0;
};

struct Profile {
    unsigned enumerator, id, slices, size, memory_mib, max_instances, multiprocessors;
    Engines engines;
    unsigned full_compute_enum;
    std::vector<unsigned> starts;
    std::vector<unsigned> preferred;  // the order in which the driver tries starts that it chooses itself
    std::string name;
};

struct ComputeProfile {
    unsigned enumerator, id, slices;
};

enum class Mig : std::uint8_t { none, by_reset, live };

struct Model {
    static constexpr unsigned unlimited = std::numeric_limits<unsigned>::max();

    std::string id, name;
    unsigned architecture = 0, compute_major = 0, compute_minor = 0, pci_device = 0, memory_mib = 0;
    Mig mig = Mig::none;
    unsigned units = 0, slices = 0;
    Engines engine_totals = {unlimited, unlimited, unlimited, unlimited, unlimited};
    std::vector<Profile> profiles;
};

struct Gpu {
    std::string uuid, pci_bus_id;
    std::size_t model;
    bool reset_needs_reboot;  // as in a virtual machine that the GPU is passed through to
};

// What does not change while the simulated machine runs: its GPUs, and all that is known about their models.
// The text is written by nos.testbed.nvml_sim.
struct Configuration {
    std::string driver;
    unsigned cuda = 0;
    std::vector<ComputeProfile> compute_profiles;
    std::vector<Model> models;
    std::vector<Gpu> gpus;

    [[nodiscard]] const Model& model_of(unsigned gpu) const { return models[gpus[gpu].model]; }
};

// Throws std::invalid_argument.
Configuration parse_configuration(std::string_view text);

}  // namespace nos::nvml_sim
