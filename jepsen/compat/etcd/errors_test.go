// What is refused, with the code and the text that are on the wire. Clients
// find out by the text which error it is, so each byte of it counts.

package compat

import (
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	emptyKey      = "etcdserver: key is not provided"
	keyNotFound   = "etcdserver: key not found"
	valueProvided = "etcdserver: value is provided"
	leaseProvided = "etcdserver: lease is provided"
	tooManyOps    = "etcdserver: too many operations in txn request"
	duplicateKey  = "etcdserver: duplicate key given in txn request"
	invalidSort   = "etcdserver: invalid sort option"
	tooLarge      = "etcdserver: request is too large"
	leaseNotFound = "etcdserver: requested lease not found"
	leaseExists   = "etcdserver: lease already exists"
	ttlTooLarge   = "etcdserver: too large lease TTL"
)

func TestErrorsOfRange(t *testing.T) {
	g := begin(t)
	refuse := func(name string, code codes.Code, text string, request func(c *Case) *pb.RangeRequest) {
		g.check(name, func(c *Case) {
			_, err := c.kv.Range(c.ctx, request(c))
			c.refused(err, code, text)
		})
	}
	refuse("an empty key", codes.InvalidArgument, emptyKey, func(c *Case) *pb.RangeRequest {
		return &pb.RangeRequest{}
	})
	refuse("an empty key with a range end", codes.InvalidArgument, emptyKey, func(c *Case) *pb.RangeRequest {
		return &pb.RangeRequest{RangeEnd: []byte{0}}
	})
	refuse("an unknown sort order", codes.InvalidArgument, invalidSort, func(c *Case) *pb.RangeRequest {
		return &pb.RangeRequest{Key: []byte(c.key("a")), SortOrder: 99}
	})
	refuse("an unknown sort target", codes.InvalidArgument, invalidSort, func(c *Case) *pb.RangeRequest {
		return &pb.RangeRequest{Key: []byte(c.key("a")), SortTarget: 99}
	})
	refuse("a future revision", codes.OutOfRange, future, func(c *Case) *pb.RangeRequest {
		return &pb.RangeRequest{Key: []byte(c.key("a")), Revision: c.now() + 100}
	})
	refuse("a future revision, serializable", codes.OutOfRange, future, func(c *Case) *pb.RangeRequest {
		return &pb.RangeRequest{Key: []byte(c.key("a")), Revision: c.now() + 100, Serializable: true}
	})
	refuse("a compacted revision", codes.OutOfRange, compacted, func(c *Case) *pb.RangeRequest {
		first := c.putAll("a", "a")
		c.compact(first + 1)
		return &pb.RangeRequest{Key: []byte(c.key("a")), Revision: first}
	})
	refuse("a compacted revision of a key that is not there", codes.OutOfRange, compacted, func(c *Case) *pb.RangeRequest {
		first := c.putAll("a", "a")
		c.compact(first + 1)
		return &pb.RangeRequest{Key: []byte(c.key("missing")), Revision: first, CountOnly: true}
	})
}

func TestErrorsOfPut(t *testing.T) {
	g := begin(t)
	refuse := func(name string, code codes.Code, text string, request func(c *Case) *pb.PutRequest) {
		g.check(name, func(c *Case) {
			want := request(c)
			before := c.now()
			_, err := c.kv.Put(c.ctx, want)
			c.refused(err, code, text)
			c.eq("revision after the refusal", c.now(), before)
		})
	}
	refuse("an empty key", codes.InvalidArgument, emptyKey, func(c *Case) *pb.PutRequest {
		return &pb.PutRequest{Value: []byte("1")}
	})
	refuse("ignore_value with a value", codes.InvalidArgument, valueProvided, func(c *Case) *pb.PutRequest {
		c.put("a", "1")
		return &pb.PutRequest{Key: []byte(c.key("a")), Value: []byte("2"), IgnoreValue: true}
	})
	refuse("ignore_lease with a lease", codes.InvalidArgument, leaseProvided, func(c *Case) *pb.PutRequest {
		c.put("a", "1")
		return &pb.PutRequest{Key: []byte(c.key("a")), Lease: 1, IgnoreLease: true}
	})
	refuse("ignore_value of a missing key", codes.InvalidArgument, keyNotFound, func(c *Case) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte(c.key("a")), IgnoreValue: true}
	})
	refuse("ignore_lease of a missing key", codes.InvalidArgument, keyNotFound, func(c *Case) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte(c.key("a")), Value: []byte("1"), IgnoreLease: true}
	})
	refuse("ignore_value of a deleted key", codes.InvalidArgument, keyNotFound, func(c *Case) *pb.PutRequest {
		c.put("a", "1")
		c.del("a")
		return &pb.PutRequest{Key: []byte(c.key("a")), IgnoreValue: true}
	})
	refuse("a lease that is not there", codes.NotFound, leaseNotFound, func(c *Case) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte(c.key("a")), Lease: freeID()}
	})
	refuse("a lease that was revoked", codes.NotFound, leaseNotFound, func(c *Case) *pb.PutRequest {
		lease := c.grant(60)
		_, err := c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		return &pb.PutRequest{Key: []byte(c.key("a")), Lease: int64(lease)}
	})
	refuse("more than one and a half mebibytes", codes.InvalidArgument, tooLarge, func(c *Case) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte(c.key("a")), Value: make([]byte, 3<<19)}
	})
	g.check("more than the transport takes", func(c *Case) {
		_, err := c.kv.Put(c.ctx, &pb.PutRequest{Key: []byte(c.key("a")), Value: make([]byte, 3<<20)})
		c.eq("code", status.Code(err), codes.ResourceExhausted)
		c.eq("count", c.get("a").Count, int64(0))
	})
}

func TestErrorsOfDeleteAndCompact(t *testing.T) {
	g := begin(t)
	g.check("a delete of an empty key", func(c *Case) {
		_, err := c.kv.DeleteRange(c.ctx, &pb.DeleteRangeRequest{})
		c.refused(err, codes.InvalidArgument, emptyKey)
	})
	g.check("a delete of an empty key with a range end", func(c *Case) {
		_, err := c.kv.DeleteRange(c.ctx, &pb.DeleteRangeRequest{RangeEnd: []byte(c.key("a"))})
		c.refused(err, codes.InvalidArgument, emptyKey)
	})
	compact := func(c *Case, revision int64) error {
		_, err := c.kv.Compact(c.ctx, &pb.CompactionRequest{Revision: revision})
		return err
	}
	g.check("a compaction at a future revision", func(c *Case) {
		c.refused(compact(c, c.now()+1), codes.OutOfRange, future)
	})
	g.check("a compaction at the compacted revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		c.compact(revision)
		c.refused(compact(c, revision), codes.OutOfRange, compacted)
	})
	g.check("a compaction below the compacted revision", func(c *Case) {
		revision := c.putAll("a", "a") + 1
		c.compact(revision)
		c.refused(compact(c, revision-1), codes.OutOfRange, compacted)
	})
	g.check("a compaction at revision 0 and below it", func(c *Case) {
		c.compact(c.put("a", "1").Header.Revision)
		c.refused(compact(c, 0), codes.OutOfRange, compacted)
		c.refused(compact(c, -1), codes.OutOfRange, compacted)
	})
}

func TestErrorsOfTxn(t *testing.T) {
	g := begin(t)
	// refuse wants the whole transaction refused and nothing changed by it.
	refuse := func(name string, code codes.Code, text string, request func(c *Case) *pb.TxnRequest) {
		g.check(name, func(c *Case) {
			want := request(c)
			before := c.now()
			_, err := c.kv.Txn(c.ctx, want)
			c.refused(err, code, text)
			c.eq("revision after the refusal", c.now(), before)
			c.eq("trace of the refused transaction", c.get("trace").Count, int64(0))
		})
	}
	success := func(ops ...*pb.RequestOp) *pb.TxnRequest { return &pb.TxnRequest{Success: ops} }
	many := func(c *Case, n int) []*pb.RequestOp {
		var ops []*pb.RequestOp
		for range n {
			ops = append(ops, c.opGet("a"))
		}
		return ops
	}

	refuse("a comparison without a key", codes.InvalidArgument, emptyKey, func(c *Case) *pb.TxnRequest {
		return &pb.TxnRequest{Compare: []*pb.Compare{{}}}
	})
	refuse("a put of an empty key", codes.InvalidArgument, emptyKey, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), putOp(&pb.PutRequest{}))
	})
	refuse("a range of an empty key", codes.InvalidArgument, emptyKey, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), rangeOp(&pb.RangeRequest{}))
	})
	refuse("a delete of an empty key", codes.InvalidArgument, emptyKey, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), deleteOp(&pb.DeleteRangeRequest{}))
	})
	refuse("a bad operation in the branch that would not run", codes.InvalidArgument, emptyKey, func(c *Case) *pb.TxnRequest {
		return &pb.TxnRequest{
			Success: []*pb.RequestOp{c.opPut("trace", "1")}, Failure: []*pb.RequestOp{putOp(&pb.PutRequest{})},
		}
	})
	refuse("an empty operation", codes.InvalidArgument, keyNotFound, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), &pb.RequestOp{})
	})
	refuse("an empty operation in a nested transaction", codes.InvalidArgument, keyNotFound, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), txnOp(success(&pb.RequestOp{})))
	})
	refuse("129 operations in the first branch", codes.InvalidArgument, tooManyOps, func(c *Case) *pb.TxnRequest {
		return success(many(c, 129)...)
	})
	refuse("129 operations in the second branch", codes.InvalidArgument, tooManyOps, func(c *Case) *pb.TxnRequest {
		return &pb.TxnRequest{Failure: many(c, 129)}
	})
	refuse("129 comparisons", codes.InvalidArgument, tooManyOps, func(c *Case) *pb.TxnRequest {
		request := &pb.TxnRequest{}
		for range 129 {
			request.Compare = append(request.Compare, c.cmp(clientv3.Version, "a", "=", 0))
		}
		return request
	})
	refuse("129 operations of a nested and its outer transaction together", codes.InvalidArgument, tooManyOps,
		func(c *Case) *pb.TxnRequest {
			return success(append(many(c, 64), txnOp(success(many(c, 64)...)))...)
		})
	refuse("two puts of one key", codes.InvalidArgument, duplicateKey, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), c.opPut("trace", "2"))
	})
	refuse("two puts of one key in the second branch", codes.InvalidArgument, duplicateKey, func(c *Case) *pb.TxnRequest {
		return &pb.TxnRequest{Failure: []*pb.RequestOp{c.opPut("trace", "1"), c.opPut("trace", "2")}}
	})
	refuse("a put and a later delete of one key", codes.InvalidArgument, duplicateKey, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), c.opDelete("trace"))
	})
	refuse("a delete and a later put of one key", codes.InvalidArgument, duplicateKey, func(c *Case) *pb.TxnRequest {
		return success(c.opDelete("trace"), c.opPut("trace", "1"))
	})
	refuse("a put within a deleted range", codes.InvalidArgument, duplicateKey, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"),
			deleteOp(&pb.DeleteRangeRequest{Key: []byte(c.prefix), RangeEnd: []byte(c.end())}))
	})
	refuse("two puts of one key, one of them nested", codes.InvalidArgument, duplicateKey, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"), txnOp(success(c.opPut("trace", "2"))))
	})
	refuse("two puts of one key in two nested transactions", codes.InvalidArgument, duplicateKey, func(c *Case) *pb.TxnRequest {
		return success(txnOp(success(c.opPut("trace", "1"))), txnOp(success(c.opPut("trace", "2"))))
	})
	refuse("a value with ignore_value", codes.InvalidArgument, valueProvided, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"),
			putOp(&pb.PutRequest{Key: []byte(c.key("a")), Value: []byte("1"), IgnoreValue: true}))
	})
	refuse("a lease with ignore_lease", codes.InvalidArgument, leaseProvided, func(c *Case) *pb.TxnRequest {
		return success(c.opPut("trace", "1"),
			putOp(&pb.PutRequest{Key: []byte(c.key("a")), Lease: 1, IgnoreLease: true}))
	})
	refuse("ignore_value of a missing key", codes.InvalidArgument, keyNotFound, func(c *Case) *pb.TxnRequest {
		return success(putOp(&pb.PutRequest{Key: []byte(c.key("a")), IgnoreValue: true}))
	})
	refuse("a lease that is not there", codes.NotFound, leaseNotFound, func(c *Case) *pb.TxnRequest {
		return success(putOp(&pb.PutRequest{Key: []byte(c.key("trace")), Lease: freeID()}))
	})
	refuse("an unknown sort order", codes.InvalidArgument, invalidSort, func(c *Case) *pb.TxnRequest {
		return success(rangeOp(&pb.RangeRequest{Key: []byte(c.key("a")), SortOrder: 99}))
	})
	refuse("a range at a future revision", codes.OutOfRange, future, func(c *Case) *pb.TxnRequest {
		return success(rangeOp(&pb.RangeRequest{Key: []byte(c.key("a")), Revision: c.now() + 100}))
	})
	refuse("a range at a compacted revision", codes.OutOfRange, compacted, func(c *Case) *pb.TxnRequest {
		first := c.putAll("a", "a")
		c.compact(first + 1)
		return success(rangeOp(&pb.RangeRequest{Key: []byte(c.key("a")), Revision: first}))
	})
	refuse("more than one and a half mebibytes in all", codes.InvalidArgument, tooLarge, func(c *Case) *pb.TxnRequest {
		half := strings.Repeat("x", 800<<10)
		return success(c.opPut("trace", half), c.opPut("b", half))
	})
}

func TestErrorsOfLease(t *testing.T) {
	g := begin(t)
	g.check("a TTL above nine billion", func(c *Case) {
		_, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 9_000_000_001})
		c.refused(err, codes.OutOfRange, ttlTooLarge)
	})
	g.check("a grant of an id that is there", func(c *Case) {
		_, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 60, ID: int64(c.grant(60))})
		c.refused(err, codes.FailedPrecondition, leaseExists)
	})
	g.check("a revoke of a lease that is not there", func(c *Case) {
		_, err := c.leases.LeaseRevoke(c.ctx, &pb.LeaseRevokeRequest{ID: freeID()})
		c.refused(err, codes.NotFound, leaseNotFound)
	})
	g.check("a revoke of lease 0", func(c *Case) {
		_, err := c.leases.LeaseRevoke(c.ctx, &pb.LeaseRevokeRequest{})
		c.refused(err, codes.NotFound, leaseNotFound)
	})
	g.check("a second revoke", func(c *Case) {
		id := int64(c.grant(60))
		_, err := c.leases.LeaseRevoke(c.ctx, &pb.LeaseRevokeRequest{ID: id})
		c.ok(err)
		_, err = c.leases.LeaseRevoke(c.ctx, &pb.LeaseRevokeRequest{ID: id})
		c.refused(err, codes.NotFound, leaseNotFound)
	})
	g.check("clientv3's single keep-alive of a lease that is not there", func(c *Case) {
		_, err := c.cli.KeepAliveOnce(c.ctx, clientv3.LeaseID(freeID()))
		c.that(err != nil && err.Error() == leaseNotFound, "got %v", err)
	})
}

func TestErrorsOfWatch(t *testing.T) {
	g := begin(t)
	// refuse wants a response that creates and cancels at once.
	refuse := func(name, reason string, request func(c *Case) *pb.WatchCreateRequest) {
		g.check(name, func(c *Case) {
			want := request(c)
			revision := c.now()
			s := c.stream()
			s.create(want)
			response := s.next()
			c.eq("created", response.Created, true)
			c.eq("canceled", response.Canceled, true)
			c.eq("watch_id", response.WatchId, int64(-1))
			c.eq("cancel_reason", response.CancelReason, reason)
			c.eq("compact_revision", response.CompactRevision, int64(0))
			c.eq("header revision", response.Header.Revision, revision)
		})
	}
	refuse("a range whose end is before its start", "mvcc: watcher range is empty", func(c *Case) *pb.WatchCreateRequest {
		return &pb.WatchCreateRequest{Key: []byte(c.key("b")), RangeEnd: []byte(c.key("a"))}
	})
	refuse("a range whose end is its start", "mvcc: watcher range is empty", func(c *Case) *pb.WatchCreateRequest {
		return &pb.WatchCreateRequest{Key: []byte(c.key("b")), RangeEnd: []byte(c.key("b"))}
	})
	refuse("a start revision below zero", compacted, func(c *Case) *pb.WatchCreateRequest {
		request := c.one("a")
		request.StartRevision = -1
		return request
	})
	g.check("a number that the stream has already", func(c *Case) {
		s := c.stream()
		request := c.one("a")
		request.WatchId = 9
		s.watch(request)
		s.create(request)
		response := s.next()
		c.eq("created and canceled", []bool{response.Created, response.Canceled}, []bool{true, true})
		c.eq("watch_id", response.WatchId, int64(-1))
		c.eq("cancel_reason", response.CancelReason, "mvcc: duplicate watch ID provided on the WatchStream")
		c.put("a", "1")
		c.eq("the first goes on", s.next().WatchId, int64(9))
	})
	g.check("clientv3 gives the reason of a refused watch", func(c *Case) {
		response := c.receive(c.cli.Watch(c.ctx, c.key("b"), clientv3.WithRange(c.key("a"))))
		c.that(response.Err() != nil, "no error")
		c.eq("error", response.Err().Error(), "mvcc: watcher range is empty")
	})
}

func TestErrorsOfMaintenance(t *testing.T) {
	g := begin(t)
	g.check("a hash of a future revision", func(c *Case) {
		_, err := c.upkeep.HashKV(c.ctx, &pb.HashKVRequest{Revision: c.now() + 100})
		c.refused(err, codes.OutOfRange, future)
	})
	g.check("a hash of a compacted revision", func(c *Case) {
		first := c.putAll("a", "a", "a")
		c.compact(first + 2)
		_, err := c.upkeep.HashKV(c.ctx, &pb.HashKVRequest{Revision: first})
		c.refused(err, codes.OutOfRange, compacted)
	})
	g.check("a method that is not there", func(c *Case) {
		err := c.conn.Invoke(c.ctx, "/etcdserverpb.KV/Nothing", &pb.RangeRequest{}, &pb.RangeResponse{})
		c.eq("code", status.Code(err), codes.Unimplemented)
	})
	g.check("a service that is not there", func(c *Case) {
		err := c.conn.Invoke(c.ctx, "/etcdserverpb.Nothing/Range", &pb.RangeRequest{}, &pb.RangeResponse{})
		c.eq("code", status.Code(err), codes.Unimplemented)
	})
}
