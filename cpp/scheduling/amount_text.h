// Quantities as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nos {

// 1500m for cpu, 12Gi for bytes, plain otherwise.
std::string amount_text(std::string_view resource, std::int64_t amount);

// With what it is of: 2 cores, 12Gi of memory, 1 GPU, 40 GB of GPU memory; else as in a manifest, 2
// nvidia.com/mig-1g.10gb.
std::string amount_of(std::string_view resource, std::int64_t amount);

}  // namespace nos
