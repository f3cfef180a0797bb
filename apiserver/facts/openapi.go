package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

type property struct {
	Enum     []string        `json:"enum"`
	Default  json.RawMessage `json:"default"`
	ListType string          `json:"x-kubernetes-list-type"`
	ListKeys []string        `json:"x-kubernetes-list-map-keys"`
	MapType  string          `json:"x-kubernetes-map-type"`
	Items    *property       `json:"items"`
	Values   *property       `json:"additionalProperties"`
}

type schema struct {
	Required   []string            `json:"required"`
	MapType    string              `json:"x-kubernetes-map-type"`
	Properties map[string]property `json:"properties"`
}

// published reads the schemas of all documents of a directory: the answers to GET /openapi/v3/<path>
// of a stock kube-apiserver, a file each.
func published(dir string) map[string]schema {
	all := map[string]schema{}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(err)
		var document struct {
			Components struct {
				Schemas map[string]schema `json:"schemas"`
			} `json:"components"`
		}
		must(json.Unmarshal(text, &document))
		for name, one := range document.Components.Schemas {
			all[name] = one
		}
	}
	return all
}

// openAPI writes what the documents say and the struct tags do not: which lists are maps, which
// texts are one of a few, and where required fields and defaults are not those of the tags. Words
// are parted by tabs, for there are texts with spaces.
func openAPI(out *bufio.Writer) {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: facts openapi <directory of documents>")
		os.Exit(2)
	}
	schemas := published(os.Args[2])
	w := walk{seen: map[reflect.Type]bool{}}
	for _, k := range kinds() {
		w.visit(k.of)
	}
	slices.SortFunc(w.types, func(a, b reflect.Type) int { return strings.Compare(modelName(a), modelName(b)) })
	fmt.Fprintln(out, "# Facts about the OpenAPI v3 documents of Kubernetes v1.36.3, read by `go run . openapi` in apiserver/facts; not to be edited.")
	for _, t := range w.types {
		of, ok := schemas[modelName(t)]
		if !ok {
			continue
		}
		var lines []string
		for _, f := range flat(t) {
			if words := deviations(of, f); len(words) > 0 {
				lines = append(lines, jsonName(f)+"\t"+strings.Join(words, "\t"))
			}
		}
		head := "TYPE\t" + alias(t.PkgPath()) + "." + t.Name()
		if of.MapType != "" {
			head += "\t" + of.MapType
		} else if len(lines) == 0 {
			continue
		}
		fmt.Fprintln(out, head)
		for _, line := range lines {
			fmt.Fprintln(out, line)
		}
	}
}

func jsonName(f reflect.StructField) string { return strings.Split(f.Tag.Get("json"), ",")[0] }

func flat(t reflect.Type) []reflect.StructField {
	var all []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case !f.IsExported() || f.Tag.Get("json") == "-":
		case f.Anonymous && jsonName(f) == "":
			all = append(all, flat(f.Type)...)
		default:
			all = append(all, f)
		}
	}
	return all
}

func deviations(of schema, f reflect.StructField) []string {
	name, options := jsonName(f), strings.Split(f.Tag.Get("json"), ",")[1:]
	p, ok := of.Properties[name]
	if !ok {
		panic("no property for " + name)
	}
	may := slices.Contains(options, "omitempty") || slices.Contains(options, "omitzero")
	var words []string
	if must := slices.Contains(of.Required, name); must == may {
		words = append(words, map[bool]string{true: "required", false: "optional"}[must])
	}
	if usual := usualDefault(f.Type, may); string(p.Default) != usual {
		words = append(words, "default="+string(p.Default))
	}
	if p.ListType != "" {
		words = append(words, "list="+p.ListType)
	}
	if len(p.ListKeys) > 0 {
		words = append(words, "keys="+strings.Join(p.ListKeys, ","))
	}
	if p.MapType != "" {
		words = append(words, "map="+p.MapType)
	}
	leaf := &p
	for leaf.Items != nil || leaf.Values != nil {
		if leaf.Items != nil {
			leaf = leaf.Items
		} else {
			leaf = leaf.Values
		}
	}
	if len(leaf.Enum) > 0 {
		words = append(words, "enum="+strings.Join(leaf.Enum, ","))
	}
	return words
}

// usualDefault is the default that a field's Go type and tag alone lead to.
func usualDefault(t reflect.Type, may bool) string {
	if t.Kind() == reflect.Struct {
		if _, ok := special[qualified(t)]; ok {
			return ""
		}
		return "{}"
	}
	if may {
		return ""
	}
	switch t.Kind() {
	case reflect.Bool:
		return "false"
	case reflect.Int32, reflect.Int64, reflect.Float64:
		return "0"
	case reflect.String:
		return `""`
	}
	return ""
}
