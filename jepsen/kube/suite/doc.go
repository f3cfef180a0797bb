// Package suite asks an API server of Kubernetes what client-go asks it, case by
// case, and checks the answers against what upstream's server answers.
//
//	KUBECONFIG=FILE go test -count=1 .
//
// KUBECONFIG is that of an administrator. One node must be there that runs pods,
// hollow ones do. Further words in the environment:
//
//	SERVER=kstore    the server is kstore (otherwise upstream's): what it refuses for now is expected
//	RESULTS=FILE     gets a line "group: case: pass|fail|skip" for each case
//	SKIP=A,B         leaves the groups A and B (the names of Go's tests without "Test") out
//	COMPACT=COMMAND  makes the store forget old versions; without it the cases about 410 are skipped
package suite
