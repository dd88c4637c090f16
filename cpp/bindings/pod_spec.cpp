#include <pybind11/stl.h>

#include <algorithm>
#include <string>

#include "bind.h"
#include "spec_parts.h"

namespace py = pybind11;

namespace nos {

namespace {

PodSpecHandle pod_spec(const Mapping& requests, std::int32_t gpu_share_milli, const LabelMap& node_selector,
                       std::optional<std::vector<SelectorTerm>> affinity,
                       const std::vector<std::pair<std::int32_t, SelectorTerm>>& preferred_affinity,
                       std::vector<Toleration> tolerations, std::vector<HostPort> host_ports,
                       std::vector<std::string> features, std::vector<std::string> images,
                       std::vector<PodTerm> pod_affinity, std::vector<PodTerm> pod_anti_affinity,
                       const std::vector<std::pair<std::int32_t, PodTerm>>& preferred_pod_affinity,
                       std::vector<SpreadConstraint> spread, bool spread_by_default,
                       std::vector<std::vector<SelectorTerm>> volume_affinity,
                       std::vector<VolumeClaim> claims, std::vector<std::string> sole_claims,
                       const std::vector<NamedAttachment>& volumes, std::string waits_for,
                       std::vector<std::string> unsupported) {
    auto spec = std::make_shared<PodSpec>();
    spec->requests = quantities(requests);
    spec->gpu_share_milli = gpu_share_milli;
    spec->node_selector = labels(node_selector);
    spec->affinity = std::move(affinity);
    for (const auto& [weight, term] : preferred_affinity) {
        spec->preferred_affinity.push_back({weight, term});
    }
    spec->tolerations = std::move(tolerations);
    spec->host_ports = std::move(host_ports);
    spec->features = std::move(features);
    spec->images = std::move(images);
    spec->pod_affinity = std::move(pod_affinity);
    spec->pod_anti_affinity = std::move(pod_anti_affinity);
    for (const auto& [weight, term] : preferred_pod_affinity) {
        spec->preferred_pod_affinity.push_back({weight, term});
    }
    spec->spread = std::move(spread);
    spec->spread_by_default = spread_by_default;
    spec->volume_affinity = std::move(volume_affinity);
    spec->claims = std::move(claims);
    spec->sole_claims = std::move(sole_claims);
    spec->volumes = attachments(volumes);
    spec->waits_for = std::move(waits_for);
    spec->unsupported = std::move(unsupported);
    spec->settle();
    return {std::move(spec)};
}

using NamedVolume = std::pair<std::string, std::optional<std::vector<SelectorTerm>>>;  // and where it is
using Provision = std::optional<std::vector<std::vector<SelectorTerm>>>;

VolumeClaim volume_claim(std::vector<NamedVolume> volumes, Provision provision) {
    VolumeClaim claim;
    for (auto& [name, affinity] : volumes) {
        claim.volumes.push_back({std::move(name), std::move(affinity)});
    }
    claim.provision = std::move(provision);
    claim.index = VolumeIndex{claim.volumes};
    return claim;
}

std::vector<NamedVolume> volumes_of(const VolumeClaim& claim) {
    std::vector<NamedVolume> named;
    for (const Volume& volume : claim.volumes) {
        named.emplace_back(volume.name, volume.affinity);
    }
    return named;
}

std::vector<std::pair<std::int32_t, SelectorTerm>> preferred_affinity(const PodSpecHandle& spec) {
    std::vector<std::pair<std::int32_t, SelectorTerm>> terms;
    for (const PreferredTerm& preferred : spec.value->preferred_affinity) {
        terms.emplace_back(preferred.weight, preferred.term);
    }
    return terms;
}

std::vector<std::pair<std::int32_t, PodTerm>> preferred_pod_affinity(const PodSpecHandle& spec) {
    std::vector<std::pair<std::int32_t, PodTerm>> terms;
    for (const WeightedPodTerm& preferred : spec.value->preferred_pod_affinity) {
        terms.emplace_back(preferred.weight, preferred.term);
    }
    return terms;
}

}  // namespace

void bind_pod_spec(const py::module_& module) {
    using Handle = PodSpecHandle;
    py::class_<VolumeClaim>(module, "VolumeClaim")
        .def(py::init(&volume_claim), py::arg("volumes") = std::vector<NamedVolume>{}, py::kw_only(),
             py::arg("provision") = py::none())
        .def_property_readonly("volumes", &volumes_of)
        .def_readonly("provision", &VolumeClaim::provision)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("volumes", "provision");
    py::class_<HostPort>(module, "HostPort")
        .def(py::init([](std::int32_t port, std::string protocol, std::string address) {
                 return HostPort{port, std::move(protocol), std::move(address)};
             }),
             py::arg("port"), py::arg("protocol") = "TCP", py::arg("address") = "0.0.0.0")
        .def_readonly("port", &HostPort::port)
        .def_readonly("protocol", &HostPort::protocol)
        .def_readonly("address", &HostPort::address)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("port", "protocol", "address");
    py::class_<PodSpecHandle>(module, "PodSpec")
        .def(py::init(&pod_spec), py::arg("requests"), py::kw_only(), py::arg("gpu_share_milli") = 0,
             py::arg("node_selector") = LabelMap{}, py::arg("affinity") = py::none(),
             py::arg("preferred_affinity") = std::vector<std::pair<std::int32_t, SelectorTerm>>{},
             py::arg("tolerations") = std::vector<Toleration>{},
             py::arg("host_ports") = std::vector<HostPort>{},
             py::arg("features") = std::vector<std::string>{}, py::arg("images") = std::vector<std::string>{},
             py::arg("pod_affinity") = std::vector<PodTerm>{},
             py::arg("pod_anti_affinity") = std::vector<PodTerm>{},
             py::arg("preferred_pod_affinity") = std::vector<std::pair<std::int32_t, PodTerm>>{},
             py::arg("spread") = std::vector<SpreadConstraint>{}, py::arg("spread_by_default") = false,
             py::arg("volume_affinity") = std::vector<std::vector<SelectorTerm>>{},
             py::arg("claims") = std::vector<VolumeClaim>{},
             py::arg("sole_claims") = std::vector<std::string>{},
             py::arg("volumes") = std::vector<NamedAttachment>{}, py::arg("waits_for") = "",
             py::arg("unsupported") = std::vector<std::string>{})
        .def_property_readonly("requests", [](const Handle& spec) { return amounts(spec.value->requests); })
        .def_property_readonly("gpu_share_milli", &part<&PodSpec::gpu_share_milli, Handle>)
        .def_property_readonly("node_selector",
                               [](const Handle& spec) { return label_map(spec.value->node_selector); })
        .def_property_readonly("affinity", &part<&PodSpec::affinity, Handle>)
        .def_property_readonly("preferred_affinity", &preferred_affinity)
        .def_property_readonly("tolerations", &part<&PodSpec::tolerations, Handle>)
        .def_property_readonly("host_ports", &part<&PodSpec::host_ports, Handle>)
        .def_property_readonly("features", &part<&PodSpec::features, Handle>)
        .def_property_readonly("images", &part<&PodSpec::images, Handle>)
        .def_property_readonly("pod_affinity", &part<&PodSpec::pod_affinity, Handle>)
        .def_property_readonly("pod_anti_affinity", &part<&PodSpec::pod_anti_affinity, Handle>)
        .def_property_readonly("preferred_pod_affinity", &preferred_pod_affinity)
        .def_property_readonly("spread", &part<&PodSpec::spread, Handle>)
        .def_property_readonly("spread_by_default", &part<&PodSpec::spread_by_default, Handle>)
        .def_property_readonly("volume_affinity", &part<&PodSpec::volume_affinity, Handle>)
        .def_property_readonly("claims", &part<&PodSpec::claims, Handle>)
        .def_property_readonly("sole_claims", &part<&PodSpec::sole_claims, Handle>)
        .def_property_readonly("volumes", [](const Handle& spec) { return named(spec.value->volumes); })
        .def_property_readonly("waits_for", &part<&PodSpec::waits_for, Handle>)
        .def_property_readonly("unsupported", &part<&PodSpec::unsupported, Handle>)
        .def(
            "__eq__", [](const Handle& a, const Handle& b) { return *a.value == *b.value; },
            py::is_operator())
        .def("__hash__", [](const Handle& spec) { return spec.value->hash(); })
        .attr("__match_args__") =
        py::make_tuple("requests", "gpu_share_milli", "node_selector", "affinity", "preferred_affinity",
                       "tolerations", "host_ports", "features", "images", "pod_affinity", "pod_anti_affinity",
                       "preferred_pod_affinity", "spread", "spread_by_default", "volume_affinity", "claims",
                       "sole_claims", "volumes", "waits_for", "unsupported");
}

}  // namespace nos
