#pragma once

#include <filesystem>
#include <string>

namespace nos::nvml_sim {

// One process at a time between construction and destruction; the kernel gives it back when a process is
// killed.
class Lock {
  public:
    explicit Lock(const std::filesystem::path& configuration);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock(Lock&&) = delete;
    Lock& operator=(const Lock&) = delete;
    Lock& operator=(Lock&&) = delete;

  private:
    int descriptor_;
};

std::filesystem::path state_path(const std::filesystem::path& configuration);

// Empty where there is no such file. Throws std::system_error when it cannot be read.
std::string load(const std::filesystem::path& path);

// Replaces the state, whole or not at all, whenever the process dies: readers need no lock. Writers hold it.
void save_state(const std::filesystem::path& configuration, const std::string& text);

}  // namespace nos::nvml_sim
