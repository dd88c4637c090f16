// The library itself: initialisation, versions, error texts.
#include "abi.h"
#include "driver.h"

namespace {

using nos::nvml_sim::Configuration;
using nos::nvml_sim::copy_text;
using nos::nvml_sim::read;
using nos::nvml_sim::Return;
using nos::nvml_sim::State;

}  // namespace

NOS_NVML_EXPORT Return nvmlInit() { return nos::nvml_sim::initialize(); }

NOS_NVML_EXPORT Return nvmlInit_v2() { return nos::nvml_sim::initialize(); }

NOS_NVML_EXPORT Return nvmlInitWithFlags(unsigned /*flags*/) { return nos::nvml_sim::initialize(); }

NOS_NVML_EXPORT Return nvmlShutdown() { return nos::nvml_sim::shut_down(); }

NOS_NVML_EXPORT const char* nvmlErrorString(Return result) {
    switch (result) {
        case Return::success:
            return "Success";
        case Return::uninitialized:
            return "Uninitialized";
        case Return::invalid_argument:
            return "Invalid Argument";
        case Return::not_supported:
            return "Not Supported";
        case Return::no_permission:
            return "Insufficient Permissions";
        case Return::not_found:
            return "Not Found";
        case Return::insufficient_size:
            return "Insufficient Size";
        case Return::driver_not_loaded:
            return "Driver Not Loaded";
        case Return::timeout:
            return "Timeout";
        case Return::gpu_is_lost:
            return "GPU is lost";
        case Return::reset_required:
            return "GPU requires reset";
        case Return::in_use:
            return "In use by another client";
        case Return::insufficient_resources:
            return "Insufficient Resources";
        case Return::argument_version_mismatch:
            return "Argument Version Mismatch";
        case Return::unknown:
            break;
    }
    return "Unknown Error";
}

NOS_NVML_EXPORT Return nvmlSystemGetDriverVersion(char* version, unsigned length) {
    return read("nvmlSystemGetDriverVersion",
                [=](const Configuration& c, const State&) { copy_text(c.driver, version, length); });
}

NOS_NVML_EXPORT Return nvmlSystemGetNVMLVersion(char* version, unsigned length) {
    return read("nvmlSystemGetNVMLVersion",
                [=](const Configuration& c, const State&) { copy_text("13." + c.driver, version, length); });
}

NOS_NVML_EXPORT Return nvmlSystemGetCudaDriverVersion(int* version) {
    return read("nvmlSystemGetCudaDriverVersion",
                [=](const Configuration& c, const State&) { *version = static_cast<int>(c.cuda); });
}

NOS_NVML_EXPORT Return nvmlSystemGetCudaDriverVersion_v2(int* version) {
    return nvmlSystemGetCudaDriverVersion(version);
}
