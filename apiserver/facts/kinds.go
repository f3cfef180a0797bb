package main

import (
	"reflect"
	"sort"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apidiscovery "k8s.io/api/apidiscovery/v2"
	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscaling1 "k8s.io/api/autoscaling/v1"
	autoscaling2 "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	certificates "k8s.io/api/certificates/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	flowcontrol "k8s.io/api/flowcontrol/v1"
	networking "k8s.io/api/networking/v1"
	node "k8s.io/api/node/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	resource "k8s.io/api/resource/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// A kind and the Go type behind it.
type kind struct {
	group, version, name string
	of                   reflect.Type
}

// Every package of served kinds registers itself here.
var packages = []func(*runtime.Scheme) error{
	admissionregistration.AddToScheme, apidiscovery.AddToScheme, apps.AddToScheme,
	authentication.AddToScheme, authorization.AddToScheme, autoscaling1.AddToScheme,
	autoscaling2.AddToScheme, batch.AddToScheme, certificates.AddToScheme,
	coordination.AddToScheme, core.AddToScheme, discovery.AddToScheme, events.AddToScheme,
	flowcontrol.AddToScheme, networking.AddToScheme, node.AddToScheme, policy.AddToScheme,
	rbac.AddToScheme, resource.AddToScheme, scheduling.AddToScheme, storage.AddToScheme,
	apiextensions.AddToScheme, apiregistration.AddToScheme,
}

// The kinds that belong to no group's package.
var general = []kind{
	{"", "v1", "APIGroup", reflect.TypeFor[meta.APIGroup]()},
	{"", "v1", "APIGroupList", reflect.TypeFor[meta.APIGroupList]()},
	{"", "v1", "APIResourceList", reflect.TypeFor[meta.APIResourceList]()},
	{"", "v1", "APIVersions", reflect.TypeFor[meta.APIVersions]()},
	{"", "v1", "DeleteOptions", reflect.TypeFor[meta.DeleteOptions]()},
	{"", "v1", "List", reflect.TypeFor[core.List]()},
	{"", "v1", "Status", reflect.TypeFor[meta.Status]()},
	{"", "v1", "WatchEvent", reflect.TypeFor[meta.WatchEvent]()},
	{"meta.k8s.io", "v1", "PartialObjectMetadata", reflect.TypeFor[meta.PartialObjectMetadata]()},
	{"meta.k8s.io", "v1", "PartialObjectMetadataList", reflect.TypeFor[meta.PartialObjectMetadataList]()},
}

func kinds() []kind {
	scheme := runtime.NewScheme()
	for _, add := range packages {
		must(add(scheme))
	}
	found := general
	seen := map[string]bool{}
	for _, k := range general {
		seen[k.group+"/"+k.version+"/"+k.name] = true
	}
	for gvk, of := range scheme.AllKnownTypes() {
		key := gvk.Group + "/" + gvk.Version + "/" + gvk.Kind
		own := !strings.HasPrefix(of.PkgPath(), "k8s.io/apimachinery/")
		if gvk.Version == runtime.APIVersionInternal || !own || seen[key] || strings.HasSuffix(gvk.Kind, "Options") {
			continue
		}
		found = append(found, kind{gvk.Group, gvk.Version, gvk.Kind, of})
	}
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i], found[j]
		if a.group != b.group {
			return a.group < b.group
		}
		if a.version != b.version {
			return a.version < b.version
		}
		return a.name < b.name
	})
	return found
}
