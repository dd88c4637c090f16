#include "edits.h"

#include <pybind11/stl.h>

#include <charconv>
#include <limits>
#include <map>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "bind.h"

namespace py = pybind11;

namespace nos {

namespace {

using NamedClass = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int32_t, std::int64_t>;
using NamedCount = std::pair<std::string, std::int64_t>;

// As set_demand takes it.
py::dict arguments(const Demand& demand) {
    std::vector<NamedClass> counts;
    for (const auto& [asked, count] : demand.counts()) {
        counts.emplace_back(asked.cpu_milli, asked.memory_bytes, asked.gpus, asked.gpu_share_milli, count);
    }
    py::dict call;
    call["counts"] = counts;
    call["instances"] = demand.instances();
    call["arrivals"] = demand.arrivals();
    return call;
}

// Where nobody knows the model of the GPU a profile is told by # and its number.
std::vector<NamedHeld> wanted(const Cluster& cluster, const Pod& pod) {
    const Node& node = cluster.node(pod.node);
    std::vector<NamedHeld> result;
    for (const Held& held : pod.instances) {
        if (node.present() && held.gpu < node.cuts.size()) {
            const auto [profile, start] = named(*node.spec->gpus[held.gpu].model, held.placement);
            result.emplace_back(held.gpu, profile, start);
        } else {
            result.emplace_back(held.gpu, "#" + std::to_string(held.placement.profile), held.placement.start);
        }
    }
    return result;
}

mig::Placement numbered_placement(const std::string& profile, int start) {
    mig::Placement placement;
    const char* const end = profile.data() + profile.size();
    const auto [parsed, error] = std::from_chars(profile.data() + 1, end, placement.profile);
    if (error != std::errc{} || parsed != end || start < 0 ||
        start > std::numeric_limits<std::uint8_t>::max()) {
        throw py::value_error("instances: there is no profile " + profile + " at " + std::to_string(start));
    }
    placement.start = static_cast<std::uint8_t>(start);
    return placement;
}

Instances wanted_instances(const Cluster& cluster, std::string_view node,
                           const std::vector<NamedHeld>& instances) {
    Instances result;
    const auto id = cluster.find_node(node);
    for (const auto& [slot, profile, start] : instances) {
        if (profile.starts_with('#')) {
            result.push_back({slot, numbered_placement(profile, start)});
            continue;
        }
        const bool is_cut = id && cluster.node(*id).present() && slot < cluster.node(*id).spec->gpus.size();
        const auto model = is_cut ? cluster.node(*id).spec->gpus[slot].model : nullptr;
        if (model == nullptr) {
            throw py::value_error("instances: nos does not cut GPU " + std::to_string(slot) + " of node " +
                                  std::string{node});
        }
        result.push_back({slot, placement_of(*model, {profile, start})});
    }
    return result;
}

// Writes edits down as calls; a keyword whose value is the default is left out.
class Calls : public EditSink {
  public:
    explicit Calls(const Cluster& cluster) : cluster_{cluster} {}

    [[nodiscard]] const py::list& all() const { return all_; }

    void upsert_namespace(std::string_view name, const Labels& labels) override {
        const py::dict call = begin("upsert_namespace", "name", name);
        call["labels"] = label_map(labels);
    }
    void upsert_quota(std::string_view name, const QuotaSpec& spec) override {
        const py::dict call = begin("upsert_quota", "name", name);
        call["spec"] = QuotaSpecHandle{std::make_shared<QuotaSpec>(spec)};
    }
    void remove_quota(std::string_view name) override { begin("remove_quota", "name", name); }
    void set_habit(std::string_view name, std::int64_t habit) override {
        begin("set_habit", "name", name)["habit"] = habit;
    }
    void upsert_gang(std::string_view name, const GangSpec& spec) override {
        const py::dict call = begin("upsert_gang", "name", name);
        call["min_members"] = spec.min_members;
        put(call, "topology_key", spec.topology_key, {});
        put(call, "required", spec.required, false);
        put(call, "problem", spec.problem, {});
    }
    void upsert_budget(std::string_view name, const PodSelector& selector, std::int64_t allowed) override {
        const py::dict call = begin("upsert_budget", "name", name);
        call["selector"] = selector;
        call["allowed"] = allowed;
    }
    void upsert_node(std::string_view name, const std::shared_ptr<const NodeSpec>& spec) override {
        begin("upsert_node", "name", name)["spec"] = shared<NodeSpecHandle>(spec);
    }
    void upsert_pod(std::string_view uid, const PodRecord& record) override {
        const py::dict call = begin("upsert_pod", "uid", uid);
        call["spec"] = shared<PodSpecHandle>(record.spec);
        if (*record.labels != PodLabels{}) {
            call["labels"] = shared<PodLabelsHandle>(record.labels);
        }
        put(call, "priority", record.priority, 0);
        put(call, "arrival", record.arrival, 0);
        put(call, "node", record.node, {});
        put(call, "terminating", record.terminating, false);
        put(call, "nominated", record.nominated, false);
        put(call, "gang", record.gang, {});
        put(call, "preempts", record.preempts, true);
        put(call, "wish", record.wish, {});
        put(call, "movable", record.movable, false);
    }
    void remove_pod(std::string_view uid) override { begin("remove_pod", "uid", uid); }
    void restore(std::string_view uid, std::string_view node, const Pod& pod) override {
        const py::dict call = begin("restore", "uid", uid);
        call["node"] = node;
        put(call, "assumed", pod.phase == Phase::assumed, false);
        put(call, "gpus", listed(pod.gpus), {});
        put(call, "instances", wanted(cluster_, pod), {});
        put(call, "volumes", pod.volumes, {});
        put(call, "leaving", pod.leaving, false);
    }
    void hold(std::string_view uid, std::string_view node) override {
        begin("hold", "uid", uid)["node"] = node;
    }
    void protect(std::string_view uid) override { begin("protect", "uid", uid)["on"] = true; }
    void set_demand(const Demand& demand) override {
        all_.append(py::make_tuple("set_demand", arguments(demand)));
    }

  private:
    py::dict begin(const char* method, const char* key, std::string_view name) {
        py::dict call;
        call[key] = name;
        all_.append(py::make_tuple(method, call));
        return call;
    }

    template <class T>
    static void put(const py::dict& call, const char* key, const T& value,
                    const std::type_identity_t<T>& usual) {
        if (value != usual) {
            call[key] = value;
        }
    }

    // One object of Python for all who share the value.
    template <class Handle, class T>
    py::object shared(const std::shared_ptr<const T>& value) {
        py::object& known = objects_[value.get()];
        if (!known) {
            known = py::cast(Handle{value});
        }
        return known;
    }

    const Cluster& cluster_;
    py::list all_;
    std::map<const void*, py::object> objects_;
};

Demand demand_of(const std::vector<NamedClass>& counts, std::vector<NamedCount> instances,
                 std::int64_t arrivals) {
    const auto require_sane = [](std::int64_t number) {
        if (number < 0 || number > most_of_anything) {
            throw py::value_error(std::to_string(number) + " is not between 0 and 2^50");
        }
    };
    std::vector<Demand::Count> classes;
    for (const auto& [cpu, memory, gpus, share, count] : counts) {
        for (const std::int64_t number : {cpu, memory, gpus, std::int64_t{share}, count}) {
            require_sane(number);
        }
        DemandClass demand;
        demand.cpu_milli = cpu;
        demand.memory_bytes = memory;
        demand.gpus = gpus;
        demand.gpu_share_milli = share;
        if (count > 0) {
            classes.push_back({demand, count});
        }
    }
    for (const auto& [profile, count] : instances) {
        require_sane(count);
    }
    require_sane(arrivals);
    return {std::move(classes), std::move(instances), arrivals};
}

}  // namespace

void bind_edits(const py::module_& module) {
    static_cast<py::class_<Cluster>>(module.attr("Cluster"))
        .def("edits",
             [](const Cluster& self) {
                 const Entry entry{self.door()};
                 Calls calls{self};
                 list_edits(self, calls);
                 return calls.all();
             })
        .def(
            "restore",
            [](Cluster& self, std::string_view uid, std::string_view node, bool assumed,
               const std::vector<std::uint16_t>& gpus, const std::vector<NamedHeld>& instances,
               std::vector<std::string> volumes, bool leaving) {
                const Entry entry{self.door()};
                const auto pod = self.find_pod(uid);
                if (!pod) {
                    throw py::key_error("no Pod with uid " + std::string{uid});
                }
                self.restore(*pod, node, assumed ? Phase::assumed : Phase::bound,
                             Slots{gpus.begin(), gpus.end()}, wanted_instances(self, node, instances),
                             std::move(volumes), leaving);
            },
            py::arg("uid"), py::arg("node"), py::kw_only(), py::arg("assumed") = false,
            py::arg("gpus") = std::vector<std::uint16_t>{}, py::arg("instances") = std::vector<NamedHeld>{},
            py::arg("volumes") = std::vector<std::string>{}, py::arg("leaving") = false)
        .def(
            "set_demand",
            [](Cluster& self, const std::vector<NamedClass>& counts, std::vector<NamedCount> instances,
               std::int64_t arrivals) {
                const Entry entry{self.door()};
                self.set_demand(demand_of(counts, std::move(instances), arrivals));
            },
            py::kw_only(), py::arg("counts"), py::arg("instances"), py::arg("arrivals"))
        .def("demand", [](const Cluster& self) {
            const Entry entry{self.door()};
            return arguments(self.demand());
        });
}

}  // namespace nos
