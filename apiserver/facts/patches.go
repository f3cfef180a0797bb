package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// The kinds with lists that are merged, and some without.
var patched = []string{
	"Pod", "Deployment", "Service", "ServiceAccount", "Node", "ReplicaSet", "DaemonSet", "Namespace", "Job",
	"ConfigMap", "Secret", "PodDisruptionBudget", "ValidatingWebhookConfiguration", "NetworkPolicy", "ClusterRole",
}

// change alters a tree here and there.
func (m *maker) change(v any) {
	var all []map[string]any
	objects(v, &all)
	for range 1 + m.Intn(4) {
		members := all[m.Intn(len(all))]
		for name, value := range sorted(members) {
			if m.Intn(3) > 0 {
				continue
			}
			switch value := value.(type) {
			case string:
				members[name] = m.word()
			case bool:
				members[name] = !value
			case int64:
				members[name] = value ^ 1
			case []any:
				members[name] = m.shuffled(value)
			default:
				delete(members, name)
			}
		}
	}
}

// shuffled gives some of the items in some order.
func (m *maker) shuffled(items []any) []any {
	some := []any{}
	for _, at := range m.Perm(len(items)) {
		if m.Intn(4) > 0 {
			some = append(some, items[at])
		}
	}
	return some
}

func sorted(members map[string]any) func(func(string, any) bool) {
	return func(yield func(string, any) bool) {
		var names []string
		for name := range members {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if !yield(name, members[name]) {
				return
			}
		}
	}
}

// direct puts directives into a patch.
func (m *maker) direct(patch any) {
	var all []map[string]any
	objects(patch, &all)
	for range m.Intn(4) {
		members := all[m.Intn(len(all))]
		switch m.Intn(6) {
		case 0:
			members["$patch"] = []string{"replace", "delete", "merge", "x"}[m.Intn(4)]
		case 1:
			keys := []any{}
			for name := range sorted(members) {
				if m.Intn(5) > 0 {
					keys = append(keys, name)
				}
			}
			members["$retainKeys"] = keys
		case 2:
			for name, value := range sorted(members) {
				if list, ok := value.([]any); ok {
					members["$setElementOrder/"+name] = m.shuffled(list)
				}
			}
		case 3:
			for name, value := range sorted(members) {
				if list, ok := value.([]any); ok && m.Intn(2) == 0 {
					delete(members, name)
					members["$deleteFromPrimitiveList/"+name] = list
				}
			}
		case 4:
			for name := range sorted(members) {
				if m.Intn(3) == 0 {
					members[name] = nil
				}
			}
		default:
			members[m.word()] = map[string]any{"a": nil, "b": map[string]any{"$patch": "delete"}}
		}
	}
}

func apply(k kind, original, patch string) (answer string) {
	defer func() {
		if recover() != nil {
			answer = "panic"
		}
	}()
	made, err := strategicpatch.StrategicMergePatch([]byte(original), []byte(patch), reflect.New(k.of).Interface())
	if err != nil {
		return "error " + strings.ReplaceAll(err.Error(), "\n", "\\n")
	}
	return string(made)
}

// patches writes strategic merge patches and what upstream makes of them.
func patches(out *bufio.Writer) {
	m := &maker{Rand: rand.New(rand.NewSource(6)), fill: 65, slim: true}
	fmt.Fprintln(out, "# group version kind / original / patch / outcome; by `go run . patches` in apiserver/facts")
	for _, k := range kinds() {
		if !slices.Contains(patched, k.name) || k.group == "autoscaling" {
			continue
		}
		for i := range 40 {
			m.left = 60
			object := reflect.New(k.of)
			m.value(object.Elem(), 9)
			original := plainJSON(object.Interface())
			changed := tree(original)
			m.change(changed)
			modified, err := json.Marshal(changed)
			must(err)
			patch, err := strategicpatch.CreateTwoWayMergePatch([]byte(original), modified, reflect.New(k.of).Interface())
			if err != nil {
				continue
			}
			if i%3 > 0 {
				v := tree(string(patch))
				if i%3 == 2 {
					m.left = 60
					other := reflect.New(k.of)
					m.value(other.Elem(), 9)
					v = tree(plainJSON(other.Interface()))
				}
				m.direct(v)
				patch, err = json.Marshal(v)
				must(err)
			}
			answer := apply(k, original, string(patch))
			steady := answer != "panic"
			for range 8 {
				again := apply(k, original, string(patch))
				same := again == answer || strings.HasPrefix(answer, "error") && strings.HasPrefix(again, "error")
				steady = steady && same
			}
			if !steady || len(original)+len(patch) > 1600 {
				continue
			}
			group := k.group
			if group == "" {
				group = "-"
			}
			fmt.Fprintf(out, "%s %s %s\n%s\n%s\n%s\n", group, k.version, k.name, original, patch, answer)
		}
	}
}
