package main

import (
	"fmt"
	"io"
	"reflect"
	"sort"
	"strings"
)

// Types whose text or wire form is not that of their fields; the Rust side knows each by name.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                             "Time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                        "MicroTime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                                         "Duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                         "FieldsV1",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                         "Quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                       "IntOrString",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                          "RawExtension",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                         "JSON",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        "SchemaOrBool",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       "SchemaOrArray",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "SchemaOrTexts",
}

type walk struct {
	seen  map[reflect.Type]bool
	types []reflect.Type
}

// alias shortens a package: k8s.io/api/core/v1 is core.v1.
func alias(pkg string) string {
	parts := strings.Split(pkg, "/")
	return strings.Join(parts[len(parts)-2:], ".")
}

func dotted(pkg string) string {
	parts := strings.Split(pkg, "/")
	host := strings.Split(parts[0], ".")
	for i, j := 0, len(host)-1; i < j; i, j = i+1, j-1 {
		host[i], host[j] = host[j], host[i]
	}
	return strings.Join(append(host, parts[1:]...), ".")
}

func modelName(t reflect.Type) string {
	if named, ok := reflect.Zero(t).Interface().(interface{ OpenAPIModelName() string }); ok {
		return named.OpenAPIModelName()
	}
	return dotted(t.PkgPath()) + "." + t.Name()
}

func qualified(t reflect.Type) string { return t.PkgPath() + "." + t.Name() }

func hasMarshal(t reflect.Type) bool {
	_, has := reflect.PointerTo(t).MethodByName("Marshal")
	return has
}

// shape says what a field holds, and remembers the types that it leads to.
func (w *walk) shape(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := special[qualified(t)]; ok {
		return name
	}
	named := func(word, plain string) string {
		if t.String() == plain {
			return word
		}
		return word + "(" + t.String() + ")"
	}
	switch t.Kind() {
	case reflect.Bool:
		return named("bool", "bool")
	case reflect.Int32:
		return named("int32", "int32")
	case reflect.Int64:
		return named("int64", "int64")
	case reflect.Float64:
		return named("double", "float64")
	case reflect.String:
		return named("text", "string")
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return named("bytes", "[]uint8")
		}
		word := "["
		if hasMarshal(t) {
			word = "<" // a list that is a message of its own on the wire
		}
		return named(word, "[]"+t.Elem().String()) + w.shape(t.Elem())
	case reflect.Map:
		return named("{", "map[string]"+t.Elem().String()) + w.shape(t.Elem())
	case reflect.Struct:
		w.visit(t)
		return alias(t.PkgPath()) + "." + t.Name()
	}
	panic("no shape for " + t.String())
}

func (w *walk) visit(t reflect.Type) {
	if w.seen[t] {
		return
	}
	w.seen[t] = true
	w.types = append(w.types, t)
	for i := range t.NumField() {
		if t.Field(i).IsExported() && t.Field(i).Tag.Get("json") != "-" {
			w.shape(t.Field(i).Type)
		}
	}
}

func (w *walk) field(f reflect.StructField) string {
	json := strings.Split(f.Tag.Get("json"), ",")
	name, flags := json[0], ""
	for _, option := range json[1:] {
		switch option {
		case "omitempty":
			flags += "o"
		case "omitzero":
			flags += "z"
		case "inline":
			flags += "i"
		default:
			panic("unknown option " + option)
		}
	}
	if f.Anonymous && name == "" && !strings.Contains(flags, "i") {
		flags += "i"
	}
	if f.Type.Kind() == reflect.Pointer {
		flags += "p"
	}
	if strings.Contains(flags, "i") {
		name = "-"
	} else if name == "" {
		name = f.Name
	}
	if flags == "" {
		flags = "-"
	}
	number := "0"
	if wire := f.Tag.Get("protobuf"); wire != "" && wire != "-" {
		number = strings.Split(wire, ",")[1]
	}
	line := fmt.Sprintf("%s %s %s %s", name, number, flags, w.shape(f.Type))
	if strategy := f.Tag.Get("patchStrategy"); strategy != "" {
		line += " " + strategy
		if key := f.Tag.Get("patchMergeKey"); key != "" {
			line += " " + key
		}
	}
	return line
}

func table(out io.Writer) {
	w := walk{seen: map[reflect.Type]bool{}}
	for _, k := range kinds() {
		w.visit(k.of)
	}
	sort.Slice(w.types, func(i, j int) bool { return modelName(w.types[i]) < modelName(w.types[j]) })
	pkgs := map[string]string{}
	for _, t := range w.types {
		short, model := alias(t.PkgPath()), modelName(t)
		prefix := strings.TrimSuffix(model, "."+t.Name())
		if known, ok := pkgs[short]; ok && known != prefix {
			panic("two packages are called " + short)
		}
		pkgs[short] = prefix
	}
	shorts := make([]string, 0, len(pkgs))
	for short := range pkgs {
		shorts = append(shorts, short)
	}
	sort.Strings(shorts)
	fmt.Fprintln(out, "# Facts about k8s.io/api v0.36.3, read by `go run . table` in apiserver/facts; not to be edited.")
	for _, short := range shorts {
		fmt.Fprintln(out, "PACKAGE", short, pkgs[short])
	}
	for _, t := range w.types {
		fmt.Fprintln(out, "TYPE", alias(t.PkgPath())+"."+t.Name())
		for i := range t.NumField() {
			f := t.Field(i)
			if f.IsExported() && f.Tag.Get("json") != "-" {
				fmt.Fprintln(out, w.field(f))
			}
		}
	}
	for _, k := range kinds() {
		group := k.group
		if group == "" {
			group = "-"
		}
		fmt.Fprintln(out, "KIND", group, k.version, k.name, alias(k.of.PkgPath())+"."+k.of.Name())
	}
}
