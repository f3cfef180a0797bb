package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

var pieces = []string{
	"a", "b", "app", "x.y/z", "tier", "in", "notin", "=", "==", "!=", "!", ",", "(", ")", "<", ">", "5", "-1",
	" ", " in (", " notin (", "a,b)", "_", "é", "A", "x/y/z", "/n", "a=b", ",", ",", "web", "UP.er", "\t", "Web/x",
}

var fieldPieces = []string{
	"metadata.name", "spec.nodeName", "a", "=", "==", "!=", ",", "\\,", "\\=", "\\\\", "\\", "!", "x", "", " ", "é",
}

var labelSets = []labels.Set{
	nil, {"a": "b"}, {"a": "b", "app": "web", "tier": ""}, {"a": "5", "b": "7"}, {"app": "A", "x.y/z": "b"},
}

func joined(random *rand.Rand, from []string) string {
	var text strings.Builder
	for range 1 + random.Intn(8) {
		text.WriteString(from[random.Intn(len(from))])
	}
	return text.String()
}

func line(out *bufio.Writer, values ...any) {
	text, err := json.Marshal(values)
	must(err)
	fmt.Fprintln(out, string(text))
}

// labelSelectorObjects are such as say the same in an object, some of them wrongly.
func labelSelectorObject(random *rand.Rand) *meta.LabelSelector {
	some := func(from ...string) string { return from[random.Intn(len(from))] }
	selector := &meta.LabelSelector{}
	if random.Intn(2) == 0 {
		selector.MatchLabels = map[string]string{some("a", "app", "-x", "x.y/z"): some("b", "", "web", "b b")}
	}
	for range random.Intn(3) {
		one := meta.LabelSelectorRequirement{
			Key:      some("a", "b", "tier", "app", ""),
			Operator: meta.LabelSelectorOperator(some("In", "NotIn", "Exists", "DoesNotExist", "in", "")),
		}
		for range random.Intn(3) {
			one.Values = append(one.Values, some("b", "web", "", "5", "!"))
		}
		selector.MatchExpressions = append(selector.MatchExpressions, one)
	}
	return selector
}

// selectors writes selectors with their canonical text (or the complaint) and what they select.
func selectors(out *bufio.Writer) {
	random := rand.New(rand.NewSource(7))
	selected := func(selector labels.Selector) []bool {
		var answers []bool
		for _, set := range labelSets {
			answers = append(answers, selector.Matches(set))
		}
		return answers
	}
	known := []string{"", "a=b", "a in (b,c),!d", "h>5", "h < x", "a in ()", "a in (,)", "a notin (b", "a b", "a=b=c", "=a", "a,,b", ",", "!", "!!a", "a in b", strings.Repeat("a", 64), "a=" + strings.Repeat("b", 64), strings.Repeat("a", 254) + "/b"}
	for i := range 900 {
		text := joined(random, pieces)
		if i < len(known) {
			text = known[i]
		}
		if selector, err := labels.Parse(text); err != nil {
			line(out, "labels", text, "error "+err.Error())
		} else {
			line(out, "labels", text, selector.String(), selected(selector))
		}
	}
	for range 500 {
		text := joined(random, fieldPieces)
		if selector, err := fields.ParseSelector(text); err != nil {
			line(out, "fields", text, "error "+err.Error())
		} else {
			line(out, "fields", text, selector.String())
		}
	}
	for range 300 {
		object := labelSelectorObject(random)
		if selector, err := meta.LabelSelectorAsSelector(object); err != nil {
			line(out, "object", object, "error "+err.Error())
		} else {
			line(out, "object", object, selector.String(), selected(selector))
		}
	}
}
