package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// What a value may be replaced by.
var strangers = []string{
	`5`, `1.5`, `-1`, `99999999999`, `1e3`, `"x"`, `""`, `"1Gi"`, `"2024-01-01T10:00:00+02:00"`, `"YQ=="`,
	`true`, `null`, `[]`, `{}`, `["a",null]`, `[5]`, `[{}]`, `{"a":1}`, `{"a":null}`, `{"a":"b"}`, `[{"name":"a","zzz":1}]`,
}

// places lists the ways to all values below v, as functions that replace the value there.
func places(v any, found *[]func(any)) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			*found = append(*found, func(by any) { v[key] = by })
			places(v[key], found)
		}
	case []any:
		for i := range v {
			*found = append(*found, func(by any) { v[i] = by })
			places(v[i], found)
		}
	}
}

func objects(v any, found *[]map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		*found = append(*found, v)
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			objects(v[key], found)
		}
	case []any:
		for i := range v {
			objects(v[i], found)
		}
	}
}

func tree(text string) any {
	var v any
	must(kjson.UnmarshalCaseSensitivePreserveInts([]byte(text), &v))
	return v
}

// upstream decodes strictly and writes the object again: its JSON and complaints, or the error.
func upstream(k kind, text string) string {
	object := reflect.New(k.of).Interface()
	complaints, err := kjson.UnmarshalStrict([]byte(text), object)
	if err != nil {
		return "error " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	answer := plainJSON(object)
	for _, complaint := range complaints {
		answer += "\t" + complaint.Error()
	}
	return answer
}

// upstreamTree does the same from a tree, as a strategic merge patch leaves it.
func upstreamTree(k kind, text string) string {
	object := reflect.New(k.of).Interface()
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(tree(text).(map[string]any), object, true)
	if err == nil {
		return plainJSON(object)
	}
	strict, ok := runtime.AsStrictDecodingError(err)
	if !ok {
		return "error " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	answer := plainJSON(object)
	for _, complaint := range strict.Errors() {
		answer += "\t" + complaint.Error()
	}
	return answer
}

// decoding writes what becomes of objects in which something is wrong.
func decoding(out *bufio.Writer) {
	m := &maker{Rand: rand.New(rand.NewSource(4)), fill: 55, slim: true}
	fmt.Fprintln(out, "# group version kind / body / answer of upstream / answer to the same as a tree; by `go run . decoding` in apiserver/facts")
	for _, k := range kinds() {
		if strings.HasSuffix(k.name, "List") || strings.HasPrefix(k.group, "apidiscovery") {
			continue
		}
		for i := range 6 {
			m.left = 40
			object := reflect.New(k.of)
			m.value(object.Elem(), 9)
			v := tree(plainJSON(object.Interface()))
			if i%2 == 0 {
				var found []func(any)
				places(v, &found)
				if len(found) == 0 {
					continue
				}
				found[m.Intn(len(found))](tree(strangers[m.Intn(len(strangers))]))
			} else {
				var found []map[string]any
				objects(v, &found)
				for range 2 {
					found[m.Intn(len(found))][[]string{"unknown", "Spec", "a.b", "é"}[m.Intn(4)]] = m.word()
				}
			}
			text, err := json.Marshal(v)
			must(err)
			group := k.group
			if group == "" {
				group = "-"
			}
			fmt.Fprintln(out, group, k.version, k.name)
			fmt.Fprintln(out, string(text))
			fmt.Fprintln(out, upstream(k, string(text)))
			fmt.Fprintln(out, upstreamTree(k, string(text)))
		}
	}
}

// amounts writes how upstream reads, writes, compares and adds amounts.
func amounts(out *bufio.Writer) {
	random := rand.New(rand.NewSource(5))
	numbers := []string{"0", "1", "5", "12", "100", "1000", "1024", "1500", "0.5", "1.5", "1.25", "0.001", "1.0001", "007", "1.", ".5", "1.500", "1000000", "123456789", "9223372036854775807", "99999999999999999999", "0.0000000001", "-1", "-0.5", "+3", "-1500", "", ".", "1024000"}
	suffixes := []string{"", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "e4", "E-2", "e-6", "e0", "x", "K", "mi", "e", "Kn", " "}
	fmt.Fprintln(out, "# text, canonical text or error, value, milli-value, other text, order, sum, difference; by `go run . amounts` in apiserver/facts")
	var good []string
	for _, number := range numbers {
		for _, suffix := range suffixes {
			text := number + suffix
			q, err := resource.ParseQuantity(text)
			if err != nil {
				fmt.Fprintf(out, "%s\terror %s\n", text, err)
				continue
			}
			if len(good) > 0 {
				other := good[random.Intn(len(good))]
				o := resource.MustParse(other)
				sum, difference := q.DeepCopy(), q.DeepCopy()
				sum.Add(o)
				difference.Sub(o)
				fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%s\t%d\t%s\t%s\n", text, q.String(), q.Value(), q.MilliValue(), other, q.Cmp(o), sum.String(), difference.String())
			}
			good = append(good, text)
		}
	}
}

var yamls = []string{
	"a: 1\nb: [x, 'y', \"z\"]\n", "a: yes\nb: no\nc: on\nd: Off\ne: y\nf: N\n", "a: ~\nb: null\nc: Null\nd:\n",
	"a: 010\nb: 0o10\nc: 0x10\nd: 0b10\ne: 1_0\nf: +5\ng: -0x5\nh: 09\n", "a: 1.0\nb: 1e3\nc: .5\nd: 1.\ne: -1.5e-3\nf: 1.2.3\n",
	"b: 18446744073709551615\nc: -9223372036854775808\n", "1: a\ntrue: b\n1.5: c\nnull: d\n", "1: a\ntrue: b\n1.5: c\n",
	"a: 1\na: 2\n", "a:\n  b: 1\n  b: 2\n  c: 3\na: 5\n", "a: &x {b: 1}\nc: *x\n", "a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n", "- 1\n- a: b\n  c: d\n-\n  - x\n",
	"a: 2001-12-14\nb: 2001-12-14T21:59:43.10-05:00\nc: 12:30:45\n", "a: |\n  x\n   y\nb: >\n  x\n  y\nc: |-\n  z\n", "a: !!str 5\nb: !!int '5'\nc: !!float 5\nd: !foo x\ne: !!binary aGk=\n",
	"a: !!int x\n", "a: 1\n---\nb: 2\n", "--- {a: 1}\n...\n", "# only a comment\n", "", "a: 'it''s'\nb: \"\\u00e4\\n\\x41\"\n", "{\"a\": {\"b\": [1, 2.5, null, true]}}", "a: b: c\n", "a: [1, 2\n", "a:\n\t- x\n", "a: *nope\n",
	"a: .inf\n", "a: .nan\n", "[a]: b\n", "? a\n: b\n", "a: {b: c, d}\n", "\"a\": 1\n'a': 2\n", "a: 0\nb: -0\nc: 0.0\nd: 00\n", "a: 1e400\nb: 1__0\nc: _1\nd: 0x\ne: 0b2\nf: 1e\n", "a: =\nb: <<\nc: @x\n", "b: 1\na: 2\n",
	"a: \"<&>\"\n", "a: 100m\nb: 1Gi\nc: 1.5\nd: \"1\"\n", "a: tRue\nb: YES\nc: oN\n",
}

// yamlCases writes what upstream makes of YAML.
func yamlCases(out *bufio.Writer) {
	fmt.Fprintln(out, "# YAML as a JSON text / JSON or error / complaint of the strict reader; by `go run . yaml` in apiserver/facts")
	for _, text := range yamls {
		quoted, err := json.Marshal(text)
		must(err)
		fmt.Fprintln(out, string(quoted))
		if made, err := yaml.YAMLToJSON([]byte(text)); err != nil {
			fmt.Fprintln(out, "error", strings.ReplaceAll(err.Error(), "\n", "\\n"))
		} else {
			fmt.Fprintln(out, string(made))
		}
		complaint := ""
		if _, err := yaml.YAMLToJSONStrict([]byte(text)); err != nil {
			complaint = strings.ReplaceAll(err.Error(), "\n", "\\n")
		}
		fmt.Fprintln(out, complaint)
	}
}
