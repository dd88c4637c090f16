#include "driver.h"

#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill is POSIX's, not <csignal>'s
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "handles.h"
#include "store.h"

namespace nos::nvml_sim {
namespace {

struct Machine {
    std::filesystem::path path;
    Configuration configuration;

    [[nodiscard]] State state() const { return parse_state(load(state_path(path)), configuration); }
    void keep(const State& state) const { save_state(path, format_state(state)); }
};

// What one process knows: how often it is initialized, and then the machine.
struct Usage {
    std::mutex mutex;
    unsigned initialized = 0;
    std::shared_ptr<const Machine> machine;
};

Usage& this_process() {
    static Usage usage;
    return usage;
}

std::shared_ptr<const Machine> machine() {
    Usage& usage = this_process();
    const std::scoped_lock held(usage.mutex);
    if (usage.initialized == 0) {
        throw Refusal{Return::uninitialized};
    }
    return usage.machine;
}

constexpr std::string_view any_function = "*";

// The fault that hits this call, which is counted.
std::optional<Fault> take_fault(const Machine& machine, std::string_view function) {
    const auto concerns = [function](const Fault& fault) {
        return fault.function == function || (fault.function == any_function && !function.empty());
    };
    if (std::ranges::none_of(machine.state().faults, concerns)) {
        return std::nullopt;
    }
    const Lock lock(machine.path);
    State state = machine.state();
    const auto found = std::ranges::find_if(state.faults, concerns);
    if (found == state.faults.end()) {
        return std::nullopt;
    }
    std::optional<Fault> hit;
    if (found->skip > 0) {
        --found->skip;
    } else {
        hit = *found;
        if (found->count != Fault::forever) {
            --found->count;
        }
        if (found->count == 0) {
            state.faults.erase(found);
        }
    }
    machine.keep(state);
    return hit;
}

[[noreturn]] void die() {
    kill(getpid(), SIGKILL);
    std::abort();
}

// Runs `effect` as the call of `function`: with its faults, and every exception made a return code.
template <class Effect>
Return call(const char* function, const Effect& effect) noexcept {
    try {
        const std::shared_ptr<const Machine> current = machine();
        const std::optional<Fault> fault = take_fault(*current, function);
        if (fault) {
            std::this_thread::sleep_for(std::chrono::milliseconds(fault->delay_ms));
            if (fault->kill == Kill::before) {
                die();
            }
            if (fault->result != Return::success) {
                return fault->result;
            }
        }
        effect(*current);
        if (fault && fault->kill == Kill::after) {
            die();
        }
        return Return::success;
    } catch (const Refusal& refusal) {
        return refusal.result();
    } catch (const std::exception& error) {
        // No driver prints, but a test whose simulation is broken must not look like one with a broken
        // driver.
        std::cerr << "nvml_sim: " << function << ": " << error.what() << '\n';
        return Return::unknown;
    }
}

}  // namespace

Return initialize() {
    Usage& usage = this_process();
    {
        const std::scoped_lock held(usage.mutex);
        if (usage.initialized == 0) {
            const char* const path = std::getenv(configuration_variable);  // NOLINT(concurrency-mt-unsafe)
            if (path == nullptr) {
                return Return::driver_not_loaded;
            }
            try {
                auto found = std::make_shared<Machine>();
                found->path = path;
                found->configuration = parse_configuration(load(path));
                usage.machine = std::move(found);
            } catch (const std::exception& error) {
                std::cerr << "nvml_sim: " << path << ": " << error.what() << '\n';
                return Return::driver_not_loaded;
            }
        }
        ++usage.initialized;
    }
    const Return result = call("nvmlInit", [](const Machine&) {});
    if (result != Return::success) {
        shut_down();
    }
    return result;
}

Return shut_down() {
    Usage& usage = this_process();
    const std::scoped_lock held(usage.mutex);
    if (usage.initialized == 0) {
        return Return::uninitialized;
    }
    if (--usage.initialized == 0) {
        usage.machine.reset();
    }
    return Return::success;
}

Return read(const char* function, const Reading& body) noexcept {
    return call(function, [&body](const Machine& machine) { body(machine.configuration, machine.state()); });
}

Return edit(const char* function, const Editing& body) noexcept {
    return call(function, [&body](const Machine& machine) {
        const Lock lock(machine.path);
        State state = machine.state();
        body(machine.configuration, state);
        machine.keep(state);
    });
}

std::filesystem::path configuration_path() { return machine()->path; }

void copy_text(std::string_view text, char* buffer, std::size_t size) {
    if (buffer == nullptr) {
        throw Refusal{Return::invalid_argument};
    }
    if (text.size() >= size) {
        throw Refusal{Return::insufficient_size};
    }
    *std::ranges::copy(text, buffer).out = '\0';
}

}  // namespace nos::nvml_sim
