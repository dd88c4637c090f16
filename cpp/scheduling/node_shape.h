// One new, empty node of a group: how many Pods of which kinds it holds together.
#pragma once

#include <cstdint>
#include <vector>

#include "cluster.h"
#include "gpu_packing.h"

namespace nos {

// How many of each kind.
using Counts = std::vector<std::int32_t>;

class NodeShape {
  public:
    // What is left of it.
    struct Left {
        std::vector<std::int64_t> resources;
        GpuLoad load;
    };

    // Among the resources: memory units of GPUs, in thousandths of one GPU's.
    static constexpr std::size_t units_resource = 1 + basic_count;

    // Whether patterns can tell what such a node holds: its GPUs are alike, healthy and untouched.
    static bool is_plain(const NodeSpec& node);

    // node: one that is in the Cluster and empty. Each kind is a spec.
    NodeShape(const Cluster& cluster, NodeId node, const std::vector<SpecId>& kinds);

    [[nodiscard]] Left empty() const { return {capacity_, GpuLoad(load_size_)}; }
    // How many more of the kind fit, up to `limit`.
    [[nodiscard]] std::int32_t more(const Left& left, std::size_t kind, std::int32_t limit);
    void add(Left& left, std::size_t kind, std::int32_t count) const;
    [[nodiscard]] bool may_hold(std::size_t kind) const { return may_hold_[kind]; }

    // What no set of Pods can exceed in sum: of each the capacity, and what a kind takes.
    [[nodiscard]] const std::vector<std::int64_t>& capacity() const { return capacity_; }
    [[nodiscard]] const std::vector<std::int64_t>& wants(std::size_t kind) const { return wants_[kind]; }

    [[nodiscard]] const GpuPacking& packing() const { return packing_; }

    // ---- what becomes of a node with such a pattern

    // By slot. Nothing where the pattern does not fit.
    std::optional<std::vector<GpuContent>> gpus(const Counts& pattern);
    [[nodiscard]] const GpuLoad& load(std::size_t kind) const { return loads_[kind]; }

  private:
    std::vector<bool> may_hold_;
    std::vector<std::int64_t> capacity_;
    std::vector<std::vector<std::int64_t>> wants_;  // by kind and resource
    std::vector<GpuLoad> loads_;                    // by kind
    std::size_t load_size_ = 1;
    std::vector<bool> is_linear_;  // by kind: no GPU but whole ones
    GpuPacking packing_;
    bool needs_packing_ = false;  // some kind takes parts of GPUs
};

}  // namespace nos
