#include "edits.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nos {

namespace {

class Listing {
  public:
    Listing(const Cluster& cluster, EditSink& sink) : cluster_{cluster}, sink_{sink} {}

    void run() {
        for (const auto& [name, labels] : cluster_.selection().namespaces()) {
            sink_.upsert_namespace(name, labels);
        }
        list_quotas();
        list_gangs();
        for (const auto& [name, budget] : cluster_.budgets()) {
            sink_.upsert_budget(name, cluster_.selection().selector(budget.selector), budget.allowed);
        }
        list_nodes();
        for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
            for (const PodId id : cluster_.node(NodeId{number}).pods) {
                upsert(id);
                sink_.restore(cluster_.uid(id), cluster_.name(NodeId{number}), cluster_.pod(id));
            }
        }
        for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
            list_nominated(NodeId{number});
        }
        list_waiting();
        for (std::size_t number = 0; number < cluster_.pod_bound(); ++number) {
            if (cluster_.pod(PodId{number}).is_protected) {
                protected_.push_back(cluster_.uid(PodId{number}));
            }
        }
        std::ranges::sort(protected_);
        std::ranges::for_each(protected_, [&](std::string_view uid) { sink_.protect(uid); });
        std::ranges::for_each(stand_ins_, [&](const std::string& uid) { sink_.remove_pod(uid); });
        sink_.set_demand(cluster_.demand());  // after the Pods, which have all arrived anew
    }

  private:
    // Of several resources of which there is not enough the first to be named is told.
    void list_quotas() {
        const Quotas& quotas = cluster_.quotas();
        std::vector<std::pair<std::string_view, QuotaId>> by_name;
        for (std::size_t number = 0; number < quotas.bound(); ++number) {
            if (const QuotaId id{number}; quotas.exists(id)) {
                by_name.emplace_back(quotas.name(id), id);
            }
        }
        std::ranges::sort(by_name);
        const std::string stand_in =
            unused("#", [&](const std::string& name) { return quotas.find(name).has_value(); });
        for (const Quotas::Resource& resource : quotas.resources()) {
            sink_.upsert_quota(stand_in, {{}, {{resource.name, 0}}, {}, {}});
        }
        for (const auto& [name, id] : by_name) {
            sink_.upsert_quota(name, quotas.spec(id));
            if (quotas.habit(id) != 0) {
                sink_.set_habit(name, quotas.habit(id));
            }
        }
        if (!quotas.resources().empty()) {
            sink_.remove_quota(stand_in);
        }
    }

    void list_gangs() {
        std::vector<std::pair<std::string_view, GangId>> by_name;
        for (std::size_t number = 0; number < cluster_.gang_bound(); ++number) {
            if (const GangId id{number}; cluster_.gang(id).spec) {
                by_name.emplace_back(cluster_.name(id), id);
            }
        }
        std::ranges::sort(by_name);
        for (const auto& [name, id] : by_name) {
            sink_.upsert_gang(name, *cluster_.gang(id).spec);
        }
    }

    // By number: of equal nodes the first is taken, and a new one gets the lowest number that is free. Where
    // there is no node now somebody keeps its number, until all are there.
    void list_nodes() {
        std::size_t bound = cluster_.node_bound();
        while (bound > 0 && !cluster_.in_use(NodeId{bound - 1})) {
            --bound;
        }
        for (std::size_t number = 0; number < bound; ++number) {
            const NodeId id{number};
            if (cluster_.node(id).present()) {
                sink_.upsert_node(cluster_.name(id), cluster_.node(id).spec);
                continue;
            }
            const std::string free = unused("#" + std::to_string(number), [&](const std::string& name) {
                return cluster_.find_node(name) || cluster_.find_pod(name);
            });
            PodRecord record;
            record.spec = std::make_shared<PodSpec>();
            record.labels = std::make_shared<PodLabels>();
            record.node = cluster_.in_use(id) ? cluster_.name(id) : std::string_view{free};
            record.nominated = true;
            sink_.upsert_pod(free, record);
            stand_ins_.push_back(free);
        }
    }

    template <class IsTaken>
    static std::string unused(std::string name, const IsTaken& is_taken) {
        while (is_taken(name)) {
            name.insert(0, "#");
        }
        return name;
    }

    void upsert(PodId id, std::string_view nominated_to = {}) {
        const Pod& pod = cluster_.pod(id);
        PodRecord record;
        record.spec = cluster_.spec(pod.spec).spec;
        record.labels = cluster_.selection().shared_labels(pod.labels);
        record.priority = pod.priority;
        record.arrival = pod.arrival;
        record.node = nominated_to;
        record.nominated = !nominated_to.empty();
        record.terminating = pod.terminating;
        record.preempts = pod.preempts;
        record.movable = pod.movable;
        record.wish = pod.wish.valid() && !pod.held ? cluster_.name(pod.wish) : std::string_view{};
        record.gang = pod.gang.valid() ? cluster_.name(pod.gang) : std::string_view{};
        sink_.upsert_pod(cluster_.uid(id), record);
    }

    void list_nominated(NodeId node) {
        for (const PodId id : cluster_.node(node).nominated) {
            const bool held = cluster_.pod(id).held;
            upsert(id, held ? std::string_view{} : cluster_.name(node));
            if (held) {
                sink_.hold(cluster_.uid(id), cluster_.name(node));
            }
        }
    }

    void list_waiting() {
        std::vector<PodId> waiting{cluster_.waiting().begin(), cluster_.waiting().end()};
        std::ranges::sort(waiting, {}, [&](PodId id) { return cluster_.uid(id); });
        for (const PodId id : waiting) {
            upsert(id);
        }
    }

    const Cluster& cluster_;
    EditSink& sink_;
    std::vector<std::string> stand_ins_;  // Pods that keep numbers of nodes
    std::vector<std::string_view> protected_;
};

}  // namespace

void list_edits(const Cluster& cluster, EditSink& sink) {
    cluster.refuse_in_transaction();
    Listing{cluster, sink}.run();
}

// ---- edits that nobody else makes

void Cluster::restore(PodId id, std::string_view node, Phase phase, Slots gpus, Instances instances,
                      std::vector<std::string> volumes, bool leaving) {
    refuse_in_transaction();
    if (pods_[id].phase != Phase::waiting) {
        throw std::invalid_argument("Pod " + std::string{uid(id)} + " does not wait");
    }
    if (node.empty()) {
        throw std::invalid_argument("a node needs a name");
    }
    if (!volumes.empty() && phase != Phase::assumed) {
        throw std::invalid_argument("volumes are chosen for an assumed Pod only");
    }
    require_unchosen(volumes);
    stop_waiting(id);
    pods_[id].volumes = std::move(volumes);
    attach(id, intern_node(node), phase, std::move(gpus), std::move(instances), Claiming::known);
    set_leaving(id, leaving);
}

void Cluster::set_demand(Demand demand) {
    refuse_in_transaction();
    demand_ = std::move(demand);
    ++demand_version_;
}

}  // namespace nos
