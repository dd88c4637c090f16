#include <pybind11/stl.h>

#include <algorithm>
#include <string>

#include "bind.h"

namespace py = pybind11;

namespace nos {

namespace {

Toleration toleration(std::string key, std::string_view op, std::string value, std::string_view effect) {
    if (op != "Exists" && op != "Equal" && !op.empty()) {
        throw py::value_error("operator must be Equal or Exists, not '" + std::string{op} + "'");
    }
    return {std::move(key), op == "Exists", std::move(value), parse_effect(effect)};
}

void bind_node_selectors(const py::module_& module) {
    py::class_<Requirement>(module, "Requirement")
        .def(py::init([](std::string key, std::string_view op, std::vector<std::string> values) {
                 return Requirement{std::move(key), parse_operator(op), std::move(values)};
             }),
             py::arg("key"), py::arg("operator"), py::arg("values") = std::vector<std::string>{})
        .def_readonly("key", &Requirement::key)
        .def_property_readonly("operator",
                               [](const Requirement& requirement) { return name(requirement.op); })
        .def_readonly("values", &Requirement::values)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("key", "operator", "values");
    py::class_<SelectorTerm>(module, "SelectorTerm")
        .def(py::init([](std::vector<Requirement> expressions, std::vector<Requirement> fields) {
                 return SelectorTerm{std::move(expressions), std::move(fields)};
             }),
             py::arg("expressions") = std::vector<Requirement>{},
             py::arg("fields") = std::vector<Requirement>{})
        .def_readonly("expressions", &SelectorTerm::expressions)
        .def_readonly("fields", &SelectorTerm::fields)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("expressions", "fields");
    py::class_<Taint>(module, "Taint")
        .def(py::init([](std::string key, std::string value, std::string_view effect) {
                 return Taint{std::move(key), std::move(value), parse_effect(effect)};
             }),
             py::arg("key"), py::arg("value") = "", py::arg("effect") = "NoSchedule")
        .def_readonly("key", &Taint::key)
        .def_readonly("value", &Taint::value)
        .def_property_readonly("effect", [](const Taint& taint) { return name(taint.effect); })
        .def(equality())
        .attr("__match_args__") = py::make_tuple("key", "value", "effect");
    py::class_<Toleration>(module, "Toleration")
        .def(py::init(&toleration), py::arg("key") = "", py::arg("operator") = "Equal", py::arg("value") = "",
             py::arg("effect") = "")
        .def_readonly("key", &Toleration::key)
        .def_property_readonly("operator",
                               [](const Toleration& self) { return self.exists ? "Exists" : "Equal"; })
        .def_readonly("value", &Toleration::value)
        .def_property_readonly("effect", [](const Toleration& self) { return name(self.effect); })
        .def(equality())
        .attr("__match_args__") = py::make_tuple("key", "operator", "value", "effect");
}

}  // namespace

void bind_selectors(const py::module_& module) {
    bind_node_selectors(module);
    py::class_<PodLabelsHandle>(module, "PodLabels")
        .def(py::init([](std::string namespace_name, const LabelMap& map) {
                 return PodLabelsHandle{std::make_shared<PodLabels>(std::move(namespace_name), labels(map))};
             }),
             py::arg("namespace") = "", py::arg("labels") = LabelMap{})
        .def_property_readonly("namespace",
                               [](const PodLabelsHandle& self) { return self.value->namespace_name; })
        .def_property_readonly("labels",
                               [](const PodLabelsHandle& self) { return label_map(self.value->labels); })
        .def(
            "__eq__", [](const PodLabelsHandle& a, const PodLabelsHandle& b) { return *a.value == *b.value; },
            py::is_operator())
        .def("__hash__", [](const PodLabelsHandle& labels) { return labels.value->hash(); })
        .attr("__match_args__") = py::make_tuple("namespace", "labels");
    py::class_<PodSelector>(module, "PodSelector")
        .def(py::init([](Requirements labels, std::vector<std::string> namespaces,
                         Requirements namespace_labels) {
                 std::ranges::sort(namespaces);
                 return PodSelector{std::move(labels), std::move(namespaces), std::move(namespace_labels)};
             }),
             py::arg("labels"), py::kw_only(), py::arg("namespaces") = std::vector<std::string>{},
             py::arg("namespace_labels") = py::none())
        .def_readonly("labels", &PodSelector::labels)
        .def_readonly("namespaces", &PodSelector::namespaces)
        .def_readonly("namespace_labels", &PodSelector::namespace_labels)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("labels", "namespaces", "namespace_labels");
    py::class_<PodTerm>(module, "PodTerm")
        .def(py::init([](std::string topology_key, PodSelector selector) {
                 return PodTerm{std::move(topology_key), std::move(selector)};
             }),
             py::arg("topology_key"), py::arg("selector"))
        .def_readonly("topology_key", &PodTerm::topology_key)
        .def_readonly("selector", &PodTerm::selector)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("topology_key", "selector");
    py::class_<SpreadConstraint>(module, "SpreadConstraint")
        .def(py::init([](std::string topology_key, PodSelector selector, std::int32_t max_skew,
                         std::int32_t min_domains, bool required, bool honor_affinity, bool honor_taints) {
                 return SpreadConstraint{
                     std::move(topology_key), std::move(selector), max_skew, min_domains, required,
                     honor_affinity,          honor_taints};
             }),
             py::arg("topology_key"), py::arg("selector"), py::kw_only(), py::arg("max_skew"),
             py::arg("min_domains") = 1, py::arg("required") = true, py::arg("honor_affinity") = true,
             py::arg("honor_taints") = false)
        .def_readonly("topology_key", &SpreadConstraint::topology_key)
        .def_readonly("selector", &SpreadConstraint::selector)
        .def_readonly("max_skew", &SpreadConstraint::max_skew)
        .def_readonly("min_domains", &SpreadConstraint::min_domains)
        .def_readonly("required", &SpreadConstraint::required)
        .def_readonly("honor_affinity", &SpreadConstraint::honor_affinity)
        .def_readonly("honor_taints", &SpreadConstraint::honor_taints)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("topology_key", "selector", "max_skew", "min_domains",
                                                 "required", "honor_affinity", "honor_taints");
}

}  // namespace nos
