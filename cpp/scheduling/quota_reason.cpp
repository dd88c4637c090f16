#include "quota_reason.h"

#include <algorithm>
#include <limits>
#include <string>

#include "amount_text.h"

namespace nos {

namespace {

std::int64_t narrow(Wide amount) {
    return static_cast<std::int64_t>(std::min<Wide>(amount, std::numeric_limits<std::int64_t>::max()));
}

// One resource that runs short: so much in use of so much.
struct Shortage {
    std::string resource;
    std::int64_t used = 0;
    std::int64_t bound = 0;
    std::int64_t asked = 0;

    [[nodiscard]] std::string text(std::int64_t amount) const { return amount_text(resource, amount); }
    [[nodiscard]] std::string use() const {
        return text(used) + " of " + amount_of(resource, bound) + (bound == 1 ? " is" : " are") +
               " in use, and the Pod asks for " + text(asked) + ".";
    }
    // Less in use helps only as long as the Pod is not larger than the bound itself.
    [[nodiscard]] std::string fix(const std::string& raise) const {
        const std::string less = asked > bound ? "Only " : text(used + asked - bound) + " less in use, or ";
        return " " + less + raise + " " + amount_of(resource, used + asked) + (asked > bound ? "" : ",") +
               " would let it in.";
    }
};

}  // namespace

Reason explain(const Cluster& cluster, const Refusal& refusal) {
    const Quotas& quotas = cluster.quotas();
    const Quotas::Use& use = quotas.use(refusal.quota, refusal.resource);
    const std::string name{quotas.name(refusal.quota)};
    Shortage shortage{quotas.resources()[refusal.resource].name, use.used, use.max, refusal.asked};
    if (refusal.bound == Refusal::Bound::max) {
        return {ReasonCode::quota_max,
                name + " has too little left under its max: " + shortage.use() + shortage.fix("a max of"),
                {}};
    }
    const std::string own =
        " " + name + " uses " + shortage.text(use.used) + ", its min is " + shortage.text(use.min) + ".";
    const Quotas::Pool& all = quotas.pool({}, refusal.resource);
    shortage.used = narrow(all.used);
    shortage.bound = narrow(all.min);
    return {ReasonCode::quota_exhausted,
            "Too little is left of what all quotas guarantee together: " + shortage.use() + own +
                shortage.fix("mins that add up to"),
            {}};
}

}  // namespace nos
