// Reads facts about Kubernetes' types from the struct tags of k8s.io/api and writes what the Rust
// side checks in: the table of fields, and cases with upstream's own answers to compare with.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	commands := map[string]func(*bufio.Writer){
		"table":        func(out *bufio.Writer) { table(out) },
		"vectors":      vectors,
		"decoding":     decoding,
		"amounts":      amounts,
		"yaml":         yamlCases,
		"patches":      patches,
		"selectors":    selectors,
		"plainpatches": plainPatches,
		"openapi":      openAPI,
	}
	run, ok := commands[append(os.Args, "")[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: facts table|vectors|decoding|amounts|yaml|patches|plainpatches|selectors|openapi")
		os.Exit(2)
	}
	run(out)
}
