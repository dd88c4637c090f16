#include "state.h"

#include <algorithm>
#include <stdexcept>

#include "words.h"

namespace nos::nvml_sim {
namespace {

Kill parse_kill(std::string_view word) {
    if (word == "never") {
        return Kill::never;
    }
    if (word == "before") {
        return Kill::before;
    }
    if (word == "after") {
        return Kill::after;
    }
    throw std::invalid_argument("unknown moment: " + std::string(word));
}

std::string_view name_of(Kill kill) {
    switch (kill) {
        case Kill::before:
            return "before";
        case Kill::after:
            return "after";
        case Kill::never:
            break;
    }
    return "never";
}

// Words are read in the order in which they stand: initializers in braces are evaluated from left to right.
void parse_line(State& state, Words& words, std::size_t gpu_count) {
    const auto gpu = [&words, gpu_count] {
        const unsigned number = words.number();
        if (number >= gpu_count) {
            throw std::invalid_argument("no such GPU");
        }
        return number;
    };
    const auto u = [&words] { return words.number(); };
    const auto u64 = [&words] { return words.number<std::uint64_t>(); };
    const std::string_view what = words.word();
    if (what == "serial") {
        state.serial = u64();
    } else if (what == "permitted") {
        state.permitted = words.flag();
    } else if (what == "gpu") {
        // Looked up before the rest is read: an assignment's right side comes first.
        GpuState& named = state.gpus.at(gpu());
        named = GpuState{words.flag(), words.flag(), words.flag(), u64(), u(), u()};
    } else if (what == "gi") {
        state.gpu_instances.push_back(GpuInstance{gpu(), u(), u(), u(), u(), u64()});
    } else if (what == "ci") {
        state.compute_instances.push_back(
            ComputeInstance{gpu(), u(), u(), u(), u(), u(), u(), u64(), std::string(words.word())});
    } else if (what == "process") {
        state.processes.push_back(Process{gpu(), u(), u(), u(), u()});
    } else if (what == "event") {
        state.events.push_back(Event{u64(), gpu(), u64(), u64(), u(), u()});
    } else if (what == "fault") {
        state.faults.push_back(
            Fault{std::string(words.word()), u(), u(), Return{u()}, u(), parse_kill(words.word())});
    } else {
        throw std::invalid_argument("unknown line: " + std::string(what));
    }
}

template <class First, class... Rest>
void append(std::string& text, const First& first, const Rest&... rest) {
    if constexpr (std::is_convertible_v<First, std::string_view>) {
        text += first;
    } else {
        text += std::to_string(first);
    }
    text += sizeof...(rest) == 0 ? '\n' : ' ';
    if constexpr (sizeof...(rest) > 0) {
        append(text, rest...);
    }
}

}  // namespace

const GpuInstance* State::find_gpu_instance(unsigned gpu, unsigned id) const {
    const auto found = std::ranges::find_if(
        gpu_instances, [=](const GpuInstance& gi) { return gi.gpu == gpu && gi.id == id; });
    return found == gpu_instances.end() ? nullptr : &*found;
}

const ComputeInstance* State::find_compute_instance(unsigned gpu, unsigned gpu_instance, unsigned id) const {
    const auto found = std::ranges::find_if(compute_instances, [=](const ComputeInstance& ci) {
        return ci.gpu == gpu && ci.gpu_instance == gpu_instance && ci.id == id;
    });
    return found == compute_instances.end() ? nullptr : &*found;
}

State initial_state(const Configuration& configuration) {
    State state;
    state.gpus.resize(configuration.gpus.size());
    return state;
}

State parse_state(std::string_view text, const Configuration& configuration) {
    State state = initial_state(configuration);
    for_each_line(text, [&](Words words) { parse_line(state, words, configuration.gpus.size()); });
    return state;
}

std::string format_state(const State& state) {
    std::string text;
    append(text, "serial", state.serial);
    append(text, "permitted", int{state.permitted});
    for (unsigned index = 0; index < state.gpus.size(); ++index) {
        const GpuState& gpu = state.gpus[index];
        append(text, "gpu", index, int{gpu.mig}, int{gpu.mig_pending}, int{gpu.lost}, gpu.epoch,
               gpu.utilization, gpu.memory_utilization);
    }
    for (const GpuInstance& gi : state.gpu_instances) {
        append(text, "gi", gi.gpu, gi.id, gi.profile_id, gi.start, gi.size, gi.serial);
    }
    for (const ComputeInstance& ci : state.compute_instances) {
        append(text, "ci", ci.gpu, ci.gpu_instance, ci.id, ci.profile_id, ci.start, ci.size, ci.index,
               ci.serial, ci.uuid);
    }
    for (const Process& process : state.processes) {
        append(text, "process", process.gpu, process.pid, process.mib, process.gpu_instance,
               process.compute_instance);
    }
    for (const Event& event : state.events) {
        append(text, "event", event.serial, event.gpu, event.type, event.data, event.gpu_instance,
               event.compute_instance);
    }
    for (const Fault& fault : state.faults) {
        append(text, "fault", fault.function, fault.skip, fault.count, static_cast<unsigned>(fault.result),
               fault.delay_ms, name_of(fault.kill));
    }
    return text;
}

}  // namespace nos::nvml_sim
