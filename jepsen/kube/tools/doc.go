// Package tools pins the programs that judge the API server: kubectl and helm.
// Nothing here is compiled but the tools named in go.mod; build-peers.sh
// builds them.
package tools
