#include "cover.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "branching.h"
#include "cover_rest.h"
#include "cover_settle.h"
#include "master.h"
#include "pricing.h"

namespace nos {

namespace {

constexpr double tiny = 1e-7;
constexpr int most_rounds = 400;                   // of columns for one linear program
constexpr std::int64_t steps_for_one = 1'000;      // pattern, mostly
constexpr std::int64_t steps_for_rest = 300;       // likewise, while rounding
constexpr std::int64_t steps_for_proof = 100'000;  // that there is none better
constexpr std::size_t most_columns = 6'000;        // for branch and bound

class Search {
  public:
    Search(const CoverProblem& problem, std::vector<NodeShape>& shapes, std::int64_t step, std::int64_t steps)
        : problem_{problem}, shapes_{shapes}, step_{step}, steps_{steps} {
        for (const auto& group : problem.groups) {
            scale_ = std::max(scale_, static_cast<double>(group.cost));
        }
    }

    Cover run() {
        generate(problem_, true);
        const double bound = bound_;
        const std::vector<double> worth = worth_;
        const std::vector<double> costs = costs_;
        const double objective = objective_;
        Cover best = round();
        best.bound = bound;
        best.proven = is_proven(best.cost, bound);
        if (!best.proven && steps_ > 0) {
            improve(best, worth, costs, objective);
        }
        return best;
    }

  private:
    // Whether nothing can be cheaper by a step.
    [[nodiscard]] bool is_proven(std::int64_t cost, double bound) const {
        return bound > static_cast<double>(cost - step_) + tiny * scale_;
    }

    // Adds columns until none pays for what is asked; the duals then, and what nothing can be cheaper than.
    std::vector<double> generate(const CoverProblem& problem, bool prove) {
        Master master{problem, scale_};
        for (const CoverColumn& column : columns_) {
            master.add(column);
        }
        const std::vector<std::int64_t> demand = problem.demand();
        const std::int64_t pods = std::accumulate(demand.begin(), demand.end(), std::int64_t{0});
        bool thorough = false;
        bound_ = 0;
        for (int round = 0; round < most_rounds; ++round) {
            if (!master.solve(pivots_)) {
                break;
            }
            worth_ = master.worth();
            costs_.clear();
            bool is_exact = true;
            bool is_new = false;
            double slack = 0;
            double scaled = 1;
            for (std::size_t group = 0; group < shapes_.size(); ++group) {
                costs_.push_back(master.cost_of(group));
                const std::int64_t room = std::min(problem.groups[group].room, pods);
                if (room == 0) {
                    continue;
                }
                Pricing pricing{shapes_[group], demand, worth_};
                std::int64_t steps = prove ? steps_for_one : steps_for_rest;
                steps = thorough ? steps_for_proof : steps;
                Pricing::Best best = pricing.best(costs_[group], steps, thorough);
                if (thorough && best.bound > std::max(best.value, costs_[group])) {
                    best = nearly(pricing, costs_[group], std::move(best));
                    best = by_shared_gpus(shapes_[group], demand, costs_[group], std::move(best));
                }
                if (best.bound > costs_[group]) {
                    // Of the worth, so that the group's own cost, and not what others have of it, is not
                    // exceeded.
                    const double own = static_cast<double>(problem.groups[group].cost) / scale_;
                    scaled = std::min(scaled, own / (best.bound - costs_[group] + own));
                }
                slack += static_cast<double>(room) * std::max(0.0, best.bound - costs_[group]);
                is_exact = is_exact && best.bound <= std::max(best.value, costs_[group]);
                if (best.value > costs_[group] + tiny * (1 + costs_[group])) {
                    if (CoverColumn column{group, std::move(best.pattern)}; known_.insert(column).second) {
                        master.add(column);
                        columns_.push_back(std::move(column));
                        is_new = true;
                    }
                }
            }
            objective_ = master.objective() * scale_;
            bound_ = std::max({bound_, objective_ - slack * scale_, objective_ * scaled});
            if (!is_new && (is_exact || thorough || !prove)) {
                break;
            }
            thorough = !is_new;
        }
        std::vector<double> values;
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            values.push_back(master.value(i));
        }
        return values;
    }

    // That no pattern is worth much more than its cost is shown sooner than that none is worth more.
    static Pricing::Best nearly(Pricing& pricing, double cost, Pricing::Best best) {
        for (const double more : {0.005, 0.01, 0.02}) {
            if (best.value > cost || best.bound <= cost * (1 + more)) {
                break;
            }
            Pricing::Best other = pricing.best(cost * (1 + more), steps_for_proof);
            other.bound = std::min(best.bound, other.bound);
            if (other.value > best.value || other.bound < best.bound) {
                best = std::move(other);
            }
        }
        return best;
    }

    // How many GPUs are shared is a whole number: for each one less can be had of both.
    Pricing::Best by_shared_gpus(NodeShape& shape, const std::vector<std::int64_t>& demand, double cost,
                                 Pricing::Best best) const {
        const std::int64_t gpus = shape.capacity()[NodeShape::units_resource] / whole_gpu;
        if (best.bound <= std::max(best.value, cost) || shape.packing().shares() == 0) {
            return best;
        }
        double bound = 0;
        for (std::int64_t shared = 0; shared <= gpus && bound < best.bound; ++shared) {
            Pricing pricing{shape, demand, worth_, shared};
            Pricing::Best one = nearly(pricing, cost, pricing.best(cost, steps_for_proof, true));
            bound = std::max(bound, one.bound);
            if (one.value > best.value) {
                one.bound = std::max(one.value, best.bound);
                best = std::move(one);
            }
        }
        best.bound = std::max(best.value, std::min(best.bound, bound));
        return best;
    }

    // ---- rounding

    // Takes what is whole, or else most, of each solution, and solves for the rest.
    Cover round() {
        CoverRest rest{problem_};
        std::vector<std::pair<CoverColumn, std::int64_t>> taken;
        while (!rest.is_empty()) {
            const std::vector<double> values = generate(rest.problem(), false);
            std::size_t most = 0;
            bool has_whole = false;
            std::vector<std::pair<std::size_t, std::int64_t>> chosen;
            for (std::size_t i = 0; i < values.size(); ++i) {
                if (const auto whole = static_cast<std::int64_t>(values[i] + tiny); whole > 0) {
                    chosen.emplace_back(i, whole);
                    has_whole = true;
                }
                most = values[i] > values[most] + tiny ? i : most;
            }
            if (!has_whole) {
                if (values.empty() || values[most] <= tiny) {
                    break;
                }
                chosen.emplace_back(most, 1);
            }
            bool is_any = false;
            for (const auto& [index, count] : chosen) {
                const std::int64_t may = std::min(count, rest.room(columns_[index].group));
                if (may > 0) {
                    rest.take(columns_[index], may);
                    taken.emplace_back(columns_[index], may);
                    is_any = true;
                }
            }
            if (!is_any) {
                break;
            }
        }
        return settle(problem_, shapes_, taken);
    }

    // ---- the proof

    // A cover that is cheaper than the best uses only columns that cost little more than they are worth.
    void improve(Cover& best, const std::vector<double>& worth, const std::vector<double>& costs,
                 double objective) {
        const double gap = (static_cast<double>(best.cost - step_) - objective) / scale_;
        std::vector<CoverColumn> columns;
        const std::vector<std::int64_t> demand = problem_.demand();
        for (std::size_t group = 0; group < shapes_.size(); ++group) {
            if (problem_.groups[group].room == 0) {
                continue;
            }
            Pricing pricing{shapes_[group], demand, worth};
            std::vector<Counts> found;
            if (!pricing.list(costs[group] - gap - 10 * tiny, most_columns - columns.size(), steps_, found)) {
                return;
            }
            for (Counts& pattern : found) {
                columns.push_back({group, std::move(pattern)});
            }
            if (columns.size() >= most_columns) {
                return;
            }
        }
        Branching branching{problem_, columns, scale_, best.cost, step_};
        const bool ended = branching.run(steps_);
        if (branching.best()) {
            const double bound = best.bound;
            best = *branching.best();
            best.bound = bound;
        }
        best.proven = ended;
    }

    const CoverProblem& problem_;
    std::vector<NodeShape>& shapes_;
    std::int64_t step_;
    std::int64_t steps_;
    std::int64_t pivots_ = 100'000;
    double scale_ = 1;
    std::vector<CoverColumn> columns_;
    std::set<CoverColumn> known_;
    std::vector<double> worth_;  // of the last linear program
    std::vector<double> costs_;  // likewise, by group
    double objective_ = 0;
    double bound_ = 0;
};

}  // namespace

std::vector<std::int64_t> CoverProblem::demand() const {
    std::vector<std::int64_t> demand(kinds);
    for (const Singles& one : singles) {
        demand[one.kind] += one.count;
    }
    for (const Together& gang : gangs) {
        for (std::size_t kind = 0; kind < kinds; ++kind) {
            demand[kind] += gang.members[kind];
        }
    }
    return demand;
}

std::int64_t CoverProblem::pods() const {
    const std::vector<std::int64_t> all = demand();
    return std::accumulate(all.begin(), all.end(), std::int64_t{0});
}

Cover cover(const CoverProblem& problem, std::vector<NodeShape>& shapes, std::int64_t step,
            std::int64_t most_steps) {
    return Search{problem, shapes, step, most_steps}.run();
}

}  // namespace nos
