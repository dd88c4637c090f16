#pragma once

#include <cstdint>
#include <exception>

#include "abi.h"
#include "state.h"

namespace nos::nvml_sim {

// What a call answers instead of success. Thrown by what looks things up, caught where NVML's functions end.
class Refusal : public std::exception {
  public:
    explicit Refusal(Return result) : result_(result) {}
    [[nodiscard]] Return result() const { return result_; }
    [[nodiscard]] const char* what() const noexcept override { return "refused"; }

  private:
    Return result_;
};

// A handle names its GPU and a serial number that is never used twice: one that outlives its object fits
// nothing.
Device device_handle(const State& state, unsigned gpu);
Device device_handle(const ComputeInstance& mig);
GpuInstanceHandle handle_of(const GpuInstance& gi);
ComputeInstanceHandle handle_of(const ComputeInstance& ci);

// A device handle stands for a whole GPU, where `mig` is null, or for a MIG device.
struct Target {
    unsigned gpu;
    const ComputeInstance* mig;
};

// These throw Refusal: INVALID_ARGUMENT for a stale handle or another kind's, GPU_IS_LOST.
Target resolve(const State& state, Device handle);
unsigned resolve_gpu(const State& state, Device handle);
const ComputeInstance& resolve_mig(const State& state, Device handle);
const GpuInstance& resolve(const State& state, GpuInstanceHandle handle);
const ComputeInstance& resolve(const State& state, ComputeInstanceHandle handle);

// Throw INVALID_ARGUMENT for a null pointer, NO_PERMISSION where the state says so.
template <class T>
T& required(T* pointer) {
    if (pointer == nullptr) {
        throw Refusal{Return::invalid_argument};
    }
    return *pointer;
}
void require_permission(const State& state);

}  // namespace nos::nvml_sim
