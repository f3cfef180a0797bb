// Compact. The compacted revision is the cluster's: each case makes the
// revisions that it compacts.

package compat

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

const (
	compacted = "etcdserver: mvcc: required revision has been compacted"
	future    = "etcdserver: mvcc: required revision is a future revision"
)

func (c *Case) compact(revision int64) *pb.CompactionResponse {
	c.Helper()
	answer, err := c.kv.Compact(c.ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
	c.ok(err)
	return answer
}

func TestCompact(t *testing.T) {
	g := begin(t)
	g.check("revisions below the compacted one are gone and it stays", func(c *Case) {
		first := c.putAll("a", "a", "a", "a")
		c.compact(first + 2)
		_, err := c.kv.Range(c.ctx, &pb.RangeRequest{Key: []byte(c.key("a")), Revision: first + 1})
		c.refused(err, codes.OutOfRange, compacted)
		c.eq("at it", c.get("a", clientv3.WithRev(first+2)).Count, int64(1))
		c.eq("after it", c.get("a", clientv3.WithRev(first+3)).Kvs[0].Version, int64(4))
	})
	g.check("the newest values survive", func(c *Case) {
		c.put("once", "1")
		c.put("twice", "1")
		last := c.put("twice", "2").Header.Revision
		c.compact(last)
		kvs := c.all().Kvs
		c.eq("values", values(kvs), []string{"1", "2"})
		c.eq("version", kvs[1].Version, int64(2))
	})
	g.check("a key deleted before stays deleted", func(c *Case) {
		c.put("a", "1")
		last := c.del("a").Header.Revision
		c.put("b", "1")
		c.compact(last)
		c.eq("keys", c.names(c.all().Kvs), []string{"b"})
		c.eq("at it", c.all(clientv3.WithRev(last)).Count, int64(0))
	})
	g.check("the current revision can be compacted and writes go on", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		c.compact(revision)
		c.eq("values", values(c.get("a").Kvs), []string{"1"})
		c.eq("next revision", c.put("a", "2").Header.Revision, revision+1)
		c.eq("old value", values(c.get("a", clientv3.WithRev(revision)).Kvs), []string{"1"})
	})
	g.check("a compaction keeps the revision and says it", func(c *Case) {
		first := c.putAll("a", "a")
		c.eq("revision", c.compact(first).Header.Revision, first+1)
		c.eq("now", c.now(), first+1)
	})
	g.check("a compaction that does not wait answers too", func(c *Case) {
		first := c.putAll("a", "a")
		_, err := c.kv.Compact(c.ctx, &pb.CompactionRequest{Revision: first + 1})
		c.ok(err)
		_, err = c.kv.Range(c.ctx, &pb.RangeRequest{Key: []byte(c.key("a")), Revision: first})
		c.refused(err, codes.OutOfRange, compacted)
	})
	g.check("a read at the compacted revision counts what was there", func(c *Case) {
		c.putAll("a", "b", "c")
		revision := c.del("b").Header.Revision
		c.putAll("d")
		c.compact(revision)
		answer := c.all(clientv3.WithRev(revision), clientv3.WithLimit(1))
		c.eq("keys", c.names(answer.Kvs), []string{"a"})
		c.eq("count", answer.Count, int64(2))
		c.eq("more", answer.More, true)
	})
	g.check("a watch from the compacted revision sees its delete", func(c *Case) {
		c.put("a", "1")
		revision := c.del("a").Header.Revision
		c.put("b", "1")
		c.compact(revision)
		s := c.stream()
		request := c.prefixed()
		request.StartRevision = revision
		s.watch(request)
		c.eq("events", c.shown(s.events(2)), []string{"DELETE a", "PUT b=1"})
	})
	g.check("a serializable read of a compacted revision is refused too", func(c *Case) {
		first := c.putAll("a", "a")
		c.compact(first + 1)
		_, err := c.kv.Range(c.ctx, &pb.RangeRequest{Key: []byte(c.key("a")), Revision: first, Serializable: true})
		c.refused(err, codes.OutOfRange, compacted)
	})
}
