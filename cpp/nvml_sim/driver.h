#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string_view>

#include "abi.h"
#include "configuration.h"
#include "state.h"

namespace nos::nvml_sim {

// The environment variable that names the configuration.
constexpr const char* configuration_variable = "NOS_NVML_SIM";

Return initialize();
Return shut_down();

// A call of NVML, from UNINITIALIZED over the faults that the state holds for `function` to its answer:
// success unless the body throws Refusal. What an edit changed is kept only if its body does not throw.
using Reading = std::function<void(const Configuration&, const State&)>;
using Editing = std::function<void(const Configuration&, State&)>;
Return read(const char* function, const Reading& body) noexcept;
Return edit(const char* function, const Editing& body) noexcept;

// Where the configuration lies; empty before initialize.
std::filesystem::path configuration_path();

// Copies text into a caller's buffer: INSUFFICIENT_SIZE, as a Refusal, where it and its end do not fit.
void copy_text(std::string_view text, char* buffer, std::size_t size);

}  // namespace nos::nvml_sim
