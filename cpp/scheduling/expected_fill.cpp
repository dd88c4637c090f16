#include "expected_fill.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace nos {

namespace {

// What each constant does when it is 30 % off is measured in docs/scheduling.md.
constexpr unsigned draws = 24;                 // shared Pods that a hole may wait for
constexpr std::size_t most_classes = 64;       // those that demand the most GPU
constexpr std::int64_t look_again = 8;         // the demand is looked at after each eighth of new arrivals
constexpr std::int64_t moved_per_mille = 125;  // L1 distance that makes worths anew
constexpr std::int64_t most_gpu_weight = 3;    // a class counts by its Pods and their GPUs, up to so many
constexpr int loss_step = 9;                   // log2: 8 milli-GPU
constexpr int ratio_bits = 20;                 // of GPU per CPU and per memory
constexpr int weight_bits = 16;

constexpr std::int64_t clamp_room(std::int64_t amount) {
    return std::clamp<std::int64_t>(amount, 0, std::numeric_limits<std::int32_t>::max());
}

// base^exponent of a 16-bit fraction.
std::int64_t power(std::int64_t base, unsigned exponent) {
    std::int64_t result = 1LL << weight_bits;
    for (; exponent != 0; exponent >>= 1U) {
        if ((exponent & 1U) != 0) {
            result = (result * base) >> weight_bits;
        }
        base = (base * base) >> weight_bits;
    }
    return result;
}

}  // namespace

bool ExpectedFill::learn(const Demand& demand) {
    if (demand.arrivals() < next_look_ || demand.total() == 0) {
        return false;
    }
    next_look_ = demand.arrivals() + std::max<std::int64_t>(1, demand.total() / Demand::one_pod / look_again);
    std::map<DemandClass, std::int64_t> before;
    for (const auto& [demanded, count] : demand_) {
        before.emplace(demanded, count);
    }
    std::int64_t distance = 0;  // between the two distributions, times both totals
    for (const auto& [demanded, count] : demand.counts()) {
        const auto known = before.extract(demanded);
        distance += std::abs(count * demand_total_ - (known ? known.mapped() : 0) * demand.total());
    }
    for (const auto& [demanded, count] : before) {
        distance += count * demand.total();
    }
    if (demand_total_ > 0 && distance * 1000 < moved_per_mille * demand_total_ * demand.total()) {
        return false;
    }
    demand_ = demand.counts();
    demand_total_ = demand.total();
    rebuild();
    return true;
}

void ExpectedFill::rebuild() {
    ++epoch_;
    rebuild_classes();
    rebuild_waste();
}

void ExpectedFill::rebuild_classes() {
    std::vector<Demand::Count> kept;
    std::ranges::copy_if(demand_, std::back_inserter(kept),
                         [](const Demand::Count& entry) { return entry.demand.gpu_milli() > 0; });
    std::ranges::stable_sort(kept, std::greater{}, [](const Demand::Count& entry) {
        return entry.count * entry.demand.gpu_milli();
    });
    kept.resize(std::min(kept.size(), most_classes));
    const auto weight_of = [](const Demand::Count& entry) {
        return entry.count * std::min(most_gpu_weight, entry.demand.gpu_slots());
    };
    std::int64_t sum = 0;
    for (const Demand::Count& entry : kept) {
        sum += weight_of(entry);
    }
    classes_.clear();
    for (const Demand::Count& entry : kept) {
        const std::int64_t gpu = entry.demand.gpu_milli() << ratio_bits;
        const auto per = [gpu](std::int64_t amount) {
            return std::min<std::int64_t>(1LL << 31, gpu / std::max<std::int64_t>(1, amount));
        };
        const std::int64_t memory_mib = (entry.demand.memory_bytes + (1LL << 20) - 1) >> 20;
        classes_.push_back({(weight_of(entry) << weight_bits) / sum, per(entry.demand.cpu_milli),
                            per(memory_mib), entry.demand.gpu_slots()});
    }
}

// waste(hole) = E[least waste that one of `draws` shared Pods leaves], a draw that does not fit leaving the
// hole.
void ExpectedFill::rebuild_waste() {
    std::map<std::int32_t, std::int64_t> sizes;
    std::int64_t pods = 0;
    for (const auto& [demanded, count] : demand_) {
        if (demanded.shared()) {
            sizes[demanded.gpu_share_milli] += count;
            pods += count;
        }
    }
    std::vector<std::pair<std::int64_t, std::int64_t>>
        outcomes;  // waste after a Pod took its share, how many would
    for (std::int32_t hole = 0; hole < whole_gpu; ++hole) {
        outcomes.clear();
        for (const auto& [size, count] : sizes) {
            if (size <= hole) {
                outcomes.emplace_back(waste_.at(static_cast<std::size_t>(hole - size)), count);
            }
        }
        std::ranges::sort(outcomes);
        std::int64_t expected = 0;
        std::int64_t missed = 1LL << weight_bits;  // the chance that no draw was as good as those seen
        std::int64_t worse = pods;
        for (const auto& [left, count] : outcomes) {
            worse -= count;
            const std::int64_t all_worse = std::min(missed, power((worse << weight_bits) / pods, draws));
            expected += (missed - all_worse) * left;
            missed = all_worse;
        }
        expected += missed * hole * milli_units;
        waste_.at(static_cast<std::size_t>(hole)) = static_cast<std::int32_t>(expected >> weight_bits);
    }
    waste_[whole_gpu] = 0;
}

ExpectedFill::Room ExpectedFill::room_of(const Node& node) const {
    Room room{clamp_room(node.free(Basic::cpu)), clamp_room(node.free(Basic::memory) >> 20), 0,
              node.gpu_free_whole};
    for (const std::uint16_t free : node.gpu_free) {
        room.fill += std::int64_t{free} * milli_units - waste_[free];
    }
    return room;
}

std::int64_t ExpectedFill::worth(const Room& room) {
    if (room.fill <= 0) {
        return 0;
    }
    std::uint64_t hash = 0;
    for (const std::int64_t part : {room.cpu_milli, room.memory_mib, room.fill, room.whole_gpus}) {
        hash = (hash ^ static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29U;
    }
    Remembered& known = by_room_[hash % remembered];
    if (known.epoch == epoch_ && known.room == room) {
        return known.worth;
    }
    constexpr std::int64_t whole = std::int64_t{whole_gpu} * milli_units;
    std::int64_t usable = 0;
    for (const Class& c : classes_) {
        const std::int64_t fed =
            std::min(room.cpu_milli * c.per_cpu_milli, room.memory_mib * c.per_memory_mib) >>
            (ratio_bits - 6);
        const std::int64_t sets = c.gpus > 1 ? room.whole_gpus / c.gpus * c.gpus * whole : room.fill;
        usable += c.weight * std::min(sets, fed);
    }
    // Nobody who could lack CPU or memory: it is all worth what it is.
    known = {epoch_, room, classes_.empty() ? room.fill : ((usable >> weight_bits) + room.fill) / 2, 0};
    return known.worth;
}

const ExpectedFill::Remembered& ExpectedFill::known(const Node& node) {
    Remembered& known = by_node_[node.version % remembered];
    if (known.epoch != epoch_ || known.version != node.version) {
        const Room room = room_of(node);
        known = {epoch_, room, worth(room), node.version};
    }
    return known;
}

std::int64_t ExpectedFill::worth(const Node& node) { return known(node).worth; }

std::uint16_t ExpectedFill::slot_for_share(std::int32_t share, const Node& node) const {
    std::uint16_t best = 0;
    std::int32_t least = std::numeric_limits<std::int32_t>::max();
    for (std::size_t slot = 0; slot < node.gpu_free.size(); ++slot) {
        const std::int32_t free = node.gpu_free[slot];
        if (free >= share &&
            waste_[static_cast<std::size_t>(free - share)] - waste_[node.gpu_free[slot]] < least) {
            least = waste_[static_cast<std::size_t>(free - share)] - waste_[node.gpu_free[slot]];
            best = static_cast<std::uint16_t>(slot);
        }
    }
    return best;
}

std::int64_t ExpectedFill::loss(const PodSpec& pod, const Node& node) {
    const Remembered& before = known(node);
    Room after = before.room;
    const Quantities& requests = pod.requests;
    after.cpu_milli =
        clamp_room(node.free(Basic::cpu) - requests.basic[static_cast<std::size_t>(Basic::cpu)]);
    after.memory_mib = clamp_room(
        (node.free(Basic::memory) - requests.basic[static_cast<std::size_t>(Basic::memory)]) >> 20);
    if (pod.gpu_share_milli > 0) {
        const std::int32_t free = node.gpu_free[slot_for_share(pod.gpu_share_milli, node)];
        const std::int32_t left = free - pod.gpu_share_milli;
        after.fill += std::int64_t{left - free} * milli_units - waste_[static_cast<std::size_t>(left)] +
                      waste_[static_cast<std::size_t>(free)];
        after.whole_gpus -= free == whole_gpu ? 1 : 0;
    } else {
        after.fill -= requests.gpus * whole_gpu * milli_units;
        after.whole_gpus -= requests.gpus;
    }
    return (before.worth - worth(after)) >> loss_step;
}

}  // namespace nos
