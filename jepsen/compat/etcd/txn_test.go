// Txn: comparisons, branches, nested transactions.

package compat

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestTxnCompare(t *testing.T) {
	g := begin(t)
	// integers checks =, !=, < and > of a number that is n.
	integers := func(c *Case, kind func(string) clientv3.Cmp, name string, n int64) {
		c.Helper()
		for _, row := range []struct {
			result  string
			operand int64
			want    bool
		}{
			{"=", n, true}, {"=", n + 1, false},
			{"!=", n + 1, true}, {"!=", n, false},
			{"<", n + 1, true}, {"<", n, false},
			{">", n - 1, true}, {">", n, false},
		} {
			c.eq(row.result, c.holds(c.cmp(kind, name, row.result, row.operand)), row.want)
		}
	}
	g.check("versions compare in all four ways", func(c *Case) {
		c.putAll("a", "a", "a")
		integers(c, clientv3.Version, "a", 3)
	})
	g.check("create revisions compare in all four ways", func(c *Case) {
		revision := c.putAll("a", "a")
		integers(c, clientv3.CreateRevision, "a", revision)
	})
	g.check("mod revisions compare in all four ways", func(c *Case) {
		revision := c.putAll("a", "a")
		integers(c, clientv3.ModRevision, "a", revision+1)
	})
	g.check("leases compare", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1", clientv3.WithLease(lease))
		kind := func(key string) clientv3.Cmp { return clientv3.LeaseValue(key) }
		c.eq("=", c.holds(c.cmp(kind, "a", "=", lease)), true)
		c.eq("!=", c.holds(c.cmp(kind, "a", "!=", lease)), false)
		c.put("a", "2")
		c.eq("detached", c.holds(c.cmp(kind, "a", "=", clientv3.LeaseID(0))), true)
	})
	g.check("values compare as bytes in all four ways", func(c *Case) {
		c.put("a", "m")
		for _, row := range []struct {
			result, operand string
			want            bool
		}{
			{"=", "m", true}, {"=", "n", false}, {"!=", "n", true}, {"!=", "m", false},
			{"<", "n", true}, {"<", "m", false}, {"<", "mm", true}, {">", "l", true}, {">", "m", false}, {">", "", true},
		} {
			c.eq(row.result+row.operand, c.holds(c.cmp(clientv3.Value, "a", row.result, row.operand)), row.want)
		}
	})
	g.check("a missing key has zeros for its numbers", func(c *Case) {
		c.eq("all", c.holds(
			c.cmp(clientv3.Version, "a", "=", 0), c.cmp(clientv3.CreateRevision, "a", "=", 0),
			c.cmp(clientv3.ModRevision, "a", "=", 0), c.cmp(clientv3.Version, "a", "<", 1)), true)
		c.eq("version > 0", c.holds(c.cmp(clientv3.Version, "a", ">", 0)), false)
	})
	g.check("a value comparison on a missing key is false whatever it asks", func(c *Case) {
		for _, result := range []string{"=", "!=", "<", ">"} {
			c.eq(result, c.holds(c.cmp(clientv3.Value, "a", result, "x")), false)
		}
	})
	g.check("a deleted key compares as a missing one", func(c *Case) {
		c.put("a", "1")
		c.del("a")
		c.eq("version", c.holds(c.cmp(clientv3.Version, "a", "=", 0)), true)
		c.eq("mod revision", c.holds(c.cmp(clientv3.ModRevision, "a", "=", 0)), true)
	})
	g.check("a comparison over a range must hold for each key", func(c *Case) {
		first := c.putAll("a", "b", "c")
		over := func(result string, revision int64) bool {
			compare := c.cmp(clientv3.ModRevision, "", result, revision)
			compare.RangeEnd = []byte(c.end())
			return c.holds(compare)
		}
		c.eq("all below", over("<", first+3), true)
		c.eq("one not below", over("<", first+2), false)
		c.eq("all above", over(">", first-1), true)
	})
	g.check("over an empty range numbers are zero and values are false", func(c *Case) {
		compare := c.cmp(clientv3.ModRevision, "", "=", 0)
		compare.RangeEnd = []byte(c.end())
		c.eq("mod revision = 0", c.holds(compare), true)
		compare = c.cmp(clientv3.ModRevision, "", ">", 0)
		compare.RangeEnd = []byte(c.end())
		c.eq("mod revision > 0", c.holds(compare), false)
		compare = c.cmp(clientv3.Value, "", "!=", "x")
		compare.RangeEnd = []byte(c.end())
		c.eq("value", c.holds(compare), false)
	})
	g.check("one false comparison among many fails them all", func(c *Case) {
		c.put("a", "1")
		c.eq("both", c.holds(c.cmp(clientv3.Version, "a", "=", 1), c.cmp(clientv3.Version, "b", "=", 1)), false)
	})
	g.check("no comparisons hold", func(c *Case) {
		c.eq("succeeded", c.holds(), true)
	})
}

func TestTxn(t *testing.T) {
	g := begin(t)
	g.check("the first branch runs when the comparisons hold", func(c *Case) {
		answer := c.txn(&pb.TxnRequest{
			Compare: []*pb.Compare{c.cmp(clientv3.Version, "a", "=", 0)},
			Success: []*pb.RequestOp{c.opPut("a", "yes")}, Failure: []*pb.RequestOp{c.opPut("a", "no")},
		})
		c.eq("succeeded", answer.Succeeded, true)
		c.eq("values", values(c.get("a").Kvs), []string{"yes"})
	})
	g.check("the second branch runs when they do not", func(c *Case) {
		answer := c.txn(&pb.TxnRequest{
			Compare: []*pb.Compare{c.cmp(clientv3.Version, "a", "=", 1)},
			Success: []*pb.RequestOp{c.opPut("a", "yes")}, Failure: []*pb.RequestOp{c.opPut("a", "no")},
		})
		c.eq("succeeded", answer.Succeeded, false)
		c.eq("values", values(c.get("a").Kvs), []string{"no"})
	})
	g.check("an empty transaction succeeds and changes nothing", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer := c.txn(&pb.TxnRequest{})
		c.eq("succeeded", answer.Succeeded, true)
		c.eq("responses", len(answer.Responses), 0)
		c.eq("revision", answer.Header.Revision, revision)
	})
	g.check("all writes of a transaction share one revision", func(c *Case) {
		before := c.put("gone", "1").Header.Revision
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opPut("a", "1"), c.opPut("b", "1"), c.opDelete("gone"),
		}})
		c.eq("revision", answer.Header.Revision, before+1)
		for _, kv := range c.all().Kvs {
			c.eq("mod_revision", kv.ModRevision, before+1)
			c.eq("create_revision", kv.CreateRevision, before+1)
		}
		c.eq("next revision", c.put("c", "1").Header.Revision, before+2)
	})
	g.check("each operation gets its answer in its place", func(c *Case) {
		c.put("a", "1")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opGet("a"), c.opPut("b", "2"), c.opDelete("a"), c.opGet("missing"),
		}})
		c.eq("responses", len(answer.Responses), 4)
		c.eq("range", values(answer.Responses[0].GetResponseRange().Kvs), []string{"1"})
		c.that(answer.Responses[1].GetResponsePut() != nil, "no put response")
		c.eq("deleted", answer.Responses[2].GetResponseDeleteRange().Deleted, int64(1))
		c.eq("missing", answer.Responses[3].GetResponseRange().Count, int64(0))
	})
	g.check("a read-only transaction keeps the revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{c.opGet("a"), c.opGet("b")}})
		c.eq("revision", answer.Header.Revision, revision)
		c.eq("next revision", c.put("b", "1").Header.Revision, revision+1)
	})
	g.check("a transaction that deletes nothing keeps the revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{c.opDelete("missing")}})
		c.eq("revision", answer.Header.Revision, revision)
		c.eq("next revision", c.put("b", "1").Header.Revision, revision+1)
	})
	g.check("a read sees the writes before it in its transaction", func(c *Case) {
		c.put("a", "old")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opGet("a"), c.opPut("a", "new"), c.opGet("a"), c.opDelete("gone"),
		}})
		c.eq("before", values(answer.Responses[0].GetResponseRange().Kvs), []string{"old"})
		c.eq("after", values(answer.Responses[2].GetResponseRange().Kvs), []string{"new"})
	})
	g.check("a read after a delete in its transaction finds nothing", func(c *Case) {
		c.putAll("a", "b")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opDelete("a"), rangeOp(&pb.RangeRequest{Key: []byte(c.prefix), RangeEnd: []byte(c.end())}),
		}})
		c.eq("keys", c.names(answer.Responses[1].GetResponseRange().Kvs), []string{"b"})
	})
	g.check("a read of an old revision works inside a transaction", func(c *Case) {
		old := c.put("a", "1").Header.Revision
		c.put("a", "2")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			rangeOp(&pb.RangeRequest{Key: []byte(c.key("a")), Revision: old}),
		}})
		c.eq("values", values(answer.Responses[0].GetResponseRange().Kvs), []string{"1"})
	})
	g.check("a read takes its limit and order inside a transaction", func(c *Case) {
		c.putAll("a", "b", "c")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{rangeOp(&pb.RangeRequest{
			Key: []byte(c.prefix), RangeEnd: []byte(c.end()), Limit: 2, SortOrder: pb.RangeRequest_DESCEND,
		})}})
		read := answer.Responses[0].GetResponseRange()
		c.eq("keys", c.names(read.Kvs), []string{"c", "b"})
		c.eq("more", read.More, true)
		c.eq("count", read.Count, int64(3))
	})
	g.check("prev_kv works inside a transaction", func(c *Case) {
		c.put("a", "1")
		c.put("b", "2")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(&pb.PutRequest{Key: []byte(c.key("a")), Value: []byte("3"), PrevKv: true}),
			deleteOp(&pb.DeleteRangeRequest{Key: []byte(c.key("b")), PrevKv: true}),
		}})
		c.eq("put", string(answer.Responses[0].GetResponsePut().PrevKv.Value), "1")
		c.eq("delete", values(answer.Responses[1].GetResponseDeleteRange().PrevKvs), []string{"2"})
	})
	g.check("a put attaches its lease inside a transaction", func(c *Case) {
		lease := c.grant(60)
		c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(&pb.PutRequest{Key: []byte(c.key("a")), Lease: int64(lease)}),
		}})
		c.eq("lease", c.get("a").Kvs[0].Lease, int64(lease))
	})
	g.check("ignore_value and ignore_lease work inside a transaction", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1")
		c.put("b", "1", clientv3.WithLease(lease))
		c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(&pb.PutRequest{Key: []byte(c.key("a")), IgnoreValue: true, Lease: int64(lease)}),
			putOp(&pb.PutRequest{Key: []byte(c.key("b")), IgnoreLease: true, Value: []byte("2")}),
		}})
		kvs := c.all().Kvs
		c.eq("values", values(kvs), []string{"1", "2"})
		c.eq("leases", []int64{kvs[0].Lease, kvs[1].Lease}, []int64{int64(lease), int64(lease)})
	})
	g.check("128 operations are allowed", func(c *Case) {
		request := &pb.TxnRequest{}
		for i := range 128 {
			request.Success = append(request.Success, c.opPut(string(rune('0'+i)), "1"))
		}
		c.eq("responses", len(c.txn(request).Responses), 128)
		c.eq("count", c.all().Count, int64(128))
	})
	g.check("a serializable read-only transaction works", func(c *Case) {
		c.put("a", "1")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			rangeOp(&pb.RangeRequest{Key: []byte(c.key("a")), Serializable: true}),
		}})
		c.eq("values", values(answer.Responses[0].GetResponseRange().Kvs), []string{"1"})
	})
	g.check("two deletes of one key delete it once", func(c *Case) {
		c.put("a", "1")
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{c.opDelete("a"), c.opDelete("a")}})
		c.eq("first", answer.Responses[0].GetResponseDeleteRange().Deleted, int64(1))
		c.eq("second", answer.Responses[1].GetResponseDeleteRange().Deleted, int64(0))
	})
	g.check("both branches may put the same key", func(c *Case) {
		c.txn(&pb.TxnRequest{
			Success: []*pb.RequestOp{c.opPut("a", "1")}, Failure: []*pb.RequestOp{c.opPut("a", "2")},
		})
		c.eq("values", values(c.get("a").Kvs), []string{"1"})
	})
}

func TestTxnNested(t *testing.T) {
	g := begin(t)
	g.check("a nested transaction runs and answers in its place", func(c *Case) {
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opPut("a", "1"),
			txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("b", "2"), c.opGet("a")}}),
		}})
		nested := answer.Responses[1].GetResponseTxn()
		c.eq("succeeded", nested.Succeeded, true)
		c.eq("read inside", values(nested.Responses[1].GetResponseRange().Kvs), []string{"1"})
		c.eq("values", values(c.all().Kvs), []string{"1", "2"})
	})
	g.check("inner and outer writes share one revision", func(c *Case) {
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opPut("a", "1"), txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("b", "2")}}), c.opPut("c", "3"),
		}})
		for _, kv := range c.all().Kvs {
			c.eq("mod_revision", kv.ModRevision, answer.Header.Revision)
		}
	})
	g.check("inner comparisons see the state before the whole transaction", func(c *Case) {
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opPut("a", "1"),
			txnOp(&pb.TxnRequest{
				Compare: []*pb.Compare{c.cmp(clientv3.Version, "a", "=", 0)},
				Success: []*pb.RequestOp{c.opPut("saw", "nothing")},
				Failure: []*pb.RequestOp{c.opPut("saw", "the put")},
			}),
		}})
		c.eq("succeeded", answer.Responses[1].GetResponseTxn().Succeeded, true)
		c.eq("values", values(c.get("saw").Kvs), []string{"nothing"})
	})
	g.check("an inner failure takes its own second branch only", func(c *Case) {
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			txnOp(&pb.TxnRequest{
				Compare: []*pb.Compare{c.cmp(clientv3.Version, "a", "=", 7)},
				Success: []*pb.RequestOp{c.opPut("b", "yes")},
				Failure: []*pb.RequestOp{c.opPut("b", "no")},
			}),
			c.opPut("c", "outer"),
		}})
		c.eq("outer", answer.Succeeded, true)
		c.eq("inner", answer.Responses[0].GetResponseTxn().Succeeded, false)
		c.eq("values", values(c.all().Kvs), []string{"no", "outer"})
	})
	g.check("the branches of a nested transaction may share keys", func(c *Case) {
		c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{txnOp(&pb.TxnRequest{
			Success: []*pb.RequestOp{c.opPut("a", "1")}, Failure: []*pb.RequestOp{c.opPut("a", "2")},
		})}})
		c.eq("values", values(c.get("a").Kvs), []string{"1"})
	})
	g.check("a nested transaction in the second branch runs there", func(c *Case) {
		answer := c.txn(&pb.TxnRequest{
			Compare: []*pb.Compare{c.cmp(clientv3.Version, "a", ">", 0)},
			Failure: []*pb.RequestOp{txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("b", "1")}})},
		})
		c.eq("succeeded", answer.Succeeded, false)
		c.eq("values", values(c.get("b").Kvs), []string{"1"})
	})
	g.check("transactions nest three deep", func(c *Case) {
		inner := &pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("c", "3")}}
		middle := &pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("b", "2"), txnOp(inner)}}
		c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("a", "1"), txnOp(middle)}})
		c.eq("values", values(c.all().Kvs), []string{"1", "2", "3"})
	})
	g.check("nested reads alone keep the revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{c.opGet("a")}}),
		}})
		c.eq("revision", answer.Header.Revision, revision)
		nested := answer.Responses[0].GetResponseTxn()
		c.eq("values", values(nested.Responses[0].GetResponseRange().Kvs), []string{"1"})
	})
}
