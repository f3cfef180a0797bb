// Package compat is the suite that says whether a server is etcd for those
// who speak to it: named cases that hold on a real etcd of the pinned release
// and must hold on kstore in the same way.
//
// The suite starts nothing. It is given the client addresses of one member or
// of three and talks to them as clients do: through clientv3, through the
// client that Kubernetes' API server uses, through the bare gRPC stubs where
// clientv3 would hide what is on the wire, and through HTTP.
//
//	ENDPOINTS=127.0.0.1:2379 go test ./...
//
// The environment:
//
//	ENDPOINTS          comma-separated host:port of every member (must be set)
//	RESULTS            a file that gets one line per case, "case: pass|fail|skip"
//	PROGRESS_INTERVAL  the servers' --watch-progress-notify-interval, if it was set
//	SKIP               comma-separated groups ("Hash,Snapshot") to leave out
//
// The files are one per group of cases; suite_test.go has what they share.
// Cases run one after another and each has a key prefix of its own, so that a
// case may say what the next revision must be. A case about something global
// (compaction, alarms) begins with facts that it makes itself.
//
// Left out on purpose: what a server may do in its own way. The bytes of a
// snapshot, the value of a hash, the names of metrics beyond a few, the order
// of keys in a lease, the place where a long catch-up is cut into responses.
package compat
