// What Kubernetes itself says that Pods request: of each Pod, a line of JSON, what it asks for while it waits for a
// node, and what it takes once it has one, as kube-scheduler counts both with the feature gates of its version at their
// defaults. CPU in milli-CPU, all else in whole units.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

type answer struct {
	Waiting map[v1.ResourceName]int64 `json:"waiting"`
	Bound   map[v1.ResourceName]int64 `json:"bound"`
}

func counted(list v1.ResourceList) map[v1.ResourceName]int64 {
	amounts := map[v1.ResourceName]int64{}
	for name, quantity := range list {
		if name == v1.ResourceCPU {
			amounts[name] = quantity.MilliValue()
		} else {
			amounts[name] = quantity.Value()
		}
	}
	return amounts
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var pod v1.Pod
		must(json.Unmarshal(lines.Bytes(), &pod))
		// A copy for each: adding overhead to a pod-level request with many digits changes the Pod that it came from.
		must(out.Encode(answer{
			Waiting: counted(resource.PodRequests(pod.DeepCopy(), resource.PodResourcesOptions{})),
			Bound: counted(resource.PodRequests(pod.DeepCopy(), resource.PodResourcesOptions{
				UseStatusResources: true,
				InPlacePodLevelResourcesVerticalScalingEnabled: true,
			})),
		}))
	}
	must(lines.Err())
}
