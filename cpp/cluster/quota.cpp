#include "quota.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <stdexcept>

namespace nos {

namespace {

constexpr std::int64_t most_counted = 1LL << 20;  // of anything that is multiplied: no product overflows

std::int64_t quotient_up(std::int64_t amount, std::int64_t by) { return (amount + by - 1) / by; }

// Takes the number off the front of the text, and what follows it.
std::optional<std::int64_t> take_number(std::string_view& text, std::string_view then) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || number < 0) {
        return std::nullopt;
    }
    const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
    if (!rest.starts_with(then)) {
        return std::nullopt;
    }
    text = rest.substr(then.size());
    return std::min(number, most_counted);
}

}  // namespace

std::int64_t amount_of(const Charge& charge, std::uint32_t resource) {
    const auto* const found = std::ranges::find(charge, resource, &Amount::resource);
    return found == charge.end() ? 0 : found->amount;
}

Charge sum(const Charge& a, const Charge& b) {
    Charge both;
    const auto* left = a.begin();
    const auto* right = b.begin();
    while (left != a.end() || right != b.end()) {
        if (right == b.end() || (left != a.end() && left->resource < right->resource)) {
            both.push_back(*left++);
        } else if (left == a.end() || right->resource < left->resource) {
            both.push_back(*right++);
        } else {
            both.push_back({left->resource, left->amount + right->amount});
            ++left;
            ++right;
        }
    }
    return both;
}

void QuotaSpec::validate() const {
    std::vector<std::string> sorted = namespaces;
    std::ranges::sort(sorted);
    const auto repeated = std::ranges::adjacent_find(sorted);
    if (repeated != sorted.end()) {
        throw std::invalid_argument("namespace " + *repeated + " is named twice");
    }
    for (const Amounts* amounts : {&min, &max}) {
        const Quantities checked{*amounts};
    }
}

GpuAsk::GpuAsk(const PodSpec& spec)
    : whole{std::min(spec.requests.gpus, most_counted)}, share_milli{spec.gpu_share_milli} {
    for (const auto& [name, amount] : spec.requests.extended) {
        const std::int64_t count = std::min(amount, most_counted);
        std::string_view text = name;
        if (name.starts_with(mig_prefix)) {  // 1g.10gb, 1g.10gb.me, or 1c.2g.20gb for a part of its compute
            text.remove_prefix(mig_prefix.size());
            const std::string_view all = text;
            if (!take_number(text, "c.")) {
                text = all;
            }
            const auto sevenths = take_number(text, "g.");
            const auto memory_gb = take_number(text, "gb");
            mig_sevenths += sevenths.value_or(0) * count;
            mig_memory_gb += memory_gb.value_or(0) * count;
        } else if (name.starts_with(slice_prefix)) {
            text.remove_prefix(slice_prefix.size());
            const auto memory_gb = take_number(text, "gb");
            if (memory_gb && text.empty() && count > 0) {
                slices.push_back({*memory_gb, count});
            }
        }
    }
}

std::int64_t GpuAsk::memory_gb(std::int64_t gpu_memory_gb) const {
    std::int64_t sum =
        whole * gpu_memory_gb + quotient_up(gpu_memory_gb * share_milli, whole_gpu) + mig_memory_gb;
    for (const Slice& slice : slices) {
        sum += slice.memory_gb * slice.count;
    }
    return sum;
}

std::int64_t GpuAsk::sevenths(std::int64_t gpu_memory_gb) const {
    std::int64_t sum =
        whole * gpu_sevenths + quotient_up(gpu_sevenths * share_milli, whole_gpu) + mig_sevenths;
    for (const Slice& slice : slices) {
        sum += std::max<std::int64_t>(1, quotient_up(gpu_sevenths * slice.memory_gb, gpu_memory_gb)) *
               slice.count;
    }
    return sum;
}

}  // namespace nos
