package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// A maker of objects that are the same whenever it starts from the same seed.
type maker struct {
	*rand.Rand
	// How likely it is, in percent, that a pointer, list or map is filled.
	fill int
	// How many values may still be made; beyond that everything is left empty.
	left int
	// Whether metadata has a name only.
	slim bool
}

var words = []string{"a", "b", "web", "app", "name", "kube-system", "ü-ß", "x<y&z>", "", "0", "1.5", "true", "line\nline"}

func (m *maker) word() string { return words[m.Intn(len(words))] }

func (m *maker) value(v reflect.Value, depth int) {
	m.left--
	switch p := v.Addr().Interface().(type) {
	case *meta.ObjectMeta:
		if m.slim && m.Intn(6) > 0 {
			p.Name = "a"
			return
		}
	case *meta.Time:
		if m.Intn(3) > 0 {
			p.Time = time.Unix(m.Int63n(4e9), 0)
		}
		return
	case *meta.MicroTime:
		if m.Intn(3) > 0 {
			p.Time = time.Unix(m.Int63n(4e9), m.Int63n(1e6)*1000)
		}
		return
	case *resource.Quantity:
		all := []string{"0", "1", "100m", "1500m", "1Gi", "1.5Gi", "1000", "1e3", "0.1", "5Ki", "-3", "12k"}
		*p = resource.MustParse(all[m.Intn(len(all))])
		return
	case *intstr.IntOrString:
		if m.Intn(2) == 0 {
			*p = intstr.FromInt32(m.Int31n(3) - 1)
		} else {
			*p = intstr.FromString(m.word())
		}
		return
	case *runtime.RawExtension:
		p.Raw = []byte(`{"a":1,"b":[true,null,"x"]}`)
		return
	case *meta.FieldsV1:
		p.Raw = []byte(`{"f:metadata":{"f:name":{}}}`)
		return
	case *apiextensions.JSON:
		p.Raw = []byte([]string{`1`, `"x"`, `{"a":[1,2]}`, `true`}[m.Intn(4)])
		return
	case *apiextensions.JSONSchemaPropsOrBool:
		p.Allows = m.Intn(2) == 0
		if depth > 0 && m.Intn(2) == 0 {
			p.Allows, p.Schema = true, &apiextensions.JSONSchemaProps{Type: m.word()}
		}
		return
	case *apiextensions.JSONSchemaPropsOrArray:
		p.Schema = &apiextensions.JSONSchemaProps{Type: m.word()}
		return
	case *apiextensions.JSONSchemaPropsOrStringArray:
		p.Property = []string{"a", "b"}
		return
	}
	m.plain(v, depth)
}

func (m *maker) plain(v reflect.Value, depth int) {
	full := depth > 0 && m.left > 0 && m.Intn(100) < m.fill
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(m.Intn(2) == 0)
	case reflect.Int32:
		v.SetInt(int64([]int32{0, 1, -1, 80, 1 << 30, -1 << 31}[m.Intn(6)]))
	case reflect.Int64:
		v.SetInt([]int64{0, 1, -1, 30, 1 << 40, -1 << 63}[m.Intn(6)])
	case reflect.Float64:
		v.SetFloat([]float64{0, 1, -2.5, 1e6}[m.Intn(4)])
	case reflect.String:
		v.SetString(m.word())
	case reflect.Pointer:
		if full {
			v.Set(reflect.New(v.Type().Elem()))
			m.value(v.Elem(), depth-1)
			// JSON cannot tell a pointer to no time from no pointer, and nobody sends the first.
			if time, ok := v.Interface().(interface{ IsZero() bool }); ok && time.IsZero() {
				v.SetZero()
			}
		}
	case reflect.Slice:
		if !full {
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(m.word() + "\x00\xff")[:1+m.Intn(2)])
			return
		}
		count := 1 + m.Intn(3)
		v.Set(reflect.MakeSlice(v.Type(), count, count))
		for i := range count {
			m.value(v.Index(i), depth-1)
		}
	case reflect.Map:
		if !full {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range 1 + m.Intn(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.SetString(m.word())
			m.value(value, depth-1)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && f.Tag.Get("json") != "-" && f.Type != reflect.TypeFor[meta.TypeMeta]() {
				m.value(v.Field(i), depth-1)
			}
		}
	default:
		panic("cannot make a " + v.Type().String())
	}
}

// JSON as the API server writes it: without the escapes for HTML that Go's Marshal adds.
func plainJSON(object any) string {
	text, err := json.Marshal(object)
	must(err)
	return string(text)
}

// vectors writes objects of every kind as upstream's own encoders write them.
func vectors(out *bufio.Writer) {
	m := &maker{Rand: rand.New(rand.NewSource(20261121))}
	fmt.Fprintln(out, "# group version kind / protobuf in hex / JSON; by `go run . vectors` in apiserver/facts")
	for _, k := range kinds() {
		for _, fill := range []int{0, 40, 90} {
			m.fill, m.left = fill, 160
			object := reflect.New(k.of)
			m.value(object.Elem(), 9)
			wire := object.MethodByName("Marshal").Call(nil)
			if err, _ := wire[1].Interface().(error); err != nil {
				panic(err)
			}
			group := k.group
			if group == "" {
				group = "-"
			}
			fmt.Fprintln(out, group, k.version, k.name)
			fmt.Fprintln(out, hex.EncodeToString(wire[0].Bytes()))
			fmt.Fprintln(out, plainJSON(object.Interface()))
		}
	}
}
