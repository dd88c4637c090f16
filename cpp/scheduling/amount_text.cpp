#include "amount_text.h"

#include <array>
#include <utility>

#include "quota.h"
#include "spec.h"

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

std::string amount_of(std::string_view resource, std::int64_t amount) {
    std::string text = amount_text(resource, amount);
    if (resource == "cpu") {
        const std::string_view cores = text == "1" ? " core" : " cores";
        return text.append(text.ends_with('m') ? " of CPU" : cores);
    }
    if (resource == "memory") {
        return text + " of memory";
    }
    if (resource == gpu_resource) {
        return text + (amount == 1 ? " GPU" : " GPUs");
    }
    if (resource == gpu_memory_resource) {
        return text + " GB of GPU memory";
    }
    return text + " " + std::string{resource};
}

}  // namespace nos
