// What a quota promises and allows, and what a Pod is charged under one: immutable values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "few.h"
#include "id.h"
#include "spec.h"

namespace nos {

using QuotaId = Id<struct QuotaTag>;

inline constexpr std::string_view gpu_memory_resource = "nos.nebuly.com/gpu-memory";    // GB
inline constexpr std::string_view gpu_compute_resource = "nos.nebuly.com/gpu-compute";  // sevenths of a GPU
inline constexpr std::int64_t gpu_sevenths = 7;
inline constexpr std::int64_t unknown_gpu_memory_gb = 32;  // counts for a GPU whose memory nobody told
inline constexpr std::int64_t most_gpu_memory_gb = 1'000'000;

// The namespaces that share a guarantee and a limit.
struct QuotaSpec {
    std::vector<std::string> namespaces;
    Amounts min;  // guaranteed
    Amounts max;  // never exceeded
    std::string parent;

    // Throws std::invalid_argument on a repeated namespace, or a negative or absurd amount.
    void validate() const;
    bool operator==(const QuotaSpec&) const = default;
};

// The GPUs that a Pod asks for, in whatever way.
struct GpuAsk {
    struct Slice {
        std::int64_t memory_gb = 0;
        std::int64_t count = 0;
    };

    std::int64_t whole = 0;
    std::int64_t share_milli = 0;    // of one GPU
    std::int64_t mig_memory_gb = 0;  // of all its instances
    std::int64_t mig_sevenths = 0;   // likewise
    std::vector<Slice> slices;       // by MPS

    GpuAsk() = default;
    explicit GpuAsk(const PodSpec& spec);

    // On a node whose GPUs have so much memory each.
    [[nodiscard]] std::int64_t memory_gb(std::int64_t gpu_memory_gb) const;
    [[nodiscard]] std::int64_t sevenths(std::int64_t gpu_memory_gb) const;
    [[nodiscard]] bool depends_on_memory() const { return whole > 0 || share_milli > 0 || !slices.empty(); }
};

// A resource that some quota names, by its number there.
struct Amount {
    std::uint32_t resource = 0;
    std::int64_t amount = 0;

    bool operator==(const Amount&) const = default;
};

// What a Pod is charged: an amount above 0 of each resource that some quota names, ascending by resource.
using Charge = Few<Amount, 6>;

std::int64_t amount_of(const Charge& charge, std::uint32_t resource);
Charge sum(const Charge& a, const Charge& b);

}  // namespace nos
