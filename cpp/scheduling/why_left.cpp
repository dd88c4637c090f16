#include "why_left.h"

#include <tuple>

#include "gate.h"
#include "quota_reason.h"
#include "ranking.h"
#include "reason.h"

namespace nos {

std::string WhyLeft::operator()(PodId id) {
    const Pod& pod = cluster_.pod(id);
    const auto [known, is_new] = known_.try_emplace(
        std::tuple{pod.spec, cluster_.selection().kin(pod.labels), pod.quota, pod.gang}, "");
    if (!is_new) {
        return known->second;
    }
    std::string why;
    for (std::size_t group = 0; group < purchase_.groups().size(); ++group) {
        why +=
            (why.empty() ? "Group " : "; group ") + purchase_.groups()[group].id + ": " + in_group(id, group);
    }
    if (why.empty()) {
        why = "No group offers nodes";
    }
    known->second = why;
    return why;
}

std::string WhyLeft::in_group(PodId id, std::size_t group) {
    // Asked of one node more than there may be: what would not help must not be blamed on a limit.
    const NodeGroup& one = purchase_.groups()[group];
    std::int64_t number = 0;
    const NodeId node = add_node(cluster_, one, number);
    const Pod& pod = cluster_.pod(id);
    const InternedSpec& interned = cluster_.spec(pod.spec);
    const Verdict verdict = verdict_on(node, interned, cluster_.selection().kin(pod.labels));
    std::string text;
    if (!verdict.fits()) {
        Verdict absent;
        absent.add(Verdict::absent);
        Table<NodeId, Verdict> verdicts;
        verdicts.resize(cluster_.node_bound(), absent);
        verdicts[node] = verdict;
        for (const auto& [cause, nodes] : explain(cluster_, interned, verdicts).counts) {
            text += (text.empty() ? "" : ", ") + cause;
        }
    } else if (const std::string obstacle = purchase_.obstacle(group); !obstacle.empty()) {
        text = obstacle;
    } else if (const auto refused = refusal(cluster_, id, node)) {
        text = explain(cluster_, *refused).message;
    } else {
        text = pod.gang.valid() ? "too few of its pod group fit" : "too few nodes can be had";
    }
    const std::string name{cluster_.name(node)};  // which does not outlive it there
    cluster_.remove_node(name);
    return text;
}

Verdict WhyLeft::verdict_on(NodeId node, const InternedSpec& interned, KinId kin) const {
    if (Neighbours::matter(cluster_, interned, kin)) {
        Scorer scorer{Policy{}};
        scorer.learn(cluster_);
        Ranking ranking{interned, kin};
        ranking.refresh(cluster_, scorer, interned);
        return ranking.verdicts(cluster_, interned)[node];
    }
    Verdict verdict = match_spec(cluster_, *interned.spec, node);
    verdict.add(match_room(cluster_, interned, cluster_.node(node)));
    return verdict;
}

}  // namespace nos
