// Package tools pins the peers that kstore is judged by: etcd's server,
// etcdctl and etcdutl. Nothing here is compiled but the tools named in
// go.mod; build-peers.sh builds them.
package tools
