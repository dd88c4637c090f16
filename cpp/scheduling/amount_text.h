// Quantities as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nos {

// 1500m for cpu, 12Gi for bytes, plain otherwise.
std::string amount_text(std::string_view resource, std::int64_t amount);

}  // namespace nos
