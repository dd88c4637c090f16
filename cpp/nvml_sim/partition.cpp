#include "partition.h"

#include <algorithm>
#include <array>

namespace nos::nvml_sim {
namespace {

constexpr std::array engine_counts = {&Engines::copy, &Engines::decoder, &Engines::encoder, &Engines::jpeg,
                                      &Engines::ofa};

bool overlap(unsigned start, unsigned size, unsigned other_start, unsigned other_size) {
    return start < other_start + other_size && other_start < start + size;
}

// splitmix64: neighbouring numbers give values that look unrelated.
std::uint64_t scramble(std::uint64_t value) {
    value += 0x9E3779B97F4A7C15U;
    value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
    return value ^ (value >> 31U);
}

}  // namespace

const Profile* find_profile(const Model& model, unsigned id) {
    const auto found = std::ranges::find(model.profiles, id, &Profile::id);
    return found == model.profiles.end() ? nullptr : &*found;
}

const Profile& profile_of(const Configuration& configuration, const GpuInstance& gi) {
    return *find_profile(configuration.model_of(gi.gpu), gi.profile_id);
}

const ComputeProfile* find_compute_profile(const Configuration& configuration, unsigned id) {
    const auto found = std::ranges::find(configuration.compute_profiles, id, &ComputeProfile::id);
    return found == configuration.compute_profiles.end() ? nullptr : &*found;
}

bool fits(const Configuration& configuration, const State& state, unsigned gpu, const Profile& profile,
          unsigned start) {
    const Model& model = configuration.model_of(gpu);
    unsigned same = 1;
    unsigned slices = profile.slices;
    Engines engines = profile.engines;
    for (const GpuInstance& gi : state.gpu_instances) {
        if (gi.gpu != gpu) {
            continue;
        }
        if (overlap(start, profile.size, gi.start, gi.size)) {
            return false;
        }
        const Profile& other = profile_of(configuration, gi);
        if (other.id == profile.id) {
            ++same;
        }
        slices += other.slices;
        for (const auto engine : engine_counts) {
            engines.*engine += other.engines.*engine;
        }
    }
    return same <= profile.max_instances && slices <= model.slices &&
           std::ranges::all_of(engine_counts,
                               [&](auto engine) { return engines.*engine <= model.engine_totals.*engine; });
}

std::optional<unsigned> choose_start(const Configuration& configuration, const State& state, unsigned gpu,
                                     const Profile& profile) {
    const auto found = std::ranges::find_if(
        profile.preferred, [&](unsigned start) { return fits(configuration, state, gpu, profile, start); });
    if (found == profile.preferred.end()) {
        return std::nullopt;
    }
    return *found;
}

unsigned remaining(const Configuration& configuration, const State& state, unsigned gpu,
                   const Profile& profile) {
    // Intervals of one size: taking the lowest free start each time places the most.
    State trial = state;
    unsigned count = 0;
    for (const unsigned start : profile.starts) {
        if (!fits(configuration, trial, gpu, profile, start)) {
            continue;
        }
        trial.gpu_instances.push_back({gpu, 0, profile.id, start, profile.size, 0});
        ++count;
    }
    return count;
}

unsigned gpu_instance_id(const Model& model, const Profile& profile, unsigned start) {
    return model.units / profile.size - 1 + start / profile.size;
}

std::vector<unsigned> free_compute_starts(const Configuration& configuration, const State& state,
                                          const GpuInstance& gi, const ComputeProfile& profile) {
    const unsigned slices = profile_of(configuration, gi).slices;
    std::vector<unsigned> result;
    for (unsigned start = 0; start + profile.slices <= slices; ++start) {
        const bool taken = std::ranges::any_of(state.compute_instances, [&](const ComputeInstance& ci) {
            return ci.gpu == gi.gpu && ci.gpu_instance == gi.id &&
                   overlap(start, profile.slices, ci.start, ci.size);
        });
        if (!taken) {
            result.push_back(start);
        }
    }
    return result;
}

std::string mig_name(const Profile& profile, const ComputeProfile& compute) {
    return compute.slices == profile.slices ? profile.name
                                            : std::to_string(compute.slices) + "c." + profile.name;
}

std::string mig_uuid(const std::string& gpu_uuid, std::uint64_t serial) {
    std::uint64_t seed = serial;
    for (const char c : gpu_uuid) {
        seed = scramble(seed ^ static_cast<unsigned char>(c));
    }
    std::uint64_t bits = seed;
    std::string text = "MIG-";
    for (unsigned digit = 0; digit < 32; ++digit) {
        if (digit == 16) {
            bits = scramble(seed);
        }
        if (digit == 8 || digit == 12 || digit == 16 || digit == 20) {
            text += '-';
        }
        text += digit == 12 ? '5' : "0123456789abcdef"[bits & 0xFU];  // version 5: made from a name
        bits >>= 4U;
    }
    return text;
}

}  // namespace nos::nvml_sim
