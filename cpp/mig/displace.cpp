#include "displace.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace nos::mig {

namespace {

constexpr std::int32_t any_number = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t most_remembered = 1U << 20U;
constexpr int most_dives = 4;  // from one instance

// Any bijection that spreads bits well: the multiplier is 2^64 over the golden ratio.
std::uint64_t spread(std::uint64_t value) {
    value = (value + 1) * 0x9E3779B97F4A7C15U;
    value ^= value >> 29U;
    value *= 0x9E3779B97F4A7C15U;
    return value ^ value >> 32U;
}

std::int32_t leaving(const Option& option) { return static_cast<std::int32_t>(option.leave.size()); }

}  // namespace

bool Displace::Candidate::before(const Candidate& other) const {
    return std::tuple{option->leave.size(), option->cost, content, option->placement} <
           std::tuple{other.option->leave.size(), other.option->cost, other.content, other.option->placement};
}

Displace::Displace(Contents& contents, Failures& failures, std::span<const ContentId> gpus,
                   std::span<const std::int32_t> sizes)
    : contents_{contents},
      failures_{failures},
      sizes_{sizes.begin(), sizes.end()},
      first_contents_{gpus.begin(), gpus.end()},
      first_candidates_(contents.kinds()),
      room_(contents.kinds()),
      hand_(contents.kinds()) {
    std::ranges::sort(first_contents_);
    const auto repeated = std::ranges::unique(first_contents_);
    first_contents_.erase(repeated.begin(), repeated.end());
    for (std::size_t gpu = gpus.size(); gpu-- > 0;) {
        const ContentId content = gpus[gpu];
        if (members_.size() <= content) {
            members_.resize(content + std::size_t{1});
        }
        members_[content].push_back(gpu);
        for (KindId kind = 0; kind < room_.size(); ++kind) {
            room_[kind] += contents.room(content, kind);
        }
        sums_[0] += spread(content);
        sums_[1] += spread(spread(content));
    }
}

Outcome Displace::exhaust(const Hand& hand, std::int32_t most_moves, std::int64_t& steps) {
    clear();
    hand_ = hand;
    moves_left_ = most_moves;
    return place_next(steps);
}

bool Displace::place_and_settle(KindId kind, std::int32_t moves, std::int64_t steps_each) {
    clear();
    bool found = false;
    each_candidate(kind, [&](const Candidate& candidate) {
        if (leaving(*candidate.option) == moves) {
            ++hand_[kind];
            moves_left_ = moves;
            apply(kind, candidate);
            std::int64_t steps = steps_each;
            found = place_next(steps) == Outcome::found;
            if (!found) {
                undo(kind);
            }
        }
        return !found && leaving(*candidate.option) <= moves;
    });
    return found;
}

bool Displace::dive(KindId kind, std::int64_t& steps) {
    clear();
    ++hand_[kind];
    moves_left_ = any_number;
    return dive_next(steps);
}

Outcome Displace::place_next(std::int64_t& steps) {
    const auto kind = largest_in_hand();
    if (!kind) {
        return Outcome::found;
    }
    if (moves_left_ == 0 && lacks_room()) {
        return Outcome::needs_more_moves;
    }
    const Fingerprint print = fingerprint();
    if (const auto known = failures_.find(print); known != failures_.end() && known->second >= moves_left_) {
        return known->second == any_number ? Outcome::impossible : Outcome::needs_more_moves;
    }
    steps -= static_cast<std::int64_t>(changes_.size() / 8);
    Outcome outcome = Outcome::impossible;
    each_candidate(*kind, [&](const Candidate& candidate) {
        if (leaving(*candidate.option) > moves_left_) {
            outcome = Outcome::needs_more_moves;
            return false;
        }
        if (--steps < 0) {
            outcome = Outcome::cut_short;
            return false;
        }
        apply(*kind, candidate);
        const Outcome rest = place_next(steps);
        if (rest != Outcome::found) {
            undo(*kind);
        }
        if (rest != Outcome::impossible) {
            outcome = rest;
        }
        return rest == Outcome::impossible || rest == Outcome::needs_more_moves;
    });
    if (outcome == Outcome::impossible || outcome == Outcome::needs_more_moves) {
        if (failures_.size() >= most_remembered) {
            failures_.clear();
        }
        failures_[print] = outcome == Outcome::impossible ? any_number : moves_left_;
    }
    return outcome;
}

bool Displace::dive_next(std::int64_t& steps) {
    const auto kind = largest_in_hand();
    if (!kind) {
        return true;
    }
    bool found = false;
    int tried = 0;
    each_candidate(*kind, [&](const Candidate& candidate) {
        if (std::ranges::any_of(candidate.option->leaving,
                                [&](KindId other) { return sizes_[other] >= sizes_[*kind]; })) {
            return true;
        }
        if (--steps < 0 || ++tried > most_dives) {
            return false;
        }
        apply(*kind, candidate);
        found = dive_next(steps);
        if (!found) {
            undo(*kind);
        }
        return !found;
    });
    return found;
}

std::optional<KindId> Displace::largest_in_hand() const {
    std::optional<KindId> largest;
    for (KindId kind = 0; kind < hand_.size(); ++kind) {
        if (hand_[kind] > 0 && (!largest || sizes_[kind] > sizes_[*largest])) {
            largest = kind;
        }
    }
    return largest;
}

bool Displace::lacks_room() const {
    for (KindId kind = 0; kind < hand_.size(); ++kind) {
        if (hand_[kind] > room_[kind]) {
            return true;
        }
    }
    return false;
}

Fingerprint Displace::fingerprint() const {
    Fingerprint print{sums_[0], sums_[1]};
    for (KindId kind = 0; kind < hand_.size(); ++kind) {
        const std::uint64_t many = (std::uint64_t{kind} + 1) << 40U | static_cast<std::uint64_t>(hand_[kind]);
        print.first += spread(many);
        print.second += spread(spread(many));
    }
    return print;
}

const std::vector<Displace::Candidate>& Displace::first_candidates(KindId kind) {
    if (!first_candidates_[kind]) {
        std::vector<Candidate> found;
        for (const ContentId content : first_contents_) {
            for (const Option& option : contents_.options(content, kind)) {
                found.push_back({content, &option});
            }
        }
        std::ranges::sort(found, &Candidate::before);
        first_candidates_[kind] = std::move(found);
    }
    return *first_candidates_[kind];
}

// Of the contents that came up on the way here and are still there.
std::vector<Displace::Candidate> Displace::changed_candidates(KindId kind) {
    std::vector<ContentId> changed;
    for (const Change& change : changes_) {
        const ContentId content = change.option->after;
        if (!members_[content].empty() && !std::ranges::binary_search(first_contents_, content)) {
            changed.push_back(content);
        }
    }
    std::ranges::sort(changed);
    const auto repeated = std::ranges::unique(changed);
    changed.erase(repeated.begin(), repeated.end());
    std::vector<Candidate> found;
    for (const ContentId content : changed) {
        for (const Option& option : contents_.options(content, kind)) {
            found.push_back({content, &option});
        }
    }
    std::ranges::sort(found, &Candidate::before);
    return found;
}

template <typename Visit>
void Displace::each_candidate(KindId kind, Visit visit) {
    const std::vector<Candidate>& first = first_candidates(kind);
    const std::vector<Candidate> changed = changed_candidates(kind);
    auto a = first.begin();
    auto b = changed.begin();
    while (a != first.end() || b != changed.end()) {
        if (a != first.end() && members_[a->content].empty()) {
            ++a;
            continue;
        }
        const bool take_first = b == changed.end() || (a != first.end() && a->before(*b));
        if (!visit(take_first ? *a++ : *b++)) {
            return;
        }
    }
}

void Displace::apply(KindId kind, const Candidate& candidate) {
    const std::size_t gpu = members_[candidate.content].back();
    changes_.push_back({gpu, candidate.content, candidate.option});
    placed_.push_back(kind);
    --hand_[kind];
    for (const KindId other : candidate.option->leaving) {
        ++hand_[other];
        --moves_left_;
    }
    move(gpu, candidate.content, candidate.option->after);
}

void Displace::undo(KindId kind) {
    const Change change = changes_.back();
    changes_.pop_back();
    placed_.pop_back();
    ++hand_[kind];
    for (const KindId other : change.option->leaving) {
        --hand_[other];
        ++moves_left_;
    }
    move(change.gpu, change.option->after, change.before);
}

void Displace::move(std::size_t gpu, ContentId from, ContentId to) {
    if (members_.size() <= to) {
        members_.resize(to + std::size_t{1});
    }
    members_[from].pop_back();
    members_[to].push_back(gpu);
    for (KindId kind = 0; kind < room_.size(); ++kind) {
        room_[kind] += contents_.room(to, kind) - contents_.room(from, kind);
    }
    sums_[0] += spread(to) - spread(from);
    sums_[1] += spread(spread(to)) - spread(spread(from));
}

void Displace::clear() {
    while (!changes_.empty()) {
        undo(placed_.back());
    }
    std::ranges::fill(hand_, 0);
}

}  // namespace nos::mig
