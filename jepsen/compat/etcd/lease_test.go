// Leases. The cases that wait for a lease to end use the shortest there is.

package compat

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// freeID is a lease id that nobody has.
func freeID() int64 { return time.Now().UnixNano() }

func TestLeaseGrant(t *testing.T) {
	g := begin(t)
	g.check("id 0 lets the server choose a positive one", func(c *Case) {
		answer, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 60})
		c.ok(err)
		c.forget(answer.ID)
		c.that(answer.ID > 0, "id %d", answer.ID)
		c.eq("TTL", answer.TTL, int64(60))
		c.eq("error", answer.Error, "")
	})
	g.check("a chosen id is taken", func(c *Case) {
		id := freeID()
		answer, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 60, ID: id})
		c.ok(err)
		c.forget(id)
		c.eq("id", answer.ID, id)
	})
	g.check("two leases have two ids", func(c *Case) {
		c.that(c.grant(60) != c.grant(60), "one id for two leases")
	})
	g.check("a short TTL is raised to the least", func(c *Case) {
		for _, ttl := range []int64{1, 0, -3} {
			answer, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: ttl})
			c.ok(err)
			c.forget(answer.ID)
			c.eq("TTL", answer.TTL, int64(minTTL))
		}
	})
	g.check("the longest TTL is granted", func(c *Case) {
		answer, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 9_000_000_000})
		c.ok(err)
		c.forget(answer.ID)
		c.eq("TTL", answer.TTL, int64(9_000_000_000))
	})
	g.check("a grant keeps the revision and says it", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 60})
		c.ok(err)
		c.forget(answer.ID)
		c.eq("revision", answer.Header.Revision, revision)
		c.eq("next revision", c.put("a", "2").Header.Revision, revision+1)
	})
}

func TestLeaseRevoke(t *testing.T) {
	g := begin(t)
	revoke := func(c *Case, lease clientv3.LeaseID) *pb.LeaseRevokeResponse {
		c.Helper()
		answer, err := c.leases.LeaseRevoke(c.ctx, &pb.LeaseRevokeRequest{ID: int64(lease)})
		c.ok(err)
		return answer
	}
	g.check("its keys go in one revision and others stay", func(c *Case) {
		lease := c.grant(60)
		c.put("b", "1", clientv3.WithLease(lease))
		c.put("a", "1", clientv3.WithLease(lease))
		last := c.put("c", "1").Header.Revision
		revoke(c, lease)
		c.eq("keys", c.names(c.all().Kvs), []string{"c"})
		c.eq("revision", c.now(), last+1)
	})
	g.check("a lease without keys leaves the revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		c.eq("revision", revoke(c, c.grant(60)).Header.Revision, revision)
		c.eq("next revision", c.put("a", "2").Header.Revision, revision+1)
	})
	g.check("the header says the revision of the deletes", func(c *Case) {
		lease := c.grant(60)
		put := c.put("a", "1", clientv3.WithLease(lease)).Header.Revision
		c.eq("revision", revoke(c, lease).Header.Revision, put+1)
	})
	g.check("the id can be granted again and has no keys then", func(c *Case) {
		id := freeID()
		for range 2 {
			_, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 60, ID: id})
			c.ok(err)
			answer, err := c.leases.LeaseTimeToLive(c.ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
			c.ok(err)
			c.eq("keys", len(answer.Keys), 0)
			c.put("a", "1", clientv3.WithLease(clientv3.LeaseID(id)))
			revoke(c, clientv3.LeaseID(id))
		}
		c.eq("count", c.all().Count, int64(0))
	})
	g.check("deleted keys can still be read at the revision before", func(c *Case) {
		lease := c.grant(60)
		put := c.put("a", "1", clientv3.WithLease(lease)).Header.Revision
		revoke(c, lease)
		c.eq("values", values(c.get("a", clientv3.WithRev(put)).Kvs), []string{"1"})
	})
	g.check("a hundred keys of a lease go with it", func(c *Case) {
		lease := c.grant(60)
		for i := range 100 {
			c.put(fmt.Sprint(i), "1", clientv3.WithLease(lease))
		}
		revoke(c, lease)
		c.eq("count", c.all().Count, int64(0))
	})
}

func TestLeaseKeepAlive(t *testing.T) {
	g := begin(t)
	open := func(c *Case) pb.Lease_LeaseKeepAliveClient {
		c.Helper()
		s, err := c.leases.LeaseKeepAlive(c.ctx)
		c.ok(err)
		return s
	}
	beat := func(c *Case, s pb.Lease_LeaseKeepAliveClient, id int64) *pb.LeaseKeepAliveResponse {
		c.Helper()
		c.ok(s.Send(&pb.LeaseKeepAliveRequest{ID: id}))
		answer, err := s.Recv()
		c.ok(err)
		c.eq("id", answer.ID, id)
		return answer
	}
	g.check("it is answered with the granted TTL", func(c *Case) {
		answer := beat(c, open(c), int64(c.grant(60)))
		c.eq("TTL", answer.TTL, int64(60))
		c.that(answer.Header.Revision > 0, "no revision in %v", answer.Header)
	})
	g.check("an unknown lease is answered with TTL 0", func(c *Case) {
		c.eq("TTL", beat(c, open(c), freeID()).TTL, int64(0))
	})
	g.check("a stream serves many leases in the order of the requests", func(c *Case) {
		s := open(c)
		for _, ttl := range []int64{60, 70, 80} {
			c.eq("TTL", beat(c, s, int64(c.grant(ttl))).TTL, ttl)
		}
	})
	g.check("a revoked lease is answered with TTL 0 on the same stream", func(c *Case) {
		s, lease := open(c), c.grant(60)
		c.eq("TTL", beat(c, s, int64(lease)).TTL, int64(60))
		_, err := c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		c.eq("TTL", beat(c, s, int64(lease)).TTL, int64(0))
	})
	g.check("it outlives its TTL while it is kept alive", func(c *Case) {
		lease := c.grant(minTTL)
		c.put("a", "1", clientv3.WithLease(lease))
		s := open(c)
		for begun := time.Now(); time.Since(begun) < 2*minTTL*time.Second; {
			c.eq("TTL", beat(c, s, int64(lease)).TTL, int64(minTTL))
			time.Sleep(400 * time.Millisecond)
		}
		c.eq("values", values(c.get("a").Kvs), []string{"1"})
	})
	g.check("closing the client's side ends the stream well", func(c *Case) {
		s := open(c)
		beat(c, s, int64(c.grant(60)))
		c.ok(s.CloseSend())
		_, err := s.Recv()
		c.that(err != nil && err.Error() == "EOF", "got %v", err)
	})
	g.check("clientv3 keeps a lease alive and sees its end", func(c *Case) {
		lease := c.grant(60)
		beats, err := c.cli.KeepAlive(c.ctx, lease)
		c.ok(err)
		c.eq("TTL", (<-beats).TTL, int64(60))
		once, err := c.cli.KeepAliveOnce(c.ctx, lease)
		c.ok(err)
		c.eq("TTL", once.TTL, int64(60))
	})
}

func TestLeaseTimeToLive(t *testing.T) {
	g := begin(t)
	ask := func(c *Case, lease clientv3.LeaseID, keys bool) *pb.LeaseTimeToLiveResponse {
		c.Helper()
		answer, err := c.leases.LeaseTimeToLive(c.ctx, &pb.LeaseTimeToLiveRequest{ID: int64(lease), Keys: keys})
		c.ok(err)
		c.eq("id", answer.ID, int64(lease))
		return answer
	}
	g.check("it says what was granted and what is left", func(c *Case) {
		answer := ask(c, c.grant(60), false)
		c.eq("grantedTTL", answer.GrantedTTL, int64(60))
		c.that(answer.TTL > 55 && answer.TTL <= 60, "TTL %d", answer.TTL)
	})
	g.check("it lists the keys when asked", func(c *Case) {
		lease := c.grant(60)
		for _, name := range []string{"c", "a", "b"} {
			c.put(name, "1", clientv3.WithLease(lease))
		}
		var keys []string
		for _, key := range ask(c, lease, true).Keys {
			keys = append(keys, string(key))
		}
		slices.Sort(keys)
		c.eq("keys", keys, []string{c.key("a"), c.key("b"), c.key("c")})
	})
	g.check("it lists no keys unless asked", func(c *Case) {
		lease := c.grant(60)
		c.put("a", "1", clientv3.WithLease(lease))
		c.eq("keys", len(ask(c, lease, false).Keys), 0)
	})
	g.check("an unknown lease has -1 left and nothing granted", func(c *Case) {
		answer := ask(c, clientv3.LeaseID(freeID()), true)
		c.eq("TTL", answer.TTL, int64(-1))
		c.eq("grantedTTL", answer.GrantedTTL, int64(0))
		c.eq("keys", len(answer.Keys), 0)
	})
	g.check("a revoked lease has -1 left", func(c *Case) {
		lease := c.grant(60)
		_, err := c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		c.eq("TTL", ask(c, lease, false).TTL, int64(-1))
	})
	g.check("a keep-alive gives back the time that has passed", func(c *Case) {
		lease := c.grant(60)
		for ask(c, lease, false).TTL > 58 {
			time.Sleep(100 * time.Millisecond)
		}
		_, err := c.cli.KeepAliveOnce(c.ctx, lease)
		c.ok(err)
		c.that(ask(c, lease, false).TTL >= 59, "TTL %d after a keep-alive", ask(c, lease, false).TTL)
	})
	g.check("a key that moved to another lease is listed there only", func(c *Case) {
		first, second := c.grant(60), c.grant(60)
		c.put("a", "1", clientv3.WithLease(first))
		c.put("a", "2", clientv3.WithLease(second))
		c.eq("first", len(ask(c, first, true).Keys), 0)
		c.eq("second", len(ask(c, second, true).Keys), 1)
	})
}

func TestLeaseLeases(t *testing.T) {
	g := begin(t)
	listed := func(c *Case) map[clientv3.LeaseID]bool {
		c.Helper()
		answer, err := c.leases.LeaseLeases(c.ctx, &pb.LeaseLeasesRequest{})
		c.ok(err)
		ids := map[clientv3.LeaseID]bool{}
		for _, lease := range answer.Leases {
			ids[clientv3.LeaseID(lease.ID)] = true
		}
		c.eq("ids", len(ids), len(answer.Leases))
		return ids
	}
	g.check("a granted lease is listed", func(c *Case) {
		lease := c.grant(60)
		c.that(listed(c)[lease], "it is not listed")
	})
	g.check("a revoked lease is not", func(c *Case) {
		lease := c.grant(60)
		_, err := c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		c.that(!listed(c)[lease], "it is listed")
	})
	g.check("twenty leases are listed once each", func(c *Case) {
		before := len(listed(c))
		for range 20 {
			c.grant(60)
		}
		c.eq("leases", len(listed(c)), before+20)
	})
	g.check("a lease with keys is listed once", func(c *Case) {
		before := len(listed(c))
		lease := c.grant(60)
		c.put("a", "1", clientv3.WithLease(lease))
		c.put("b", "1", clientv3.WithLease(lease))
		c.eq("leases", len(listed(c)), before+1)
	})
	g.check("clientv3 lists them and the header has the revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer, err := c.cli.Leases(c.ctx)
		c.ok(err)
		c.eq("revision", answer.Revision, revision)
	})
}

func TestLeaseExpiry(t *testing.T) {
	g := begin(t)
	g.check("the keys of a lease go when its time is over, and not before", func(c *Case) {
		granted := time.Now()
		lease := c.grant(minTTL)
		c.put("b", "1", clientv3.WithLease(lease))
		c.put("a", "1", clientv3.WithLease(lease))
		c.put("stays", "1")
		s := c.stream()
		s.watch(c.prefixed())
		events := s.events(2)
		lived := time.Since(granted)
		c.eq("events", c.shown(events), []string{"DELETE a", "DELETE b"})
		c.eq("revisions", events[0].Kv.ModRevision, events[1].Kv.ModRevision)
		c.that(lived >= minTTL*time.Second, "it lived %v", lived)
		c.that(lived < 3*minTTL*time.Second, "it lived %v", lived)
		answer, err := c.cli.TimeToLive(c.ctx, lease)
		c.ok(err)
		c.eq("TTL", answer.TTL, int64(-1))
		c.eq("keys", c.names(c.all().Kvs), []string{"stays"})
	})
	g.check("a lease that has ended can not be kept alive or used", func(c *Case) {
		lease := c.grant(minTTL)
		c.put("a", "1", clientv3.WithLease(lease))
		s := c.stream()
		s.watch(c.one("a"))
		s.events(1)
		beats, err := c.leases.LeaseKeepAlive(c.ctx)
		c.ok(err)
		c.ok(beats.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)}))
		answer, err := beats.Recv()
		c.ok(err)
		c.eq("TTL", answer.TTL, int64(0))
		_, err = c.cli.Put(c.ctx, c.key("a"), "2", clientv3.WithLease(lease))
		c.that(err != nil && err.Error() == "etcdserver: requested lease not found", "got %v", err)
	})
	g.check("clientv3's keep-alive channel closes when the lease is gone", func(c *Case) {
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		lease := c.grant(minTTL)
		beats, err := c.cli.KeepAlive(ctx, lease)
		c.ok(err)
		<-beats
		_, err = c.cli.Revoke(c.ctx, lease)
		c.ok(err)
		for range beats {
		}
		c.ok(c.ctx.Err())
	})
}
