// Names <-> dense numbers, in flat memory: copying a table of 100,000 names is a few memcpy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nos {

class Names {
  public:
    // The number of `name`; the lowest free one is given out when it is new. Second: whether it is new.
    std::pair<std::uint32_t, bool> intern(std::string_view name);
    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const;
    // Valid until the next intern or release.
    [[nodiscard]] std::string_view text(std::uint32_t number) const;
    void release(std::uint32_t number);

    // Numbers given out are all below this.
    [[nodiscard]] std::size_t bound() const { return entries_.size(); }
    [[nodiscard]] std::size_t size() const { return entries_.size() - free_.size(); }

  private:
    struct Entry {
        std::uint64_t offset = 0;
        std::uint32_t length = 0;
        std::uint32_t hash = 0;
    };

    [[nodiscard]] std::size_t slot_of(std::string_view name, std::uint32_t hash) const;
    void grow();
    void compact();

    std::string bytes_;
    std::size_t garbage_ = 0;  // bytes of released names
    std::vector<Entry> entries_;
    std::vector<std::uint32_t> free_;   // a min-heap of released numbers
    std::vector<std::uint32_t> slots_;  // open addressing, linear probing; 0 is empty, else number + 1
};

}  // namespace nos
