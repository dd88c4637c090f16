// The search behind repack: what is placed may displace what is movable, which then has to be placed itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "contents.h"

namespace nos::mig {

// How many of each kind look for a place. Those of one kind are alike: who moves where is settled at the end.
using Hand = std::vector<std::int32_t>;

struct Change {
    std::size_t gpu = 0;
    ContentId before = 0;
    const Option* option = nullptr;
};

// What was tried in vain: a fingerprint of what the GPUs hold and of the hand, and up to how many moves.
struct Fingerprint {
    std::uint64_t first = 0;
    std::uint64_t second = 0;

    bool operator==(const Fingerprint&) const = default;
};
struct FingerprintHash {
    std::size_t operator()(const Fingerprint& print) const { return static_cast<std::size_t>(print.first); }
};
using Failures = std::unordered_map<Fingerprint, std::int32_t, FingerprintHash>;

enum class Outcome : std::uint8_t { found, impossible, needs_more_moves, cut_short };

// GPUs that hold the same are one case. sizes: units of each kind, which are placed large ones first.
class Displace {
  public:
    Displace(Contents& contents, Failures& failures, std::span<const ContentId> gpus,
             std::span<const std::int32_t> sizes);

    // All ways with at most so many moves, or as many as the steps allow; steps counts down.
    Outcome exhaust(const Hand& hand, std::int32_t most_moves, std::int64_t& steps);
    // Places one instance where exactly so many leave, and these where nothing else has to leave.
    bool place_and_settle(KindId kind, std::int32_t moves, std::int64_t steps_each);
    // A few likely ways, in which large instances displace smaller ones, with any number of moves.
    bool dive(KindId kind, std::int64_t& steps);

    // What the last search that found something changes, in order.
    [[nodiscard]] std::span<const Change> changes() const { return changes_; }

  private:
    struct Candidate {
        ContentId content = 0;
        const Option* option = nullptr;

        [[nodiscard]] bool before(const Candidate& other) const;
    };

    Outcome place_next(std::int64_t& steps);
    bool dive_next(std::int64_t& steps);
    [[nodiscard]] std::optional<KindId> largest_in_hand() const;
    [[nodiscard]] bool lacks_room() const;
    [[nodiscard]] Fingerprint fingerprint() const;
    const std::vector<Candidate>& first_candidates(KindId kind);
    std::vector<Candidate> changed_candidates(KindId kind);
    // Calls visit for each candidate, the best first, until it returns false.
    template <typename Visit>
    void each_candidate(KindId kind, Visit visit);
    void apply(KindId kind, const Candidate& candidate);
    void undo(KindId kind);
    void move(std::size_t gpu, ContentId from, ContentId to);
    void clear();

    Contents& contents_;
    Failures& failures_;
    std::vector<std::int32_t> sizes_;
    std::vector<ContentId> first_contents_;          // ascending, each once
    std::vector<std::vector<std::size_t>> members_;  // GPUs by content, the next one to use last
    std::vector<std::optional<std::vector<Candidate>>> first_candidates_;  // by kind
    std::vector<std::int64_t> room_;                                       // by kind, of all GPUs
    std::array<std::uint64_t, 2> sums_{};                                  // of the fingerprint
    Hand hand_;
    std::int32_t moves_left_ = 0;
    std::vector<Change> changes_;
    std::vector<KindId> placed_;  // by change
};

}  // namespace nos::mig
