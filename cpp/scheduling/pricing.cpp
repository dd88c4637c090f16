#include "pricing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <tuple>

#include "linear_program.h"

namespace nos {

namespace {

constexpr double tiny = 1e-9;
constexpr double rounding = 1e-7;  // of equal gains
constexpr std::int64_t most_pivots = 1'000;

}  // namespace

Pricing::Pricing(NodeShape& shape, const std::vector<std::int64_t>& demand, const std::vector<double>& worth,
                 std::optional<std::int64_t> shared)
    : shape_{shape}, shared_{shared}, left_{shape.empty()}, counts_(demand.size()) {
    for (std::size_t kind = 0; kind < demand.size(); ++kind) {
        if (demand[kind] > 0 && shape.may_hold(kind)) {
            order_.push_back(kind);
            worth_.push_back(worth[kind]);
            demand_.push_back(shape.more(
                left_, kind, static_cast<std::int32_t>(std::min<std::int64_t>(demand[kind], 1 << 20))));
        }
    }
    set_gains();
}

void Pricing::set_gains() {
    const auto& capacity = shape_.capacity();
    const auto part = [&](std::size_t place, std::size_t resource) {
        return capacity[resource] == 0 ? 0
                                       : static_cast<double>(shape_.wants(order_[place])[resource]) /
                                             static_cast<double>(capacity[resource]);
    };
    const GpuPacking& packing = shape_.packing();
    const std::size_t first_profile = 1 + packing.shares();
    const std::size_t profiles = packing.geometries().empty() ? 0 : packing.geometries().front().size();
    const std::size_t profile_rows = capacity.size();
    const std::size_t own_rows = profile_rows + profiles;
    const std::size_t gpu_row = NodeShape::units_resource;

    // The GPUs are cut in any mix of geometries; all else is a sum. Where it is known how many GPUs are
    // shared, shares have those, and nothing else has.
    const double gpu = capacity[gpu_row] == 0 ? 0 : whole_gpu / static_cast<double>(capacity[gpu_row]);
    const std::size_t share_row = shared_ ? own_rows : gpu_row;
    std::vector<double> amounts(capacity.size(), 1);
    amounts.resize(own_rows, 0);
    if (shared_) {
        amounts.push_back(static_cast<double>(*shared_) * gpu);
        amounts[gpu_row] -= amounts.back();
    }
    std::vector<LinearProgram::Row> rows;
    for (const double amount : amounts) {
        rows.push_back({false, std::max(0.0, amount)});
    }
    for (const std::int32_t most : demand_) {
        rows.push_back({false, static_cast<double>(most)});
    }
    LinearProgram divisible{std::move(rows), 0};
    for (const auto& geometry : packing.geometries()) {
        LinearProgram::Entries entries{{gpu_row, gpu}};
        for (std::size_t profile = 0; profile < profiles; ++profile) {
            entries.emplace_back(profile_rows + profile, -geometry[profile]);
        }
        divisible.add(0, std::move(entries));
    }
    // Of the GPUs, what the Pod takes of the kinds of loads from the one to the other: units of instances are
    // taken by the geometries.
    const auto gpu_part = [&](std::size_t place, std::size_t from, std::size_t to) {
        double milli = 0;
        for (std::size_t i = from; i < to; ++i) {
            milli += static_cast<double>(shape_.load(order_[place])[i] * packing.milli_units(i));
        }
        return milli * gpu / whole_gpu;
    };
    // Of what a row counts, what the Pod takes itself.
    const auto own_part = [&](std::size_t place, std::size_t row) {
        if (row == share_row && shared_) {
            return gpu_part(place, 1, first_profile);
        }
        if (row == gpu_row) {
            return gpu_part(place, 0, shared_ ? 1 : first_profile);
        }
        return row < capacity.size() ? part(place, row) : 0;
    };
    const std::size_t first_kind = packing.geometries().size();
    for (std::size_t place = 0; place < order_.size(); ++place) {
        LinearProgram::Entries entries{{amounts.size() + place, 1}};
        for (std::size_t row = 0; row < amounts.size(); ++row) {
            if (const double wanted = own_part(place, row); wanted > 0) {
                entries.emplace_back(row, wanted);
            }
        }
        for (std::size_t profile = 0; profile < profiles; ++profile) {
            if (const auto count = shape_.load(order_[place])[first_profile + profile]; count > 0) {
                entries.emplace_back(profile_rows + profile, count);
            }
        }
        divisible.add(-worth_[place], std::move(entries));
    }
    std::int64_t pivots = most_pivots;
    divisible.solve(pivots);
    // Whatever the prices are, as long as none is negative and no geometry costs more than its GPU, what
    // follows from them is true.
    std::vector<double> prices;
    for (std::size_t row = 0; row < amounts.size(); ++row) {
        prices.push_back(std::max(0.0, -divisible.duals()[row]));
    }
    for (const auto& geometry : packing.geometries()) {
        double sum = 0;
        for (std::size_t profile = 0; profile < profiles; ++profile) {
            sum += geometry[profile] * prices[profile_rows + profile];
        }
        prices[gpu_row] = gpu > 0 ? std::max(prices[gpu_row], sum / gpu) : 0;
    }
    node_ = std::inner_product(prices.begin(), prices.end(), amounts.begin(), 0.0);
    std::vector<std::pair<double, std::size_t>> ranked;
    for (std::size_t place = 0; place < order_.size(); ++place) {
        double gain = worth_[place];
        for (std::size_t row = 0; row < amounts.size(); ++row) {
            gain -= own_part(place, row) * prices[row];
        }
        for (std::size_t profile = 0; profile < profiles; ++profile) {
            gain -= shape_.load(order_[place])[first_profile + profile] * prices[profile_rows + profile];
        }
        ranked.emplace_back(gain, place);
    }
    // Those that are worth nothing come last: a search for the best pattern leaves them out.
    std::ranges::stable_sort(ranked, std::greater{}, [&](const auto& one) {
        return std::tuple{worth_[one.second] > tiny, std::round(one.first / rounding), worth_[one.second]};
    });
    useful_ = static_cast<std::size_t>(std::ranges::count_if(worth_, [](double one) { return one > tiny; }));
    const auto [order, demand, worth] = std::tuple{order_, demand_, worth_};
    gains_after_.assign(ranked.size() + 1, 0);
    for (std::size_t i = 0; i < ranked.size(); ++i) {
        const auto& [gain, place] = ranked[i];
        gain_.push_back(gain);
        order_[i] = order[place];
        demand_[i] = demand[place];
        worth_[i] = worth[place];
        whole_.push_back(static_cast<std::int32_t>(divisible.value(first_kind + place) + tiny));
    }
    for (std::size_t i = ranked.size(); i-- > 0;) {
        gains_after_[i] = gains_after_[i + 1] + std::max(0.0, gain_[i]) * demand_[i];
    }
}

// upper: what the counts so far have gained, and the node.
template <class Visit>
void Pricing::each_count(std::size_t place, double upper, double enough, Visit visit) {
    const std::size_t kind = order_[place];
    const std::int32_t most = shape_.more(left_, kind, demand_[place]);
    const bool gains = gain_[place] > -tiny;
    for (std::int32_t i = 0; i <= most && steps_ >= 0; ++i) {
        const std::int32_t count = gains ? most - i : i;
        const double then = upper + count * gain_[place];
        if (then + gains_after_[place + 1] <= enough) {
            break;  // the next ones gain less
        }
        shape_.add(left_, kind, count);
        counts_[kind] = count;
        visit(count, then);
        shape_.add(left_, kind, -count);
    }
    counts_[kind] = 0;
}

void Pricing::search(std::size_t place, double value, double upper) {
    if (value > best_.value + tiny) {
        best_.value = value;
        best_.pattern = counts_;
    }
    if (place == useful_ || --steps_ < 0) {
        return;
    }
    each_count(place, upper, std::max(enough_, best_.value) + tiny, [&](std::int32_t count, double then) {
        search(place + 1, value + count * worth_[place], then);
    });
}

void Pricing::take(std::size_t place, std::int32_t most) {
    const std::size_t kind = order_[place];
    const std::int32_t count = shape_.more(left_, kind, std::min(most, demand_[place] - counts_[kind]));
    shape_.add(left_, kind, count);
    counts_[kind] += count;
}

// The places one after the other, `last` after all others.
void Pricing::fill(std::size_t last) {
    for (std::size_t place = 0; place < useful_; ++place) {
        if (place != last) {
            take(place, demand_[place]);
        }
    }
    take(last, demand_[last]);
    double value = 0;
    for (std::size_t place = 0; place < useful_; ++place) {
        value += counts_[order_[place]] * worth_[place];
    }
    if (value > best_.value + tiny) {
        best_.value = value;
        best_.pattern = counts_;
    }
    std::ranges::fill(counts_, 0);
    left_ = shape_.empty();
}

Pricing::Best Pricing::best(double enough, std::int64_t steps, bool is_thorough) {
    enough_ = enough;
    steps_ = steps;
    best_ = {Counts(counts_.size()), 0, 0};
    for (std::size_t place = 0; place < useful_; ++place) {
        take(place, whole_[place]);
    }
    if (useful_ > 0) {
        fill(0);
    }
    for (std::size_t place = 0; place < useful_; ++place) {
        for (std::int32_t most = demand_[place]; most > 0; most = is_thorough ? most - 1 : 0) {
            take(place, most);
            fill(place);
        }
    }
    search(0, 0, node_);
    best_.bound =
        steps_ >= 0 ? std::max(best_.value, enough) : std::max(best_.value, node_ + gains_after_.front());
    // Whoever fits beside them comes for nothing.
    NodeShape::Left left = shape_.empty();
    for (std::size_t kind = 0; kind < counts_.size(); ++kind) {
        shape_.add(left, kind, best_.pattern[kind]);
    }
    for (std::size_t place = 0; place < order_.size(); ++place) {
        const std::size_t kind = order_[place];
        const std::int32_t more = shape_.more(left, kind, demand_[place] - best_.pattern[kind]);
        shape_.add(left, kind, more);
        best_.pattern[kind] += more;
    }
    return best_;
}

bool Pricing::is_maximal() {
    for (std::size_t place = 0; place < order_.size(); ++place) {
        const std::size_t kind = order_[place];
        if (counts_[kind] < demand_[place] && shape_.more(left_, kind, 1) > 0) {
            return false;
        }
    }
    return true;
}

void Pricing::list_from(std::size_t place, double value, double upper) {
    if (--steps_ < 0 || found_->size() > most_) {
        return;
    }
    if (place == order_.size()) {
        if (value > threshold_ && is_maximal()) {
            found_->push_back(counts_);
        }
        return;
    }
    each_count(place, upper, threshold_, [&](std::int32_t count, double then) {
        list_from(place + 1, value + count * worth_[place], then);
    });
}

bool Pricing::list(double more_than, std::size_t most, std::int64_t& steps, std::vector<Counts>& found) {
    steps_ = steps;
    threshold_ = more_than;
    most_ = most;
    found_ = &found;
    list_from(0, 0, node_);
    steps = steps_;
    return steps_ >= 0 && found.size() <= most;
}

}  // namespace nos
