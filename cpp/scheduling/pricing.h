// The patterns of one group: which Pods share one new node.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "node_shape.h"

namespace nos {

class Pricing {
  public:
    struct Best {
        Counts pattern;
        double value = 0;
        double bound = 0;  // no pattern is worth more
    };

    // worth: of one Pod of each kind. demand: how many of each kind there are. shared: if given, only of
    // patterns with so many GPUs for shares is it said what none exceeds; of others it may be less.
    Pricing(NodeShape& shape, const std::vector<std::int64_t>& demand, const std::vector<double>& worth,
            std::optional<std::int64_t> shared = std::nullopt);

    // The pattern that is worth most, or a good one if the steps run out; of those worth more than `enough`.
    // Else it is any.
    Best best(double enough, std::int64_t steps, bool is_thorough = false);
    // All patterns worth more than that to which nobody could be added; false when there are too many, or the
    // steps run out.
    bool list(double more_than, std::size_t most, std::int64_t& steps, std::vector<Counts>& found);

  private:
    void set_gains();
    // So many more of the kind at the place, if they fit.
    void take(std::size_t place, std::int32_t most);
    // Beside what is taken, of each what fits; keeps it if it is the best, and begins anew.
    void fill(std::size_t last);
    void search(std::size_t place, double value, double upper);
    void list_from(std::size_t place, double value, double upper);
    // Visits each count of the kind at the place that may still be good enough, the most promising first.
    template <class Visit>
    void each_count(std::size_t place, double upper, double enough, Visit visit);
    [[nodiscard]] bool is_maximal();

    NodeShape& shape_;
    std::optional<std::int64_t> shared_;
    // By place: the kinds that are on such nodes at all, those that gain most first.
    std::vector<std::size_t> order_;
    std::vector<std::int32_t> demand_;
    std::size_t useful_ = 0;  // those of them that are worth anything
    std::vector<double> worth_;
    std::vector<std::int32_t> whole_;  // of each in the best part, were they divisible
    // Resources have prices at which the best part of Pods, were they divisible, just uses up the node. A Pod
    // gains what it is worth beyond what it takes. No pattern is worth more than the node and all gains.
    std::vector<double> gain_;
    std::vector<double> gains_after_;  // of all from the place on, as many as there are
    double node_ = 0;                  // what the whole node is worth

    NodeShape::Left left_;
    Counts counts_;
    std::int64_t steps_ = 0;
    Best best_;
    double enough_ = 0;
    double threshold_ = 0;
    std::size_t most_ = 0;
    std::vector<Counts>* found_ = nullptr;
};

}  // namespace nos
