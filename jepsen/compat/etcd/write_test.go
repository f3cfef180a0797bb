// Put and DeleteRange.

package compat

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestPut(t *testing.T) {
	g := begin(t)
	g.check("a put raises the revision by one and says it", func(c *Case) {
		first := c.put("a", "1").Header.Revision
		c.eq("revision", c.put("b", "1").Header.Revision, first+1)
		c.eq("mod_revision", c.get("b").Kvs[0].ModRevision, first+1)
	})
	g.check("each put of a key raises its version and keeps its creation", func(c *Case) {
		created := c.put("a", "1").Header.Revision
		c.put("a", "2")
		last := c.put("a", "2").Header.Revision
		kv := c.get("a").Kvs[0]
		c.eq("create_revision", kv.CreateRevision, created)
		c.eq("mod_revision", kv.ModRevision, last)
		c.eq("version", kv.Version, int64(3))
	})
	g.check("a put after a delete begins a new key", func(c *Case) {
		c.put("a", "1")
		c.put("a", "2")
		c.del("a")
		created := c.put("a", "3").Header.Revision
		kv := c.get("a").Kvs[0]
		c.eq("create_revision", kv.CreateRevision, created)
		c.eq("version", kv.Version, int64(1))
	})
	g.check("prev_kv is the key as it was", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		previous := c.put("a", "2", clientv3.WithPrevKV()).PrevKv
		c.that(previous != nil, "no prev_kv")
		c.eq("value", string(previous.Value), "1")
		c.eq("mod_revision", previous.ModRevision, revision)
		c.eq("version", previous.Version, int64(1))
	})
	g.check("prev_kv is absent for a new key and when it is not asked for", func(c *Case) {
		c.that(c.put("a", "1", clientv3.WithPrevKV()).PrevKv == nil, "a prev_kv for a new key")
		c.that(c.put("a", "2").PrevKv == nil, "a prev_kv that nobody asked for")
	})
	g.check("ignore_value keeps the value and takes the lease", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1")
		c.put("a", "", clientv3.WithIgnoreValue(), clientv3.WithLease(lease))
		kv := c.get("a").Kvs[0]
		c.eq("value", string(kv.Value), "1")
		c.eq("lease", kv.Lease, int64(lease))
		c.eq("version", kv.Version, int64(2))
	})
	g.check("ignore_lease keeps the lease and takes the value", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1", clientv3.WithLease(lease))
		c.put("a", "2", clientv3.WithIgnoreLease())
		kv := c.get("a").Kvs[0]
		c.eq("value", string(kv.Value), "2")
		c.eq("lease", kv.Lease, int64(lease))
	})
	g.check("ignore_value and ignore_lease together only touch the key", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1", clientv3.WithLease(lease))
		c.put("a", "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease())
		kv := c.get("a").Kvs[0]
		c.eq("value", string(kv.Value), "1")
		c.eq("lease", kv.Lease, int64(lease))
		c.eq("version", kv.Version, int64(2))
	})
	g.check("a put without a lease detaches the one before", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1", clientv3.WithLease(lease))
		c.put("a", "2")
		c.eq("lease", c.get("a").Kvs[0].Lease, int64(0))
		_, err := c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		c.eq("values", values(c.get("a").Kvs), []string{"2"})
	})
	g.check("a put with another lease moves the key to it", func(c *Case) {
		first, second := c.grant(60), c.grant(60)
		c.put("a", "1", clientv3.WithLease(first))
		c.put("a", "2", clientv3.WithLease(second))
		_, err := c.cli.Revoke(c.ctx, first)
		c.ok(err)
		c.eq("after the first lease", c.get("a").Count, int64(1))
		_, err = c.cli.Revoke(c.ctx, second)
		c.ok(err)
		c.eq("after the second lease", c.get("a").Count, int64(0))
	})
	g.check("a value of a mebibyte can be replaced with prev_kv", func(c *Case) {
		large := string(make([]byte, 1<<20))
		c.put("a", large)
		c.eq("length", len(c.put("a", "small", clientv3.WithPrevKV()).PrevKv.Value), 1<<20)
	})
}

func TestDeleteRange(t *testing.T) {
	g := begin(t)
	g.check("a key is deleted in a revision of its own", func(c *Case) {
		put := c.put("a", "1").Header.Revision
		answer := c.del("a")
		c.eq("deleted", answer.Deleted, int64(1))
		c.eq("revision", answer.Header.Revision, put+1)
		c.eq("count", c.get("a").Count, int64(0))
	})
	g.check("deleting nothing deletes 0 and keeps the revision", func(c *Case) {
		put := c.put("a", "1").Header.Revision
		answer := c.del("missing", clientv3.WithPrevKV())
		c.eq("deleted", answer.Deleted, int64(0))
		c.eq("prev_kvs", len(answer.PrevKvs), 0)
		c.eq("revision", answer.Header.Revision, put)
		c.eq("next revision", c.put("b", "1").Header.Revision, put+1)
	})
	g.check("a range is deleted in one revision and its end stays", func(c *Case) {
		last := c.putAll("a", "b", "c", "d") + 3
		answer := c.del("a", clientv3.WithRange(c.key("c")))
		c.eq("deleted", answer.Deleted, int64(2))
		c.eq("revision", answer.Header.Revision, last+1)
		c.eq("keys", c.names(c.all().Kvs), []string{"c", "d"})
	})
	g.check("a prefix is deleted and its neighbours stay", func(c *Case) {
		c.putAll("a", "a/1", "a/2", "a0", "b")
		c.eq("deleted", c.del("a/", clientv3.WithPrefix()).Deleted, int64(2))
		c.eq("keys", c.names(c.all().Kvs), []string{"a", "a0", "b"})
	})
	g.check("prev_kvs are the deleted keys in order", func(c *Case) {
		first := c.putAll("b", "a", "c")
		answer := c.del("", clientv3.WithPrefix(), clientv3.WithPrevKV())
		c.eq("keys", c.names(answer.PrevKvs), []string{"a", "b", "c"})
		c.eq("mod_revision", answer.PrevKvs[1].ModRevision, first)
	})
	g.check("a key deleted twice is deleted once", func(c *Case) {
		c.put("a", "1")
		first := c.del("a")
		again := c.del("a")
		c.eq("deleted again", again.Deleted, int64(0))
		c.eq("revision", again.Header.Revision, first.Header.Revision)
	})
	g.check("a range whose end is before its start deletes nothing", func(c *Case) {
		c.putAll("a", "b")
		c.eq("deleted", c.del("b", clientv3.WithRange(c.key("a"))).Deleted, int64(0))
		c.eq("count", c.all().Count, int64(2))
	})
	g.check("an end of one zero byte deletes from the start on", func(c *Case) {
		// The zero byte reaches past this case, so the keys are the last there can be.
		last := []byte("\xff\xff" + c.prefix)
		_, err := c.kv.Put(c.ctx, &pb.PutRequest{Key: last, Value: []byte("1")})
		c.ok(err)
		answer, err := c.kv.DeleteRange(c.ctx, &pb.DeleteRangeRequest{Key: last, RangeEnd: []byte{0}})
		c.ok(err)
		c.eq("deleted", answer.Deleted, int64(1))
	})
	g.check("a deleted key leaves its lease", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1", clientv3.WithLease(lease))
		c.del("a")
		answer, err := c.cli.TimeToLive(c.ctx, lease, clientv3.WithAttachedKeys())
		c.ok(err)
		c.eq("keys", len(answer.Keys), 0)
	})
	g.check("a thousand keys are deleted at once", func(c *Case) {
		for batch := range 10 {
			request := &pb.TxnRequest{}
			for i := range 100 {
				request.Success = append(request.Success, c.opPut(string(rune('a'+batch))+string(rune('0'+i)), "1"))
			}
			c.txn(request)
		}
		before := c.now()
		answer := c.del("", clientv3.WithPrefix())
		c.eq("deleted", answer.Deleted, int64(1000))
		c.eq("revision", answer.Header.Revision, before+1)
	})
}
