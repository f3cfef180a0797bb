// Watch, as it is on the wire and through clientv3. No case waits to see that
// nothing comes: it makes something come later and wants that first.

package compat

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestWatch(t *testing.T) {
	g := begin(t)
	g.check("a watch is first answered with created and the current revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		created := c.stream().watch(c.one("a"))
		c.eq("watch_id", created.WatchId, int64(0))
		c.eq("revision", created.Header.Revision, revision)
		c.that(created.Header.ClusterId != 0 && created.Header.MemberId != 0, "header without ids: %v", created.Header)
		c.eq("compact_revision", created.CompactRevision, int64(0))
	})
	g.check("a put comes as the whole key", func(c *Case) {
		s := c.stream()
		s.watch(c.one("a"))
		lease := c.grant(60)
		revision := c.put("a", "1", clientv3.WithLease(lease)).Header.Revision
		response := s.next()
		c.eq("header revision", response.Header.Revision, revision)
		c.eq("events", c.shown(response.Events), []string{"PUT a=1"})
		kv := response.Events[0].Kv
		c.eq("create_revision", kv.CreateRevision, revision)
		c.eq("mod_revision", kv.ModRevision, revision)
		c.eq("version", kv.Version, int64(1))
		c.eq("lease", kv.Lease, int64(lease))
	})
	g.check("a delete comes with its key and its revision only", func(c *Case) {
		c.put("a", "1")
		s := c.stream()
		s.watch(c.one("a"))
		revision := c.del("a").Header.Revision
		event := s.events(1)[0]
		c.eq("type", event.Type, mvccpb.DELETE)
		c.eq("kv", *event.Kv, mvccpb.KeyValue{Key: []byte(c.key("a")), ModRevision: revision})
	})
	g.check("a watch on one key does not see its neighbours", func(c *Case) {
		s := c.stream()
		s.watch(c.one("b"))
		c.putAll("a", "ba", "b", "c")
		c.eq("events", c.shown(s.events(1)), []string{"PUT b=b"})
	})
	g.check("a watch on a range sees its start and not its end", func(c *Case) {
		s := c.stream()
		s.watch(&pb.WatchCreateRequest{Key: []byte(c.key("b")), RangeEnd: []byte(c.key("d"))})
		c.putAll("a", "d", "b", "c")
		c.eq("events", c.shown(s.events(2)), []string{"PUT b=b", "PUT c=c"})
	})
	g.check("a watch with an end of one zero byte sees all keys from its start on", func(c *Case) {
		s := c.stream()
		s.watch(&pb.WatchCreateRequest{Key: []byte(c.key("b")), RangeEnd: []byte{0}})
		c.putAll("a", "b", "z")
		c.eq("events", c.shown(s.events(2)), []string{"PUT b=b", "PUT z=z"})
	})
	g.check("a watch on an empty key with an open end sees every key", func(c *Case) {
		s := c.stream()
		s.watch(&pb.WatchCreateRequest{RangeEnd: []byte{0}})
		c.putAll("a")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=a"})
	})
	g.check("events come in the order of revisions", func(c *Case) {
		s := c.stream()
		s.watch(c.prefixed())
		var want []string
		for i := range 50 {
			name := strconv.Itoa(i % 7)
			c.put(name, strconv.Itoa(i))
			want = append(want, fmt.Sprintf("PUT %s=%d", name, i))
		}
		c.eq("events", c.shown(s.events(50)), want)
	})
	g.check("a transaction comes in one response in the order of its operations", func(c *Case) {
		c.put("b", "0")
		s := c.stream()
		s.watch(c.prefixed())
		revision := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			c.opPut("z", "1"), c.opDelete("b"), c.opPut("a", "2"),
		}}).Header.Revision
		response := s.next()
		c.eq("events", c.shown(response.Events), []string{"PUT z=1", "DELETE b", "PUT a=2"})
		for _, event := range response.Events {
			c.eq("mod_revision", event.Kv.ModRevision, revision)
		}
	})
	g.check("a deleted range comes in one response in the order of keys", func(c *Case) {
		c.putAll("b", "a", "c")
		s := c.stream()
		s.watch(c.prefixed())
		revision := c.del("", clientv3.WithPrefix()).Header.Revision
		response := s.next()
		c.eq("events", c.shown(response.Events), []string{"DELETE a", "DELETE b", "DELETE c"})
		c.eq("header revision", response.Header.Revision, revision)
	})
	g.check("a delete of nothing makes no event", func(c *Case) {
		s := c.stream()
		s.watch(c.prefixed())
		c.del("missing")
		c.put("a", "1")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=1"})
	})
	g.check("the keys of a revoked lease come as deletes of one revision", func(c *Case) {
		lease := c.grant(60)
		c.put("b", "1", clientv3.WithLease(lease))
		c.put("a", "1", clientv3.WithLease(lease))
		s := c.stream()
		s.watch(c.prefixed())
		_, err := c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		response := s.next()
		c.eq("events", c.shown(response.Events), []string{"DELETE a", "DELETE b"})
		c.eq("revisions", response.Events[0].Kv.ModRevision, response.Events[1].Kv.ModRevision)
	})
	g.check("a stream goes on after the client has closed its side", func(c *Case) {
		s := c.stream()
		s.watch(c.one("a"))
		c.ok(s.CloseSend())
		c.put("a", "1")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=1"})
	})
	g.check("a watch with a required leader works where there is one", func(c *Case) {
		s := c.streamIn(clientv3.WithRequireLeader(c.ctx))
		s.watch(c.one("a"))
		c.put("a", "1")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=1"})
	})
}

func TestWatchHistory(t *testing.T) {
	g := begin(t)
	from := func(c *Case, revision int64) *pb.WatchCreateRequest {
		request := c.prefixed()
		request.StartRevision = revision
		return request
	}
	g.check("an old start revision brings everything since", func(c *Case) {
		c.put("a", "0")
		first := c.put("a", "1").Header.Revision
		c.put("b", "1")
		c.del("a")
		s := c.stream()
		created := s.watch(from(c, first))
		c.eq("created at", created.Header.Revision, first+2)
		c.eq("events", c.shown(s.events(3)), []string{"PUT a=1", "PUT b=1", "DELETE a"})
	})
	g.check("history goes over into what is new without a gap or a repeat", func(c *Case) {
		first := c.put("0", "0").Header.Revision
		for i := 1; i < 200; i++ {
			c.put(strconv.Itoa(i), "0")
		}
		s := c.stream()
		s.watch(from(c, first))
		for i := 200; i < 300; i++ {
			c.put(strconv.Itoa(i), "0")
		}
		for i, event := range s.events(300) {
			c.eq("mod_revision", event.Kv.ModRevision, first+int64(i))
		}
	})
	g.check("the current revision as a start brings its event", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		s := c.stream()
		s.watch(from(c, revision))
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=1"})
	})
	g.check("the next revision as a start brings what comes", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		s := c.stream()
		s.watch(from(c, revision+1))
		c.put("a", "2")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=2"})
	})
	g.check("a future start revision brings nothing before it", func(c *Case) {
		revision := c.put("a", "0").Header.Revision
		s := c.stream()
		s.watch(from(c, revision+3))
		c.putAll("1", "2", "3", "4")
		c.eq("events", c.shown(s.events(2)), []string{"PUT 3=3", "PUT 4=4"})
	})
	g.check("history over a range leaves out other keys", func(c *Case) {
		first := c.putAll("a", "b", "c", "b", "a")
		request := c.one("b")
		request.StartRevision = first
		s := c.stream()
		s.watch(request)
		events := s.events(2)
		c.eq("revisions", []int64{events[0].Kv.ModRevision, events[1].Kv.ModRevision}, []int64{first + 1, first + 3})
	})
	g.check("history keeps the events of a transaction together and in order", func(c *Case) {
		revision := c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("z", "1"), c.opPut("a", "2")}}).Header.Revision
		c.put("b", "3")
		s := c.stream()
		s.watch(from(c, revision))
		response := s.next()
		c.that(len(response.Events) >= 2, "a transaction was split: %v", response)
		events := response.Events
		if len(events) == 2 {
			events = append(events, s.events(1)...)
		}
		c.eq("events", c.shown(events), []string{"PUT z=1", "PUT a=2", "PUT b=3"})
	})
	g.check("a compacted start revision cancels with the compacted revision", func(c *Case) {
		first := c.putAll("a", "a", "a")
		c.compact(first + 2)
		s := c.stream()
		s.watch(from(c, first))
		response := s.next()
		c.eq("canceled", response.Canceled, true)
		c.eq("created", response.Created, false)
		c.eq("watch_id", response.WatchId, int64(0))
		c.eq("compact_revision", response.CompactRevision, first+2)
		c.eq("cancel_reason", response.CancelReason, "")
		c.eq("events", len(response.Events), 0)
		c.eq("header revision", response.Header.Revision, int64(0))
	})
	g.check("the compacted revision itself is a start that works", func(c *Case) {
		first := c.putAll("a", "b", "c")
		c.compact(first + 1)
		s := c.stream()
		s.watch(from(c, first+1))
		c.eq("events", c.shown(s.events(2)), []string{"PUT b=b", "PUT c=c"})
	})
	g.check("a compaction leaves a watch that is up to date alone", func(c *Case) {
		s := c.stream()
		s.watch(c.prefixed())
		first := c.putAll("a", "a")
		s.events(2)
		c.compact(first + 1)
		c.put("a", "3")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=3"})
	})
}

func TestWatchPrevKV(t *testing.T) {
	g := begin(t)
	watching := func(c *Case) *stream {
		request := c.prefixed()
		request.PrevKv = true
		s := c.stream()
		s.watch(request)
		return s
	}
	g.check("a put brings the key as it was", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		s := watching(c)
		c.put("a", "2")
		previous := s.events(1)[0].PrevKv
		c.that(previous != nil, "no prev_kv")
		c.eq("value", string(previous.Value), "1")
		c.eq("mod_revision", previous.ModRevision, revision)
		c.eq("version", previous.Version, int64(1))
	})
	g.check("a delete brings the key as it was", func(c *Case) {
		c.put("a", "1")
		c.put("a", "2")
		s := watching(c)
		c.del("a")
		previous := s.events(1)[0].PrevKv
		c.eq("value", string(previous.Value), "2")
		c.eq("version", previous.Version, int64(2))
	})
	g.check("a create brings none", func(c *Case) {
		s := watching(c)
		c.put("a", "1")
		c.that(s.events(1)[0].PrevKv == nil, "a prev_kv for a new key")
		c.del("a")
		s.events(1)
		c.put("a", "2")
		c.that(s.events(1)[0].PrevKv == nil, "a prev_kv for a key that was deleted")
	})
	g.check("none comes unless it is asked for", func(c *Case) {
		c.put("a", "1")
		s := c.stream()
		s.watch(c.prefixed())
		c.put("a", "2")
		c.that(s.events(1)[0].PrevKv == nil, "a prev_kv that nobody asked for")
	})
	g.check("history brings the value at each revision", func(c *Case) {
		first := c.put("a", "1").Header.Revision
		c.put("a", "2")
		c.put("a", "3")
		c.del("a")
		request := c.prefixed()
		request.PrevKv, request.StartRevision = true, first+1
		s := c.stream()
		s.watch(request)
		var previous []*mvccpb.KeyValue
		for _, event := range s.events(3) {
			previous = append(previous, event.PrevKv)
		}
		c.eq("values", values(previous), []string{"1", "2", "3"})
	})
	g.check("none comes for what was compacted", func(c *Case) {
		first := c.put("a", "1").Header.Revision
		c.put("a", "2")
		c.put("a", "3")
		c.compact(first + 1)
		request := c.prefixed()
		request.PrevKv, request.StartRevision = true, first+1
		s := c.stream()
		s.watch(request)
		events := s.events(2)
		c.that(events[0].PrevKv == nil, "a prev_kv from before the compaction")
		c.eq("value", string(events[1].PrevKv.Value), "2")
	})
}

func TestWatchFilters(t *testing.T) {
	g := begin(t)
	watching := func(c *Case, filters ...pb.WatchCreateRequest_FilterType) *stream {
		request := c.prefixed()
		request.Filters = filters
		s := c.stream()
		s.watch(request)
		return s
	}
	g.check("NOPUT leaves the deletes", func(c *Case) {
		s := watching(c, pb.WatchCreateRequest_NOPUT)
		c.putAll("a", "b")
		c.del("a")
		c.eq("events", c.shown(s.events(1)), []string{"DELETE a"})
	})
	g.check("NODELETE leaves the puts", func(c *Case) {
		s := watching(c, pb.WatchCreateRequest_NODELETE)
		c.put("a", "1")
		c.del("a")
		c.put("a", "2")
		c.eq("events", c.shown(s.events(2)), []string{"PUT a=1", "PUT a=2"})
	})
	g.check("a filter takes its part of a transaction only", func(c *Case) {
		c.put("a", "1")
		s := watching(c, pb.WatchCreateRequest_NODELETE)
		c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{c.opDelete("a"), c.opPut("b", "1")}})
		c.eq("events", c.shown(s.next().Events), []string{"PUT b=1"})
	})
	g.check("both filters leave nothing, and another watch of the stream sees all", func(c *Case) {
		s := watching(c, pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE)
		second := s.watch(c.prefixed()).WatchId
		c.put("a", "1")
		c.del("a")
		for range 2 {
			c.eq("watch_id", s.next().WatchId, second)
		}
	})
	g.check("a filter holds for history", func(c *Case) {
		first := c.put("a", "1").Header.Revision
		c.put("b", "1")
		c.del("a")
		request := c.prefixed()
		request.StartRevision = first
		request.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}
		s := c.stream()
		s.watch(request)
		c.eq("events", c.shown(s.events(1)), []string{"DELETE a"})
	})
}

func TestWatchFragment(t *testing.T) {
	g := begin(t)
	large := strings.Repeat("x", 700<<10)
	// Deleting three large keys with prev_kv is one revision of more than two
	// mebibytes, which is more than one response may have when fragments are allowed.
	scene := func(c *Case, fragment bool) (*stream, int64) {
		for _, name := range []string{"a", "b", "c"} {
			c.put(name, large)
		}
		request := c.prefixed()
		request.PrevKv, request.Fragment = true, fragment
		s := c.stream()
		s.watch(request)
		return s, c.del("", clientv3.WithPrefix()).Header.Revision
	}
	g.check("a large revision is split and all parts but the last say so", func(c *Case) {
		s, revision := scene(c, true)
		var events []*mvccpb.Event
		for responses := 1; ; responses++ {
			response := s.next()
			events = append(events, response.Events...)
			c.eq("header revision", response.Header.Revision, revision)
			c.eq("fragment", response.Fragment, len(events) < 3)
			if !response.Fragment {
				c.that(responses > 1, "it was not split")
				break
			}
		}
		c.eq("events", c.shown(events), []string{"DELETE a", "DELETE b", "DELETE c"})
	})
	g.check("without fragments a large revision comes whole", func(c *Case) {
		s, _ := scene(c, false)
		response := s.next()
		c.eq("events", c.shown(response.Events), []string{"DELETE a", "DELETE b", "DELETE c"})
		c.eq("fragment", response.Fragment, false)
		c.eq("prev_kv", len(response.Events[2].PrevKv.Value), len(large))
	})
	g.check("a small response is not split", func(c *Case) {
		request := c.prefixed()
		request.Fragment = true
		s := c.stream()
		s.watch(request)
		c.txn(&pb.TxnRequest{Success: []*pb.RequestOp{c.opPut("a", "1"), c.opPut("b", "2")}})
		response := s.next()
		c.eq("events", len(response.Events), 2)
		c.eq("fragment", response.Fragment, false)
	})
	g.check("a large history comes whole and in order, the last part unmarked", func(c *Case) {
		first := c.put("a", large).Header.Revision
		for range 5 {
			c.put("a", large)
		}
		request := c.prefixed()
		request.StartRevision, request.Fragment = first, true
		s := c.stream()
		s.watch(request)
		var last *pb.WatchResponse
		for seen := int64(0); seen < 6; {
			last = s.next()
			for _, event := range last.Events {
				c.eq("mod_revision", event.Kv.ModRevision, first+seen)
				seen++
			}
		}
		c.eq("fragment", last.Fragment, false)
	})
	g.check("clientv3 puts the fragments together", func(c *Case) {
		for _, name := range []string{"a", "b", "c"} {
			c.put(name, large)
		}
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		watch := c.cli.Watch(ctx, c.prefix, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithFragment(),
			clientv3.WithCreatedNotify())
		c.eq("created", c.receive(watch).Created, true)
		c.del("", clientv3.WithPrefix())
		c.eq("events", len(c.receive(watch).Events), 3)
	})
}
