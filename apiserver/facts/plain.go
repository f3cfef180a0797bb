package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// any JSON value of no kind in particular.
func loose(random *rand.Rand, depth int) any {
	switch n := random.Intn(8); {
	case n < 3 && depth > 0:
		members := map[string]any{}
		for range random.Intn(4) {
			members[[]string{"a", "b", "c/d", "e~f", ""}[random.Intn(5)]] = loose(random, depth-1)
		}
		return members
	case n < 5 && depth > 0:
		items := []any{}
		for range random.Intn(4) {
			items = append(items, loose(random, depth-1))
		}
		return items
	case n == 5:
		return nil
	case n == 6:
		return random.Intn(3)
	default:
		return []any{"x", "y", true, 1.5}[random.Intn(4)]
	}
}

func object(random *rand.Rand) map[string]any {
	for {
		if members, ok := loose(random, 4).(map[string]any); ok && len(members) > 0 {
			return members
		}
	}
}

// pointers lists the ways to all values, and to places where one could be put.
func pointers(v any, prefix string, found *[]string) {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	switch v := v.(type) {
	case map[string]any:
		*found = append(*found, prefix+"/a")
		for name, value := range sorted(v) {
			*found = append(*found, prefix+"/"+escape.Replace(name))
			pointers(value, prefix+"/"+escape.Replace(name), found)
		}
	case []any:
		*found = append(*found, prefix+"/-", prefix+"/-1", prefix+"/"+strconv.Itoa(len(v)))
		for i, value := range v {
			*found = append(*found, prefix+"/"+strconv.Itoa(i))
			pointers(value, prefix+"/"+strconv.Itoa(i), found)
		}
	}
}

func text(value any) string {
	made, err := json.Marshal(value)
	must(err)
	return string(made)
}

// plainPatches writes JSON patches and JSON merge patches with what upstream's library makes of them.
func plainPatches(out *bufio.Writer) {
	random := rand.New(rand.NewSource(8))
	fmt.Fprintln(out, "# document / merge patch / outcome / JSON patch / outcome; by `go run . plainpatches` in apiserver/facts")
	odd := []string{"/a", "/b", "/a/a", "/a/b", "/a/0", "/b/1", "/a/-", "/b/-1", "/c~1d", "/e~0f", "/", "", "/a/b/a", "/b/a/0", "/a/x", "a", "/a/1/b", "/a/-2"}
	for range 700 {
		tree := object(random)
		document, patch := text(tree), text(object(random))
		var ways []string
		pointers(tree, "", &ways)
		pointer := func() string {
			if random.Intn(8) == 0 {
				return odd[random.Intn(len(odd))]
			}
			return ways[random.Intn(len(ways))]
		}
		merged, err := jsonpatch.MergePatch([]byte(document), []byte(patch))
		must(err)
		var operations []map[string]any
		for range 1 + random.Intn(3) {
			operation := map[string]any{
				"op":   []string{"add", "remove", "replace", "move", "copy", "test", "add", "replace", "copy", "add", "none"}[random.Intn(11)],
				"path": pointer(),
			}
			if random.Intn(5) > 0 {
				operation["from"] = pointer()
			}
			if random.Intn(5) > 0 {
				operation["value"] = loose(random, 2)
			}
			operations = append(operations, operation)
		}
		outcome := applied(document, text(operations))
		if outcome == "panic" {
			continue
		}
		fmt.Fprintf(out, "%s\n%s\n%s\n%s\n%s\n", document, patch, merged, text(operations), outcome)
	}
}

func applied(document, patch string) (outcome string) {
	defer func() {
		if recover() != nil {
			outcome = "panic"
		}
	}()
	decoded, err := jsonpatch.DecodePatch([]byte(patch))
	must(err)
	patched, err := decoded.Apply([]byte(document))
	if err != nil {
		return "error"
	}
	return string(patched)
}
