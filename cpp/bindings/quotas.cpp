#include <pybind11/operators.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bind.h"
#include "spec_parts.h"

namespace py = pybind11;

namespace nos {

namespace {

Mapping mapping(const Amounts& amounts) { return {amounts.begin(), amounts.end()}; }

// A copy of what the ledger has.
struct QuotaState {
    Mapping used;
    Mapping min;
    Mapping max;
    Mapping guaranteed;
    std::vector<std::pair<std::string, bool>> capacities;
};

QuotaSpecHandle quota_spec(std::vector<std::string> namespaces, const Mapping& min, const Mapping& max,
                           std::string parent) {
    QuotaSpec spec{std::move(namespaces), Amounts{min.begin(), min.end()}, Amounts{max.begin(), max.end()},
                   std::move(parent)};
    std::ranges::sort(spec.namespaces);
    spec.validate();
    return {std::make_shared<const QuotaSpec>(std::move(spec))};
}

std::vector<std::pair<std::string, bool>> capacities(const Cluster& cluster, QuotaId id) {
    std::vector<std::pair<std::string, bool>> result;
    const auto over = cluster.over_quota(id);
    for (const std::string& name : cluster.quotas().spec(id).namespaces) {
        for (const PodId pod : cluster.pods_in(name)) {
            if (cluster.pod(pod).charged_gb > 0) {
                result.emplace_back(cluster.uid(pod), std::ranges::binary_search(*over, pod));
            }
        }
    }
    std::ranges::sort(result);
    return result;
}

QuotaState quota_state(const Cluster& cluster, std::string_view name) {
    const Entry entry{cluster.door()};
    const Quotas& quotas = cluster.quotas();
    const auto id = quotas.find(name);
    if (!id) {
        throw py::key_error("no quota " + std::string{name});
    }
    QuotaState state;
    for (QuotaResource number = 0; number < quotas.resources().size(); ++number) {
        const Quotas::Use& use = quotas.use(*id, number);
        const std::string& resource = quotas.resources()[number].name;
        if (use.named()) {
            state.min.emplace(resource, use.min);
            state.guaranteed.emplace(resource, quotas.guaranteed(*id, number));
        }
        if (use.max != Quotas::unnamed) {
            state.max.emplace(resource, use.max);
        }
        if (use.named() || use.max != Quotas::unnamed) {
            state.used.emplace(resource, use.used);
        }
    }
    state.capacities = capacities(cluster, *id);
    return state;
}

std::vector<std::string> changed_quotas(Cluster& cluster) {
    const Entry entry{cluster.door()};
    std::vector<std::string> names;
    for (const QuotaId id : cluster.take_changed_quotas()) {
        names.emplace_back(cluster.quotas().name(id));
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace

void bind_quotas(const py::module_& module, py::class_<Cluster>& cluster) {
    py::class_<QuotaSpecHandle>(module, "QuotaSpec")
        .def(py::init(&quota_spec), py::arg("namespaces"), py::kw_only(), py::arg("min") = Mapping{},
             py::arg("max") = Mapping{}, py::arg("parent") = "")
        .def_property_readonly("namespaces", &part<&QuotaSpec::namespaces, QuotaSpecHandle>)
        .def_property_readonly("min", [](const QuotaSpecHandle& quota) { return mapping(quota.value->min); })
        .def_property_readonly("max", [](const QuotaSpecHandle& quota) { return mapping(quota.value->max); })
        .def_property_readonly("parent", &part<&QuotaSpec::parent, QuotaSpecHandle>)
        .def(
            "__eq__", [](const QuotaSpecHandle& a, const QuotaSpecHandle& b) { return *a.value == *b.value; },
            py::is_operator())
        .attr("__match_args__") = py::make_tuple("namespaces", "min", "max", "parent");
    py::class_<QuotaState>(module, "QuotaState")
        .def_readonly("used", &QuotaState::used)
        .def_readonly("min", &QuotaState::min)
        .def_readonly("max", &QuotaState::max)
        .def_readonly("guaranteed", &QuotaState::guaranteed)
        .def("capacities", [](const QuotaState& state) { return state.capacities; });
    cluster
        .def(
            "upsert_quota",
            [](Cluster& self, std::string_view name, const QuotaSpecHandle& spec) {
                const Entry entry{self.door()};
                self.upsert_quota(name, spec.value);
            },
            py::arg("name"), py::arg("spec"))
        .def(
            "remove_quota",
            [](Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return self.remove_quota(name);
            },
            py::arg("name"))
        .def("quota", &quota_state, py::arg("name"))
        .def(
            "set_habit",
            [](Cluster& self, std::string_view name, std::int64_t habit) {
                const Entry entry{self.door()};
                return self.set_habit(name, habit);
            },
            py::arg("name"), py::arg("habit"))
        .def("changed_quotas", &changed_quotas);
}

}  // namespace nos
