#include "amount_text.h"

#include <array>
#include <utility>

namespace nos {

std::string amount_text(std::string_view resource, std::int64_t amount) {
    if (resource == "cpu") {
        return amount % 1000 == 0 ? std::to_string(amount / 1000) : std::to_string(amount) + "m";
    }
    if (resource != "memory" && resource != "ephemeral-storage") {
        return std::to_string(amount);
    }
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 3> units = {
        {{"Gi", 1LL << 30}, {"Mi", 1LL << 20}, {"Ki", 1LL << 10}}};
    for (const auto& [unit, size] : units) {
        if (amount >= size) {  // rounded up: what is said to be lacking must be enough
            return std::to_string((amount + size - 1) / size) + std::string{unit};
        }
    }
    return std::to_string(amount);
}

}  // namespace nos
