// What fits on the GPUs of one new node together: whole GPUs, shares, MIG instances.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "geometry.h"
#include "spec.h"

namespace nos {

// What Pods ask for, in numbers: whole GPUs, then the shares of each size, then the instances of each
// profile, both as the packing lists them.
using GpuLoad = std::vector<std::int32_t>;

// Of one GPU; a whole one has none of these.
struct GpuContent {
    bool whole = false;
    std::vector<std::int32_t> shares;  // milli-GPU
    std::vector<mig::Placement> instances;
};

class GpuPacking {
  public:
    // GPUs that are all alike. No model: they are not cut. Shares in milli-GPU, the largest first; profiles
    // of the model.
    GpuPacking(std::int64_t gpus, std::shared_ptr<const mig::States> model, std::vector<std::int32_t> shares,
               std::vector<std::size_t> profiles);

    // Exact, but for loads on which the search gives up: they count as if they did not fit.
    bool fits(const GpuLoad& load);
    // Whether the search has given up on some load.
    [[nodiscard]] bool gave_up() const { return gave_up_; }
    // By slot; nothing where it does not fit.
    std::optional<std::vector<GpuContent>> pack(const GpuLoad& load);
    // Of the memory units and of the compute slices of one GPU, what one of the load takes at least, in
    // thousandths: what the sum over a node's GPUs cannot exceed.
    [[nodiscard]] std::int64_t milli_units(std::size_t of_load) const;
    [[nodiscard]] std::int64_t milli_slices(std::size_t of_load) const;

    // The sets of instances that one GPU holds, counted by profile as loads list them: those that are part of
    // no other. Empty where nothing is cut.
    [[nodiscard]] const std::vector<std::vector<std::int32_t>>& geometries() const { return geometries_; }
    [[nodiscard]] std::size_t shares() const { return shares_.size(); }

  private:
    using Counts = std::vector<std::int32_t>;  // of instances, by profile

    std::int64_t bins(const GpuLoad& load, std::int64_t limit,
                      std::vector<std::vector<std::int32_t>>* contents);
    bool cut(std::int64_t gpus, const Counts& counts, std::vector<Counts>* chosen);
    [[nodiscard]] bool exceeds(std::int64_t gpus, const Counts& counts) const;
    [[nodiscard]] Counts instances_of(const GpuLoad& load) const;

    std::int64_t gpus_;
    std::shared_ptr<const mig::States> model_;
    std::vector<std::int32_t> shares_;
    std::vector<std::size_t> profiles_;
    std::vector<Counts> geometries_;  // the largest that one GPU holds
    std::map<GpuLoad, bool> known_;
    std::map<std::pair<std::int64_t, Counts>, bool> cuts_;
    std::int64_t steps_ = 0;         // of the search for one load
    std::int64_t budget_ = 400'000;  // of all; when it is used up, each gives up early
    bool gave_up_ = false;
};

}  // namespace nos
