#include "names.h"

#include <algorithm>
#include <functional>

namespace nos {

namespace {

// FNV-1a: the same on every platform, so that iteration order can never depend on the standard library.
std::uint32_t hash_of(std::string_view name) {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    }
    return static_cast<std::uint32_t>(hash ^ (hash >> 32U));
}

}  // namespace

// The slot that holds `name`, or the empty one where it would go.
std::size_t Names::slot_of(std::string_view name, std::uint32_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = hash & mask;
    while (slots_[slot] != 0) {
        const std::uint32_t number = slots_[slot] - 1;
        if (entries_[number].hash == hash && text(number) == name) {
            break;
        }
        slot = (slot + 1) & mask;
    }
    return slot;
}

std::pair<std::uint32_t, bool> Names::intern(std::string_view name) {
    if ((size() + 1) * 2 > slots_.size()) {
        grow();
    }
    const std::uint32_t hash = hash_of(name);
    const std::size_t slot = slot_of(name, hash);
    if (slots_[slot] != 0) {
        return {slots_[slot] - 1, false};
    }
    std::uint32_t number = 0;
    if (free_.empty()) {
        number = static_cast<std::uint32_t>(entries_.size());
        entries_.emplace_back();
    } else {
        std::ranges::pop_heap(free_, std::greater{});
        number = free_.back();
        free_.pop_back();
    }
    entries_[number] = {bytes_.size(), static_cast<std::uint32_t>(name.size()), hash};
    bytes_ += name;
    slots_[slot] = number + 1;
    return {number, true};
}

std::optional<std::uint32_t> Names::find(std::string_view name) const {
    if (slots_.empty()) {
        return std::nullopt;
    }
    const std::uint32_t entry = slots_[slot_of(name, hash_of(name))];
    return entry == 0 ? std::nullopt : std::optional{entry - 1};
}

std::string_view Names::text(std::uint32_t number) const {
    const Entry& entry = entries_[number];
    return std::string_view{bytes_}.substr(entry.offset, entry.length);
}

void Names::release(std::uint32_t number) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t hole = slot_of(text(number), entries_[number].hash);
    // Close the hole: move back every later entry of the run whose home is not after it.
    for (std::size_t slot = (hole + 1) & mask; slots_[slot] != 0; slot = (slot + 1) & mask) {
        const std::size_t home = entries_[slots_[slot] - 1].hash & mask;
        if (((slot - home) & mask) >= ((slot - hole) & mask)) {
            slots_[hole] = slots_[slot];
            hole = slot;
        }
    }
    slots_[hole] = 0;
    garbage_ += entries_[number].length;
    entries_[number] = {};
    free_.push_back(number);
    std::ranges::push_heap(free_, std::greater{});
    if (garbage_ > 4096 && garbage_ * 2 > bytes_.size()) {
        compact();
    }
}

void Names::grow() {
    std::vector<std::uint32_t> old(std::max<std::size_t>(16, slots_.size() * 2), 0);
    old.swap(slots_);
    for (const std::uint32_t entry : old) {
        if (entry != 0) {
            slots_[slot_of(text(entry - 1), entries_[entry - 1].hash)] = entry;
        }
    }
}

void Names::compact() {
    std::string packed;
    packed.reserve(bytes_.size() - garbage_);
    for (Entry& entry : entries_) {
        const std::size_t offset = packed.size();
        packed.append(bytes_, entry.offset, entry.length);
        entry.offset = offset;
    }
    bytes_.swap(packed);
    garbage_ = 0;
}

}  // namespace nos
