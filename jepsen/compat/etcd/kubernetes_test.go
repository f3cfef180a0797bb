// What Kubernetes' API server sends: the client made for it, and the shapes of
// its watches, its leases and its compactor.

package compat

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.uber.org/zap"
)

// store is Kubernetes' client of the member of this case.
func (c *Case) store() kubernetes.Interface {
	c.Helper()
	cli, err := kubernetes.New(clientv3.Config{Endpoints: []string{c.endpoint}, Logger: zap.NewNop()})
	c.ok(err)
	c.Cleanup(func() { cli.Close() })
	return cli.Kubernetes
}

func TestKubernetesWrites(t *testing.T) {
	g := begin(t)
	create := func(c *Case, k kubernetes.Interface, name, value string) int64 {
		c.Helper()
		answer, err := k.OptimisticPut(c.ctx, c.key(name), []byte(value), 0, kubernetes.PutOptions{})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, true)
		return answer.Revision
	}
	g.check("a create of a new key succeeds and says its revision", func(c *Case) {
		k, before := c.store(), c.now()
		c.eq("revision", create(c, k, "pods/a", "1"), before+1)
		c.eq("mod_revision", c.get("pods/a").Kvs[0].ModRevision, before+1)
	})
	g.check("a create of a key that is there fails and changes nothing", func(c *Case) {
		k := c.store()
		revision := create(c, k, "pods/a", "1")
		answer, err := k.OptimisticPut(c.ctx, c.key("pods/a"), []byte("2"), 0, kubernetes.PutOptions{})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, false)
		c.that(answer.KV == nil, "a key that nobody asked for")
		c.eq("revision", answer.Revision, revision)
		c.eq("values", values(c.get("pods/a").Kvs), []string{"1"})
	})
	g.check("an update at the right revision succeeds", func(c *Case) {
		k := c.store()
		revision := create(c, k, "pods/a", "1")
		answer, err := k.OptimisticPut(c.ctx, c.key("pods/a"), []byte("2"), revision, kubernetes.PutOptions{GetOnFailure: true})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, true)
		c.eq("revision", answer.Revision, revision+1)
		c.that(answer.KV == nil, "a key though it succeeded")
		c.eq("version", c.get("pods/a").Kvs[0].Version, int64(2))
	})
	g.check("an update at an old revision fails and brings the key as it is", func(c *Case) {
		k := c.store()
		first := create(c, k, "pods/a", "1")
		second := c.put("pods/a", "2").Header.Revision
		answer, err := k.OptimisticPut(c.ctx, c.key("pods/a"), []byte("3"), first, kubernetes.PutOptions{GetOnFailure: true})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, false)
		c.eq("value", string(answer.KV.Value), "2")
		c.eq("mod_revision", answer.KV.ModRevision, second)
	})
	g.check("an update of a key that is gone fails and brings none", func(c *Case) {
		k := c.store()
		revision := create(c, k, "pods/a", "1")
		c.del("pods/a")
		answer, err := k.OptimisticPut(c.ctx, c.key("pods/a"), []byte("2"), revision, kubernetes.PutOptions{GetOnFailure: true})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, false)
		c.that(answer.KV == nil, "got %v", answer.KV)
	})
	g.check("a create with a lease attaches it", func(c *Case) {
		lease := c.grant(60)
		answer, err := c.store().OptimisticPut(c.ctx, c.key("events/a"), []byte("1"), 0, kubernetes.PutOptions{LeaseID: lease})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, true)
		c.eq("lease", c.get("events/a").Kvs[0].Lease, int64(lease))
	})
	g.check("a delete at the right revision succeeds", func(c *Case) {
		k := c.store()
		revision := create(c, k, "pods/a", "1")
		answer, err := k.OptimisticDelete(c.ctx, c.key("pods/a"), revision, kubernetes.DeleteOptions{GetOnFailure: true})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, true)
		c.eq("revision", answer.Revision, revision+1)
		c.eq("count", c.get("pods/a").Count, int64(0))
	})
	g.check("a delete at an old revision fails and brings the key as it is", func(c *Case) {
		k := c.store()
		revision := create(c, k, "pods/a", "1")
		c.put("pods/a", "2")
		answer, err := k.OptimisticDelete(c.ctx, c.key("pods/a"), revision, kubernetes.DeleteOptions{GetOnFailure: true})
		c.ok(err)
		c.eq("succeeded", answer.Succeeded, false)
		c.eq("value", string(answer.KV.Value), "2")
		c.eq("count", c.get("pods/a").Count, int64(1))
	})
	g.check("of many updates at one revision exactly one succeeds", func(c *Case) {
		k := c.store()
		revision := create(c, k, "pods/a", "0")
		won := make(chan bool)
		for i := range 20 {
			go func() {
				answer, err := k.OptimisticPut(c.ctx, c.key("pods/a"), []byte(strconv.Itoa(i)), revision, kubernetes.PutOptions{})
				won <- err == nil && answer.Succeeded
			}()
		}
		winners := 0
		for range 20 {
			if <-won {
				winners++
			}
		}
		c.eq("winners", winners, 1)
		c.eq("version", c.get("pods/a").Kvs[0].Version, int64(2))
	})
}

func TestKubernetesReads(t *testing.T) {
	g := begin(t)
	g.check("a get brings the key and the revision of the store", func(c *Case) {
		k := c.store()
		modified := c.put("pods/a", "1").Header.Revision
		current := c.put("pods/b", "1").Header.Revision
		answer, err := k.Get(c.ctx, c.key("pods/a"), kubernetes.GetOptions{})
		c.ok(err)
		c.eq("mod_revision", answer.KV.ModRevision, modified)
		c.eq("revision", answer.Revision, current)
	})
	g.check("a get of a missing key brings none and a revision", func(c *Case) {
		answer, err := c.store().Get(c.ctx, c.key("pods/a"), kubernetes.GetOptions{})
		c.ok(err)
		c.that(answer.KV == nil && answer.Revision > 0, "got %v", answer)
	})
	g.check("a get at a revision brings the key as it was", func(c *Case) {
		old := c.put("pods/a", "1").Header.Revision
		c.put("pods/a", "2")
		answer, err := c.store().Get(c.ctx, c.key("pods/a"), kubernetes.GetOptions{Revision: old})
		c.ok(err)
		c.eq("value", string(answer.KV.Value), "1")
	})
	g.check("a list in pages is pinned to the revision of its first page", func(c *Case) {
		k := c.store()
		for i := range 10 {
			c.put(fmt.Sprintf("pods/%d", i), "1")
		}
		first, err := k.List(c.ctx, c.key("pods/"), kubernetes.ListOptions{Limit: 4})
		c.ok(err)
		c.eq("count", first.Count, int64(10))
		c.put("pods/55", "1")
		c.del("pods/9")
		seen := c.names(first.Kvs)
		for len(seen) < 10 {
			last := c.key(seen[len(seen)-1])
			page, err := k.List(c.ctx, c.key("pods/"), kubernetes.ListOptions{
				Limit: 4, Revision: first.Revision, Continue: last + "\x00",
			})
			c.ok(err)
			c.eq("count", page.Count, int64(10-len(seen)))
			seen = append(seen, c.names(page.Kvs)...)
		}
		c.eq("last", seen[9], "pods/9")
		c.eq("keys", len(seen), 10)
	})
	g.check("a list of an empty prefix has count 0 and a revision", func(c *Case) {
		answer, err := c.store().List(c.ctx, c.key("pods/"), kubernetes.ListOptions{Limit: 500})
		c.ok(err)
		c.eq("count", answer.Count, int64(0))
		c.that(answer.Revision > 0, "revision %d", answer.Revision)
	})
	g.check("a list keeps to its prefix", func(c *Case) {
		c.putAll("pods/a", "pods", "pods0", "podsx/a")
		answer, err := c.store().List(c.ctx, c.key("pods/"), kubernetes.ListOptions{})
		c.ok(err)
		c.eq("keys", c.names(answer.Kvs), []string{"pods/a"})
	})
	g.check("a count is that of the prefix", func(c *Case) {
		c.putAll("pods/a", "pods/b", "nodes/a")
		count, err := c.store().Count(c.ctx, c.key("pods/"), kubernetes.CountOptions{})
		c.ok(err)
		c.eq("count", count, int64(2))
	})
	g.check("a list at a compacted revision is refused", func(c *Case) {
		first := c.putAll("pods/a", "pods/a")
		c.compact(first + 1)
		_, err := c.store().List(c.ctx, c.key("pods/"), kubernetes.ListOptions{Revision: first})
		c.that(err != nil && err.Error() == compacted, "got %v", err)
	})
	g.check("a get at a future revision is refused", func(c *Case) {
		_, err := c.store().Get(c.ctx, c.key("pods/a"), kubernetes.GetOptions{Revision: c.now() + 50})
		c.that(err != nil && err.Error() == future, "got %v", err)
	})
	g.check("the size estimate lists keys without values", func(c *Case) {
		c.put("pods/a", "some value")
		answer := c.get("pods/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(10000))
		c.eq("keys", c.names(answer.Kvs), []string{"pods/a"})
		c.eq("value", len(answer.Kvs[0].Value), 0)
	})
}

func TestKubernetesWatch(t *testing.T) {
	g := begin(t)
	// open is the watch of the watch cache, from the revision after a list.
	open := func(c *Case, revision int64) (context.Context, clientv3.WatchChan) {
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(c.ctx))
		c.Cleanup(cancel)
		return ctx, c.cli.Watch(ctx, c.key("pods/"), clientv3.WithRev(revision+1), clientv3.WithPrevKV(),
			clientv3.WithPrefix(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	}
	// next passes over created and progress responses.
	next := func(c *Case, watch clientv3.WatchChan) []*clientv3.Event {
		c.Helper()
		for {
			response := c.receive(watch)
			c.ok(response.Err())
			if len(response.Events) > 0 {
				return response.Events
			}
		}
	}
	g.check("a watch from after a list brings each change with what was before", func(c *Case) {
		c.put("pods/a", "1")
		list, err := c.store().List(c.ctx, c.key("pods/"), kubernetes.ListOptions{})
		c.ok(err)
		_, watch := open(c, list.Revision)
		c.put("pods/a", "2")
		c.put("pods/b", "1")
		c.del("pods/a")
		var events []*clientv3.Event
		for len(events) < 3 {
			events = append(events, next(c, watch)...)
		}
		c.eq("modified", string(events[0].PrevKv.Value), "1")
		c.eq("created", events[1].IsCreate(), true)
		c.eq("deleted", string(events[2].PrevKv.Value), "2")
		c.eq("delete revision", events[2].Kv.ModRevision, list.Revision+3)
	})
	g.check("a progress request on the same stream brings the current revision", func(c *Case) {
		ctx, watch := open(c, c.now())
		c.eq("created", c.receive(watch).Created, true)
		revision := c.put("nodes/a", "1").Header.Revision
		c.ok(c.cli.RequestProgress(ctx))
		for {
			response := c.receive(watch)
			c.that(response.IsProgressNotify(), "got %v", response)
			if response.Header.Revision >= revision {
				c.eq("revision", response.Header.Revision, revision)
				return
			}
		}
	})
	g.check("progress does not say a revision before its event is there", func(c *Case) {
		ctx, watch := open(c, c.now())
		c.eq("created", c.receive(watch).Created, true)
		seen := int64(0)
		for i := range 50 {
			revision := c.put("pods/a", strconv.Itoa(i)).Header.Revision
			c.ok(c.cli.RequestProgress(ctx))
			for seen < revision {
				response := c.receive(watch)
				c.ok(response.Err())
				if response.IsProgressNotify() {
					c.that(response.Header.Revision < revision, "progress %d before the event", response.Header.Revision)
					continue
				}
				seen = response.Events[len(response.Events)-1].Kv.ModRevision
			}
		}
	})
	g.check("two resources are watched on one stream and kept apart", func(c *Case) {
		_, pods := open(c, c.now())
		nodes := c.cli.Watch(clientv3.WithRequireLeader(c.ctx), c.key("nodes/"), clientv3.WithPrefix(),
			clientv3.WithCreatedNotify())
		c.eq("created", c.receive(nodes).Created, true)
		c.put("nodes/a", "n")
		c.put("pods/a", "p")
		c.eq("pod", string(next(c, pods)[0].Kv.Value), "p")
		c.eq("node", string(next(c, nodes)[0].Kv.Value), "n")
	})
	g.check("a watch from a compacted revision is told so", func(c *Case) {
		first := c.putAll("pods/a", "pods/a", "pods/a")
		c.compact(first + 2)
		_, watch := open(c, first-1)
		response := c.receive(watch)
		if response.Created && response.Err() == nil {
			response = c.receive(watch)
		}
		c.that(response.Err() != nil && response.Err().Error() == compacted, "got %v", response.Err())
		c.eq("compact_revision", response.CompactRevision, first+2)
	})
}

func TestKubernetesUpkeep(t *testing.T) {
	g := begin(t)
	// round is one turn of the compactor: whoever moves the key from the
	// version it knows compacts at the revision of the round before.
	round := func(c *Case, version, revision int64) *pb.TxnResponse {
		c.Helper()
		return c.txn(&pb.TxnRequest{
			Compare: []*pb.Compare{c.cmp(clientv3.Version, "compact_rev_key", "=", version)},
			Success: []*pb.RequestOp{c.opPut("compact_rev_key", strconv.FormatInt(revision, 10))},
			Failure: []*pb.RequestOp{c.opGet("compact_rev_key")},
		})
	}
	g.check("one of two compactors wins a round and the other learns its time", func(c *Case) {
		c.eq("first round", round(c, 0, c.now()).Succeeded, true)
		old := c.putAll("pods/a", "pods/a")
		c.eq("winner", round(c, 1, old+1).Succeeded, true)
		loser := round(c, 1, old+1)
		c.eq("loser", loser.Succeeded, false)
		kv := loser.Responses[0].GetResponseRange().Kvs[0]
		c.eq("version", kv.Version, int64(2))
		c.eq("value", string(kv.Value), strconv.FormatInt(old+1, 10))
		_, err := c.cli.Compact(c.ctx, old+1)
		c.ok(err)
		_, err = c.cli.Get(c.ctx, c.key("pods/a"), clientv3.WithRev(old))
		c.that(err != nil && err.Error() == compacted, "got %v", err)
	})
	g.check("the compactor's key can be watched", func(c *Case) {
		s := c.stream()
		s.watch(c.one("compact_rev_key"))
		round(c, 0, 42)
		c.eq("events", c.shown(s.events(1)), []string{"PUT compact_rev_key=42"})
	})
	g.check("a thousand objects on one lease go with it", func(c *Case) {
		lease := c.grant(60)
		for batch := range 10 {
			request := &pb.TxnRequest{}
			for i := range 100 {
				request.Success = append(request.Success, putOp(&pb.PutRequest{
					Key: []byte(c.key(fmt.Sprintf("events/%d-%d", batch, i))), Lease: int64(lease),
				}))
			}
			c.txn(request)
		}
		_, err := c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		c.eq("count", c.all().Count, int64(0))
	})
	g.check("the health key is missing and that is healthy", func(c *Case) {
		answer, err := c.cli.Get(c.ctx, "/registry/health")
		c.ok(err)
		c.that(answer.Header.Revision > 0, "revision %d", answer.Header.Revision)
	})
	g.check("status answers through the client with a size", func(c *Case) {
		answer, err := c.cli.Status(c.ctx, c.endpoint)
		c.ok(err)
		c.that(answer.DbSize > 0, "dbSize %d", answer.DbSize)
	})
}
