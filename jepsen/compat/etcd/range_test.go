// Range with all its options.

package compat

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestRange(t *testing.T) {
	g := begin(t)
	g.check("a missing key gives nothing, count 0 and the current revision", func(c *Case) {
		revision := c.put("other", "1").Header.Revision
		answer := c.get("missing")
		c.eq("kvs", len(answer.Kvs), 0)
		c.eq("count", answer.Count, int64(0))
		c.eq("more", answer.More, false)
		c.eq("revision", answer.Header.Revision, revision)
	})
	g.check("the header names the cluster, the member and the term", func(c *Case) {
		header := c.get("any").Header
		c.that(header.ClusterId != 0, "cluster_id is 0")
		c.that(header.MemberId != 0, "member_id is 0")
		c.that(header.RaftTerm != 0, "raft_term is 0")
	})
	g.check("a single key comes with its revisions, version and lease", func(c *Case) {
		lease := c.grant(60)
		created := c.put("a", "1").Header.Revision
		modified := c.put("a", "2", clientv3.WithLease(lease)).Header.Revision
		answer := c.get("a")
		c.eq("count", answer.Count, int64(1))
		kv := answer.Kvs[0]
		c.eq("key", string(kv.Key), c.key("a"))
		c.eq("value", string(kv.Value), "2")
		c.eq("create_revision", kv.CreateRevision, created)
		c.eq("mod_revision", kv.ModRevision, modified)
		c.eq("version", kv.Version, int64(2))
		c.eq("lease", kv.Lease, int64(lease))
	})
	g.check("a single key is not a prefix", func(c *Case) {
		c.putAll("a", "ab")
		c.eq("keys", c.names(c.get("a").Kvs), []string{"a"})
	})
	g.check("a range has its start and not its end", func(c *Case) {
		c.putAll("a", "b", "c", "d")
		c.eq("keys", c.names(c.get("b", clientv3.WithRange(c.key("d"))).Kvs), []string{"b", "c"})
	})
	g.check("a prefix gives its keys in byte order", func(c *Case) {
		c.putAll("b", "a/2", "a", "a/10", "a/")
		c.eq("keys", c.names(c.get("a", clientv3.WithPrefix()).Kvs), []string{"a", "a/", "a/10", "a/2"})
	})
	g.check("an end of one zero byte means all keys from the start on", func(c *Case) {
		c.putAll("x", "y", "z")
		answer := c.get("y", clientv3.WithFromKey(), clientv3.WithLimit(2))
		c.eq("keys", c.names(answer.Kvs), []string{"y", "z"})
	})
	g.check("zero byte to zero byte means every key", func(c *Case) {
		c.putAll("a", "b")
		answer, err := c.kv.Range(c.ctx, &pb.RangeRequest{
			Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true,
		})
		c.ok(err)
		c.that(answer.Count >= 2, "count is %d", answer.Count)
	})
	g.check("a range whose end is before its start is empty", func(c *Case) {
		c.putAll("a", "b", "c")
		answer := c.get("c", clientv3.WithRange(c.key("a")))
		c.eq("kvs", len(answer.Kvs), 0)
		c.eq("count", answer.Count, int64(0))
	})
	g.check("a range whose end is its start is empty", func(c *Case) {
		c.putAll("a")
		c.eq("count", c.get("a", clientv3.WithRange(c.key("a"))).Count, int64(0))
	})
	g.check("a limit cuts the keys, sets more and leaves count whole", func(c *Case) {
		c.putAll("a", "b", "c", "d")
		answer := c.all(clientv3.WithLimit(2))
		c.eq("keys", c.names(answer.Kvs), []string{"a", "b"})
		c.eq("more", answer.More, true)
		c.eq("count", answer.Count, int64(4))
	})
	g.check("a limit equal to the number of keys leaves more unset", func(c *Case) {
		c.putAll("a", "b")
		answer := c.all(clientv3.WithLimit(2))
		c.eq("keys", c.names(answer.Kvs), []string{"a", "b"})
		c.eq("more", answer.More, false)
	})
	g.check("a negative limit is no limit", func(c *Case) {
		c.putAll("a", "b", "c")
		answer, err := c.kv.Range(c.ctx, &pb.RangeRequest{
			Key: []byte(c.prefix), RangeEnd: []byte(c.end()), Limit: -1,
		})
		c.ok(err)
		c.eq("keys", c.names(answer.Kvs), []string{"a", "b", "c"})
		c.eq("more", answer.More, false)
	})
	g.check("pages by limit and last key give every key once", func(c *Case) {
		var want, got []string
		for i := range 23 {
			want = append(want, fmt.Sprintf("%02d", i))
		}
		revision := c.putAll(want...) + int64(len(want)) - 1
		from, more := "", true
		for more {
			answer := c.get(from, clientv3.WithRange(c.end()), clientv3.WithLimit(5), clientv3.WithRev(revision))
			names := c.names(answer.Kvs)
			c.eq("count", answer.Count, int64(len(want)-len(got)))
			got = append(got, names...)
			from, more = names[len(names)-1]+"\x00", answer.More
		}
		c.eq("keys", got, want)
	})
	g.check("count_only gives the count and no keys", func(c *Case) {
		c.putAll("a", "b", "c")
		answer := c.all(clientv3.WithCountOnly(), clientv3.WithLimit(1))
		c.eq("kvs", len(answer.Kvs), 0)
		c.eq("count", answer.Count, int64(3))
		c.eq("more", answer.More, false)
	})
	g.check("keys_only leaves out the values and keeps the revisions", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer := c.all(clientv3.WithKeysOnly())
		c.eq("keys", c.names(answer.Kvs), []string{"a"})
		c.eq("value", len(answer.Kvs[0].Value), 0)
		c.eq("mod_revision", answer.Kvs[0].ModRevision, revision)
		c.eq("version", answer.Kvs[0].Version, int64(1))
	})
	g.check("a serializable read sees what its member has answered", func(c *Case) {
		c.put("a", "1")
		c.eq("values", values(c.get("a", clientv3.WithSerializable()).Kvs), []string{"1"})
	})
	g.check("keys of any bytes and empty values come back as they were", func(c *Case) {
		key := []byte(c.prefix + "\x00\xff\x00\x01\xfe")
		_, err := c.kv.Put(c.ctx, &pb.PutRequest{Key: key})
		c.ok(err)
		answer, err := c.kv.Range(c.ctx, &pb.RangeRequest{Key: key})
		c.ok(err)
		c.eq("key", answer.Kvs[0].Key, key)
		c.eq("value", len(answer.Kvs[0].Value), 0)
	})
	g.check("keys that are prefixes of one another keep their order", func(c *Case) {
		want := []string{"a", "a\x00", "a\x00\x00", "a\x00\xff", "a\x01", "a\xff", "b"}
		c.putAll("b", "a\xff", "a\x00\xff", "a", "a\x01", "a\x00\x00", "a\x00")
		c.eq("keys", c.names(c.all().Kvs), want)
		c.eq("reversed", c.names(c.all(clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend),
			clientv3.WithLimit(1)).Kvs), []string{"b"})
	})
	g.check("a value of a mebibyte comes back as it was", func(c *Case) {
		value := bytes.Repeat([]byte("kstore  "), 1<<17)
		c.put("large", string(value))
		c.that(bytes.Equal(c.get("large").Kvs[0].Value, value), "the value is another one")
	})
	g.check("a key of eight kilobytes works", func(c *Case) {
		long := strings.Repeat("k", 8<<10)
		c.put(long, "1")
		c.eq("values", values(c.get(long).Kvs), []string{"1"})
		c.eq("count", c.all().Count, int64(1))
	})
}

func TestRangeRevision(t *testing.T) {
	g := begin(t)
	g.check("an old revision shows the old values and the current header", func(c *Case) {
		first := c.put("a", "1").Header.Revision
		last := c.put("a", "2").Header.Revision
		answer := c.get("a", clientv3.WithRev(first))
		c.eq("values", values(answer.Kvs), []string{"1"})
		c.eq("version", answer.Kvs[0].Version, int64(1))
		c.eq("header revision", answer.Header.Revision, last)
	})
	g.check("the current revision can be named", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		c.eq("values", values(c.get("a", clientv3.WithRev(revision)).Kvs), []string{"1"})
	})
	g.check("a deleted key is there before its delete and not at it", func(c *Case) {
		put := c.put("a", "1").Header.Revision
		gone := c.del("a").Header.Revision
		c.eq("before", c.get("a", clientv3.WithRev(put)).Count, int64(1))
		c.eq("at the delete", c.get("a", clientv3.WithRev(gone)).Count, int64(0))
		c.eq("now", c.get("a").Count, int64(0))
	})
	g.check("a key is not there before its first put", func(c *Case) {
		before := c.put("a", "1").Header.Revision
		c.put("b", "1")
		c.eq("keys", c.names(c.all(clientv3.WithRev(before)).Kvs), []string{"a"})
	})
	g.check("count, limit and count_only hold at an old revision", func(c *Case) {
		c.putAll("a", "b")
		old := c.put("c", "1").Header.Revision
		c.put("d", "1")
		c.del("a")
		answer := c.all(clientv3.WithRev(old), clientv3.WithLimit(2))
		c.eq("keys", c.names(answer.Kvs), []string{"a", "b"})
		c.eq("more", answer.More, true)
		c.eq("count", answer.Count, int64(3))
		c.eq("count_only", c.all(clientv3.WithRev(old), clientv3.WithCountOnly()).Count, int64(3))
	})
	g.check("a revision of zero or below means the latest", func(c *Case) {
		c.put("a", "1")
		c.put("a", "2")
		answer, err := c.kv.Range(c.ctx, &pb.RangeRequest{Key: []byte(c.key("a")), Revision: -5})
		c.ok(err)
		c.eq("values", values(answer.Kvs), []string{"2"})
	})
	g.check("a serializable read of an old revision works", func(c *Case) {
		old := c.put("a", "1").Header.Revision
		c.put("a", "2")
		answer := c.get("a", clientv3.WithRev(old), clientv3.WithSerializable())
		c.eq("values", values(answer.Kvs), []string{"1"})
	})
}

func TestRangeOrder(t *testing.T) {
	g := begin(t)
	// Keys, values, versions, creations and modifications all order differently.
	scene := func(c *Case) {
		c.put("b", "3")
		c.put("c", "1")
		c.put("a", "2")
		c.put("c", "1")
		c.put("b", "3")
		c.put("b", "3")
	}
	for _, order := range []struct {
		target     clientv3.SortTarget
		name       string
		ascending  []string
		descending []string
	}{
		{clientv3.SortByKey, "key", []string{"a", "b", "c"}, []string{"c", "b", "a"}},
		{clientv3.SortByVersion, "version", []string{"a", "c", "b"}, []string{"b", "c", "a"}},
		{clientv3.SortByCreateRevision, "create revision", []string{"b", "c", "a"}, []string{"a", "c", "b"}},
		{clientv3.SortByModRevision, "mod revision", []string{"a", "c", "b"}, []string{"b", "c", "a"}},
		{clientv3.SortByValue, "value", []string{"c", "a", "b"}, []string{"b", "a", "c"}},
	} {
		g.check("keys sort by "+order.name+" both ways", func(c *Case) {
			scene(c)
			c.eq("ascending", c.names(c.all(clientv3.WithSort(order.target, clientv3.SortAscend)).Kvs), order.ascending)
			c.eq("descending", c.names(c.all(clientv3.WithSort(order.target, clientv3.SortDescend)).Kvs), order.descending)
		})
	}
	g.check("a target without an order ascends", func(c *Case) {
		scene(c)
		answer, err := c.kv.Range(c.ctx, &pb.RangeRequest{
			Key: []byte(c.prefix), RangeEnd: []byte(c.end()), SortTarget: pb.RangeRequest_VALUE,
		})
		c.ok(err)
		c.eq("keys", c.names(answer.Kvs), []string{"c", "a", "b"})
	})
	g.check("a limit cuts after the sort", func(c *Case) {
		scene(c)
		answer := c.all(clientv3.WithSort(clientv3.SortByValue, clientv3.SortDescend), clientv3.WithLimit(1))
		c.eq("keys", c.names(answer.Kvs), []string{"b"})
		c.eq("more", answer.More, true)
		c.eq("count", answer.Count, int64(3))
	})
	g.check("the first and last key, creation and revision are one call each", func(c *Case) {
		scene(c)
		c.eq("first key", c.names(c.get("", clientv3.WithFirstKey()...).Kvs), []string{"a"})
		c.eq("last key", c.names(c.get("", clientv3.WithLastKey()...).Kvs), []string{"c"})
		c.eq("first created", c.names(c.get("", clientv3.WithFirstCreate()...).Kvs), []string{"b"})
		c.eq("last created", c.names(c.get("", clientv3.WithLastCreate()...).Kvs), []string{"a"})
		c.eq("first modified", c.names(c.get("", clientv3.WithFirstRev()...).Kvs), []string{"a"})
		c.eq("last modified", c.names(c.get("", clientv3.WithLastRev()...).Kvs), []string{"b"})
	})
	g.check("keys that sort equal keep the order of keys", func(c *Case) {
		for _, name := range []string{"d", "b", "a", "c"} {
			c.put(name, "same")
		}
		c.eq("keys", c.names(c.all(clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)).Kvs),
			[]string{"a", "b", "c", "d"})
	})
	g.check("a sort by value with keys_only sorts first and strips after", func(c *Case) {
		scene(c)
		answer := c.all(clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend), clientv3.WithKeysOnly())
		c.eq("keys", c.names(answer.Kvs), []string{"c", "a", "b"})
		c.eq("value", len(answer.Kvs[0].Value), 0)
	})
}

func TestRangeFilters(t *testing.T) {
	g := begin(t)
	g.check("min and max mod revision keep the keys between them", func(c *Case) {
		first := c.putAll("a", "b", "c", "d")
		answer := c.all(clientv3.WithMinModRev(first+1), clientv3.WithMaxModRev(first+2))
		c.eq("keys", c.names(answer.Kvs), []string{"b", "c"})
	})
	g.check("min and max create revision keep the keys between them", func(c *Case) {
		first := c.putAll("a", "b", "c", "d")
		c.putAll("d", "c", "b", "a")
		answer := c.all(clientv3.WithMinCreateRev(first+1), clientv3.WithMaxCreateRev(first+2))
		c.eq("keys", c.names(answer.Kvs), []string{"b", "c"})
	})
	g.check("a filter leaves count whole", func(c *Case) {
		first := c.putAll("a", "b", "c")
		answer := c.all(clientv3.WithMinModRev(first + 2))
		c.eq("keys", c.names(answer.Kvs), []string{"c"})
		c.eq("count", answer.Count, int64(3))
	})
	g.check("a limit counts what the filter left", func(c *Case) {
		first := c.putAll("a", "b", "c", "d")
		answer := c.all(clientv3.WithMinModRev(first+1), clientv3.WithLimit(2))
		c.eq("keys", c.names(answer.Kvs), []string{"b", "c"})
		c.eq("more", answer.More, true)
		answer = c.all(clientv3.WithMinModRev(first+2), clientv3.WithLimit(2))
		c.eq("keys", c.names(answer.Kvs), []string{"c", "d"})
		c.eq("more", answer.More, false)
	})
	g.check("filters work at an old revision", func(c *Case) {
		first := c.putAll("a", "b", "c")
		c.putAll("a", "b", "c")
		answer := c.all(clientv3.WithRev(first+2), clientv3.WithMaxModRev(first+1))
		c.eq("keys", c.names(answer.Kvs), []string{"a", "b"})
	})
	g.check("filters and a descending sort go together", func(c *Case) {
		first := c.putAll("a", "b", "c", "d")
		answer := c.all(clientv3.WithMinModRev(first+1),
			clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(2))
		c.eq("keys", c.names(answer.Kvs), []string{"d", "c"})
		c.eq("more", answer.More, true)
	})
}
