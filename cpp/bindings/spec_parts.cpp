#include "spec_parts.h"

#include <algorithm>

namespace nos {

Mapping amounts(const Quantities& quantities) {
    Mapping all{quantities.extended.begin(), quantities.extended.end()};
    const auto put = [&](std::string_view resource, std::int64_t amount) {
        if (amount != 0) {
            all.emplace(resource, amount);
        }
    };
    for (std::size_t i = 0; i < basic_count; ++i) {
        put(basic_names.at(i), quantities.basic.at(i));
    }
    put(pods_resource, quantities.pods);
    put(gpu_resource, quantities.gpus);
    return all;
}

std::vector<Attachment> attachments(const std::vector<NamedAttachment>& named) {
    std::vector<Attachment> result;
    for (const auto& [driver, handle] : named) {
        result.push_back({driver, handle});
    }
    std::ranges::sort(result);
    const auto repeated = std::ranges::unique(result);
    result.erase(repeated.begin(), repeated.end());
    return result;
}

std::vector<NamedAttachment> named(const std::vector<Attachment>& attachments) {
    std::vector<NamedAttachment> result;
    for (const auto& [driver, handle] : attachments) {
        result.emplace_back(driver, handle);
    }
    return result;
}

}  // namespace nos
