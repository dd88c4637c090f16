// The score `nos`: a node is worth the GPU that it will probably still hand out, and a Pod goes where it
// destroys the least worth.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cluster.h"

namespace nos {

// The worth of a node, from the demand seen lately:
//
//   U = sum over its GPUs of (free - waste(free)). A hole waits for the best of the next `draws` shared Pods,
//   again and
//       again; waste(hole) is what is expected to be left of it at the end. A whole GPU is no hole: nothing
//       is wasted.
//   worth = U/2 + 1/2 sum over classes c of weight_c * min(u_c, x_c), where x_c is the GPU that c's Pods
//   could take
//       with the CPU and memory left, and u_c is U, or for Pods of k GPUs the complete sets of k free ones.
//
// So GPU that no CPU or memory is left for is worth half, crumbs nothing, and breaking the last set of eight
// costs what Pods of eight GPUs are among the demand. Fixed point throughout: worth and waste are in 1/64
// milli-GPU.
class ExpectedFill {
  public:
    static constexpr int milli_units = 64;

    ExpectedFill() { rebuild(); }

    // Follows the demand; true when worths changed because it has moved noticeably.
    bool learn(const Demand& demand);

    // The worth lost when the Pod goes to the node, in steps of 8 milli-GPU.
    [[nodiscard]] std::int64_t loss(const PodSpec& pod, const Node& node);
    // The slot of the node where a shared Pod wastes least.
    [[nodiscard]] std::uint16_t slot_for_share(std::int32_t share, const Node& node) const;
    [[nodiscard]] std::int64_t worth(const Node& node);

  private:
    // What worth depends on.
    struct Room {
        std::int64_t cpu_milli = 0;
        std::int64_t memory_mib = 0;
        std::int64_t fill = 0;  // U
        std::int64_t whole_gpus = 0;

        bool operator==(const Room&) const = default;
    };

    // GPU that a class's Pods take per CPU and per memory, in 1/64 milli-GPU, shifted left by 14.
    struct Class {
        std::int64_t weight = 0;  // of 2^16 in all
        std::int64_t per_cpu_milli = 0;
        std::int64_t per_memory_mib = 0;
        std::int64_t gpus = 0;
    };

    struct Remembered {
        std::uint64_t epoch = 0;
        Room room;
        std::int64_t worth = 0;
        std::uint64_t version = 0;  // of the node, where it is a node's
    };

    void rebuild();
    void rebuild_classes();
    void rebuild_waste();
    [[nodiscard]] Room room_of(const Node& node) const;
    [[nodiscard]] std::int64_t worth(const Room& room);
    const Remembered& known(const Node& node);

    std::vector<Demand::Count> demand_;  // what the present worths were made from
    std::int64_t demand_total_ = 0;
    std::int64_t next_look_ = 0;  // in arrivals
    std::uint64_t epoch_ = 0;
    std::vector<Class> classes_;
    std::array<std::int32_t, whole_gpu + 1> waste_{};  // by free milli of a GPU

    // Caches, which change no worth: most nodes are as another one is, and every spec asks for a node as it
    // is now.
    static constexpr std::size_t remembered = 4096;
    std::vector<Remembered> by_room_ = std::vector<Remembered>(remembered);
    std::vector<Remembered> by_node_ = std::vector<Remembered>(remembered);
};

}  // namespace nos
