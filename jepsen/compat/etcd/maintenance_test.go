// Status, members, hashes, alarms, snapshots and gRPC health.

package compat

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestStatus(t *testing.T) {
	g := begin(t)
	ask := func(c *Case) *pb.StatusResponse {
		c.Helper()
		answer, err := c.upkeep.Status(c.ctx, &pb.StatusRequest{})
		c.ok(err)
		return answer
	}
	g.check("the version is one that Kubernetes trusts with progress requests", func(c *Case) {
		parts := strings.SplitN(ask(c).Version, ".", 3)
		c.eq("parts", len(parts), 3)
		var numbers [3]int
		for i, part := range parts {
			number, err := strconv.Atoi(strings.SplitN(part, "-", 2)[0])
			c.ok(err)
			numbers[i] = number
		}
		major, minor, patch := numbers[0], numbers[1], numbers[2]
		c.that(major > 3 || minor > 5 || (minor == 5 && patch >= 13), "version %v", numbers)
	})
	g.check("the leader is a member", func(c *Case) {
		leader := ask(c).Leader
		list, err := c.cli.MemberList(c.ctx)
		c.ok(err)
		for _, member := range list.Members {
			if member.ID == leader {
				return
			}
		}
		c.Fatalf("leader %x is not in %v", leader, list.Members)
	})
	g.check("index and term are there and what is applied is at most what is committed", func(c *Case) {
		c.put("a", "1")
		answer := ask(c)
		c.that(answer.RaftIndex > 0 && answer.RaftTerm > 0, "index %d, term %d", answer.RaftIndex, answer.RaftTerm)
		c.that(answer.RaftAppliedIndex > 0 && answer.RaftAppliedIndex <= answer.RaftIndex,
			"applied %d of %d", answer.RaftAppliedIndex, answer.RaftIndex)
		c.eq("header term", answer.Header.RaftTerm, answer.RaftTerm)
	})
	g.check("writes raise the index", func(c *Case) {
		before := ask(c).RaftIndex
		c.put("a", "1")
		c.that(ask(c).RaftIndex > before, "the index is still %d", before)
	})
	g.check("the header has the revision", func(c *Case) {
		c.eq("revision", c.put("a", "1").Header.Revision, ask(c).Header.Revision)
	})
	g.check("the store has a size and uses a part of it", func(c *Case) {
		c.put("a", strings.Repeat("x", 1<<16))
		answer := ask(c)
		c.that(answer.DbSize > 0 && answer.DbSizeInUse > 0, "size %d, in use %d", answer.DbSize, answer.DbSizeInUse)
	})
	g.check("a voting member is no learner and has no errors", func(c *Case) {
		answer := ask(c)
		c.eq("isLearner", answer.IsLearner, false)
		c.eq("errors", len(answer.Errors), 0)
	})
	g.check("the fields of 3.6 are filled in", func(c *Case) {
		answer := ask(c)
		c.that(answer.StorageVersion != "", "no storageVersion")
		c.that(answer.DbSizeQuota > 0, "dbSizeQuota %d", answer.DbSizeQuota)
		c.eq("a downgrade is going on", answer.DowngradeInfo.GetEnabled(), false)
	})
}

func TestMemberList(t *testing.T) {
	g := begin(t)
	ask := func(c *Case, linearizable bool) *pb.MemberListResponse {
		c.Helper()
		answer, err := c.list.MemberList(c.ctx, &pb.MemberListRequest{Linearizable: linearizable})
		c.ok(err)
		return answer
	}
	g.check("every member is listed", func(c *Case) {
		c.eq("members", len(ask(c, false).Members), len(members))
	})
	g.check("a linearizable list is the same", func(c *Case) {
		c.eq("members", ask(c, true).Members, ask(c, false).Members)
	})
	g.check("members have ids, names and peer addresses of their own", func(c *Case) {
		ids, names, peers := map[uint64]bool{}, map[string]bool{}, map[string]bool{}
		for _, member := range ask(c, true).Members {
			c.that(member.ID != 0 && member.Name != "" && len(member.PeerURLs) > 0, "member %v", member)
			ids[member.ID], names[member.Name], peers[member.PeerURLs[0]] = true, true, true
			c.eq("isLearner", member.IsLearner, false)
		}
		c.eq("ids, names, peers", []int{len(ids), len(names), len(peers)},
			[]int{len(members), len(members), len(members)})
	})
	g.check("the client addresses are those that are served", func(c *Case) {
		listed := map[string]bool{}
		for _, member := range ask(c, true).Members {
			for _, url := range member.ClientURLs {
				listed[url] = true
			}
		}
		for _, m := range members {
			c.that(listed["http://"+m.endpoint], "http://%s is not in %v", m.endpoint, listed)
		}
	})
	g.check("the header has the ids and no revision", func(c *Case) {
		header := ask(c, false).Header
		c.eq("cluster_id", header.ClusterId, c.get("a").Header.ClusterId)
		c.eq("member_id", header.MemberId, c.get("a").Header.MemberId)
		c.eq("revision", header.Revision, int64(0))
	})
	g.check("clientv3 learns the addresses by it", func(c *Case) {
		cli := dial(c.endpoint)
		defer cli.Close()
		c.ok(cli.Sync(c.ctx))
		c.eq("endpoints", len(cli.Endpoints()), len(members))
	})
}

func TestHash(t *testing.T) {
	g := begin(t)
	ask := func(c *Case) *pb.HashResponse {
		c.Helper()
		answer, err := c.upkeep.Hash(c.ctx, &pb.HashRequest{})
		c.ok(err)
		return answer
	}
	g.check("there is one", func(c *Case) {
		c.put("a", "1")
		c.that(ask(c).Hash != 0, "the hash is 0")
	})
	g.check("it stays while nothing is written", func(c *Case) {
		c.put("a", "1")
		c.eq("hash", ask(c).Hash, ask(c).Hash)
	})
	g.check("a put changes it", func(c *Case) {
		before := ask(c).Hash
		c.put("a", "1")
		c.that(ask(c).Hash != before, "the hash is still %d", before)
	})
	g.check("reads leave it", func(c *Case) {
		c.put("a", "1")
		before := ask(c).Hash
		c.all()
		c.eq("hash", ask(c).Hash, before)
	})
	g.check("the header has the revision and the member", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		header := ask(c).Header
		c.eq("revision", header.Revision, revision)
		c.that(header.MemberId != 0, "no member_id")
	})
}

func TestHashKV(t *testing.T) {
	g := begin(t)
	ask := func(c *Case, revision int64) *pb.HashKVResponse {
		c.Helper()
		answer, err := c.upkeep.HashKV(c.ctx, &pb.HashKVRequest{Revision: revision})
		c.ok(err)
		return answer
	}
	g.check("revision 0 means the current one", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		answer := ask(c, 0)
		c.eq("hash_revision", answer.HashRevision, revision)
		c.eq("header revision", answer.Header.Revision, revision)
		c.eq("hash", answer.Hash, ask(c, revision).Hash)
	})
	g.check("the hash at a revision stays when more is written", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		before := ask(c, revision)
		c.putAll("b", "c")
		c.del("a")
		c.eq("hash", ask(c, revision).Hash, before.Hash)
		c.eq("hash_revision", ask(c, revision).HashRevision, revision)
	})
	g.check("a put changes it", func(c *Case) {
		before := ask(c, 0).Hash
		c.put("a", "1")
		c.that(ask(c, 0).Hash != before, "the hash is still %d", before)
	})
	g.check("it says the compacted revision", func(c *Case) {
		first := c.putAll("a", "a")
		c.compact(first + 1)
		c.eq("compact_revision", ask(c, 0).CompactRevision, first+1)
	})
	g.check("the current revision right after a compaction has a hash", func(c *Case) {
		last := c.putAll("a", "a") + 1
		c.compact(last)
		answer := ask(c, last)
		c.eq("hash_revision", answer.HashRevision, last)
		c.eq("hash", ask(c, last).Hash, answer.Hash)
	})
}

func TestAlarm(t *testing.T) {
	g := begin(t)
	alarm := func(c *Case, action pb.AlarmRequest_AlarmAction, kind pb.AlarmType) *pb.AlarmResponse {
		c.Helper()
		answer, err := c.upkeep.Alarm(c.ctx, &pb.AlarmRequest{Action: action, Alarm: kind})
		c.ok(err)
		return answer
	}
	for _, kind := range []pb.AlarmType{pb.AlarmType_NONE, pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
		g.check("no alarm of kind "+kind.String()+" is listed", func(c *Case) {
			c.eq("alarms", len(alarm(c, pb.AlarmRequest_GET, kind).Alarms), 0)
		})
	}
	g.check("the header has the ids and the revision", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		header := alarm(c, pb.AlarmRequest_GET, pb.AlarmType_NONE).Header
		c.eq("revision", header.Revision, revision)
		c.that(header.ClusterId != 0 && header.MemberId != 0, "header %v", header)
	})
	g.check("clientv3 lists none", func(c *Case) {
		answer, err := c.cli.AlarmList(c.ctx)
		c.ok(err)
		c.eq("alarms", len(answer.Alarms), 0)
	})
	g.check("disarming what is not armed is no error", func(c *Case) {
		c.eq("alarms", len(alarm(c, pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NOSPACE).Alarms), 0)
	})
}

func TestSnapshot(t *testing.T) {
	g := begin(t)
	take := func(c *Case) []*pb.SnapshotResponse {
		c.Helper()
		s, err := c.upkeep.Snapshot(c.ctx, &pb.SnapshotRequest{})
		c.ok(err)
		var parts []*pb.SnapshotResponse
		for {
			part, err := s.Recv()
			if err == io.EOF {
				c.that(len(parts) >= 2, "%d parts", len(parts))
				return parts
			}
			c.ok(err)
			parts = append(parts, part)
		}
	}
	g.check("the last part is the SHA-256 of all before it", func(c *Case) {
		c.put("a", strings.Repeat("x", 100<<10))
		parts := take(c)
		sum := sha256.New()
		for _, part := range parts[:len(parts)-1] {
			sum.Write(part.Blob)
		}
		c.eq("digest", parts[len(parts)-1].Blob, sum.Sum(nil))
	})
	g.check("remaining_bytes counts down to zero by the length of each part", func(c *Case) {
		parts := take(c)
		blobs := parts[:len(parts)-1]
		for i := 1; i < len(blobs); i++ {
			c.eq("remaining_bytes", blobs[i].RemainingBytes, blobs[i-1].RemainingBytes-uint64(len(blobs[i].Blob)))
		}
		c.eq("at the last blob", blobs[len(blobs)-1].RemainingBytes, uint64(0))
		c.eq("at the digest", parts[len(parts)-1].RemainingBytes, uint64(0))
	})
	g.check("no part is empty or larger than 32 KiB", func(c *Case) {
		c.put("a", strings.Repeat("x", 100<<10))
		for _, part := range take(c) {
			c.that(len(part.Blob) > 0 && len(part.Blob) <= 32<<10, "a part of %d bytes", len(part.Blob))
		}
	})
	g.check("before its digest it is a whole number of 512-byte blocks, which etcdctl checks", func(c *Case) {
		c.put("a", "1")
		length := 0
		for _, part := range take(c) {
			length += len(part.Blob)
		}
		c.eq("bytes beyond whole blocks", length%512, sha256.Size)
	})
	g.check("every part says the version of the store", func(c *Case) {
		for _, part := range take(c) {
			c.that(part.Version != "", "a part without a version")
		}
	})
	g.check("writes go on while it is taken", func(c *Case) {
		s, err := c.upkeep.Snapshot(c.ctx, &pb.SnapshotRequest{})
		c.ok(err)
		c.putAll("a", "b", "c")
		c.eq("count", c.all().Count, int64(3))
		for err == nil {
			_, err = s.Recv()
		}
		c.eq("end", err, io.EOF)
	})
	g.check("clientv3 reads it whole", func(c *Case) {
		body, err := c.cli.Snapshot(c.ctx)
		c.ok(err)
		defer body.Close()
		var all bytes.Buffer
		n, err := io.Copy(&all, body)
		c.ok(err)
		c.that(n > sha256.Size, "%d bytes", n)
		sum := sha256.Sum256(all.Bytes()[:n-sha256.Size])
		c.eq("digest", all.Bytes()[n-sha256.Size:], sum[:])
	})
}

func TestHealth(t *testing.T) {
	g := begin(t)
	g.check("the server as a whole is serving", func(c *Case) {
		answer, err := health.NewHealthClient(c.conn).Check(c.ctx, &health.HealthCheckRequest{})
		c.ok(err)
		c.eq("status", answer.Status, health.HealthCheckResponse_SERVING)
	})
	g.check("every member is serving", func(c *Case) {
		for _, m := range members {
			answer, err := health.NewHealthClient(m.conn).Check(c.ctx, &health.HealthCheckRequest{})
			c.ok(err)
			c.eq(m.endpoint, answer.Status, health.HealthCheckResponse_SERVING)
		}
	})
	g.check("a service that is not there is not found", func(c *Case) {
		_, err := health.NewHealthClient(c.conn).Check(c.ctx, &health.HealthCheckRequest{Service: "nobody"})
		c.eq("code", status.Code(err), codes.NotFound)
	})
	g.check("a health watch begins with what is now", func(c *Case) {
		s, err := health.NewHealthClient(c.conn).Watch(c.ctx, &health.HealthCheckRequest{})
		c.ok(err)
		answer, err := s.Recv()
		c.ok(err)
		c.eq("status", answer.Status, health.HealthCheckResponse_SERVING)
	})
	g.check("it answers while a large range is read", func(c *Case) {
		c.put("a", strings.Repeat("x", 1<<20))
		done := make(chan error, 1)
		go func() {
			_, err := c.cli.Get(c.ctx, c.prefix, clientv3.WithPrefix())
			done <- err
		}()
		_, err := health.NewHealthClient(c.conn).Check(c.ctx, &health.HealthCheckRequest{})
		c.ok(err)
		c.ok(<-done)
	})
}

// TestMembers asks whether all members are one server. With one member these
// cases hold trivially.
func TestMembers(t *testing.T) {
	g := begin(t)
	g.check("a linearizable read through any member sees the latest write", func(c *Case) {
		for i := range 30 {
			want := strconv.Itoa(i)
			writer, reader := members[i%len(members)], members[(i+1)%len(members)]
			_, err := writer.cli.Put(c.ctx, c.key("a"), want)
			c.ok(err)
			answer, err := reader.cli.Get(c.ctx, c.key("a"))
			c.ok(err)
			c.eq("values", values(answer.Kvs), []string{want})
		}
	})
	g.check("writes through all members get revisions of their own, one after another", func(c *Case) {
		last := c.now()
		for i := range 30 {
			answer, err := members[i%len(members)].cli.Put(c.ctx, c.key("a"), "1")
			c.ok(err)
			c.eq("revision", answer.Header.Revision, last+1)
			last++
		}
	})
	g.check("all members agree on the cluster and the leader, and have ids of their own", func(c *Case) {
		first, err := members[0].cli.Status(c.ctx, members[0].endpoint)
		c.ok(err)
		ids := map[uint64]bool{}
		for _, m := range members {
			answer, err := m.cli.Status(c.ctx, m.endpoint)
			c.ok(err)
			c.eq("leader", answer.Leader, first.Leader)
			c.eq("cluster_id", answer.Header.ClusterId, first.Header.ClusterId)
			ids[answer.Header.MemberId] = true
		}
		c.eq("member ids", len(ids), len(members))
		c.that(ids[first.Leader], "the leader %x is none of %v", first.Leader, ids)
	})
	g.check("all members list the same members", func(c *Case) {
		first, err := members[0].cli.MemberList(c.ctx)
		c.ok(err)
		for _, m := range members {
			answer, err := m.cli.MemberList(c.ctx)
			c.ok(err)
			c.eq(m.endpoint, answer.Members, first.Members)
		}
	})
	g.check("watches through all members see the same events in the same order", func(c *Case) {
		first := c.putAll("a")
		var channels []clientv3.WatchChan
		for _, m := range members {
			channels = append(channels, m.cli.Watch(c.ctx, c.prefix, clientv3.WithPrefix(), clientv3.WithRev(first)))
		}
		for i := range 29 {
			_, err := everyone.Put(c.ctx, c.key("a"), strconv.Itoa(i))
			c.ok(err)
		}
		for _, watch := range channels {
			for seen := int64(0); seen < 30; {
				response := c.receive(watch)
				c.ok(response.Err())
				for _, event := range response.Events {
					c.eq("mod_revision", event.Kv.ModRevision, first+seen)
					seen++
				}
			}
		}
	})
	g.check("a lease granted through one member can be used, kept and revoked through others", func(c *Case) {
		at := func(i int) *clientv3.Client { return members[i%len(members)].cli }
		lease, err := at(0).Grant(c.ctx, 60)
		c.ok(err)
		_, err = at(1).Put(c.ctx, c.key("a"), "1", clientv3.WithLease(lease.ID))
		c.ok(err)
		kept, err := at(2).KeepAliveOnce(c.ctx, lease.ID)
		c.ok(err)
		c.eq("TTL", kept.TTL, int64(60))
		for i := range members {
			left, err := at(i).TimeToLive(c.ctx, lease.ID)
			c.ok(err)
			c.eq("grantedTTL", left.GrantedTTL, int64(60))
			c.that(left.TTL > 55, "TTL %d", left.TTL)
		}
		_, err = at(1).Revoke(c.ctx, lease.ID)
		c.ok(err)
		answer, err := at(2).Get(c.ctx, c.key("a"))
		c.ok(err)
		c.eq("count", answer.Count, int64(0))
	})
	g.check("the keys and the time of a lease are right through each member at once", func(c *Case) {
		lease := c.grant(60)
		for i := range 30 {
			writer, reader := members[i%len(members)], members[(i+1)%len(members)]
			_, err := writer.cli.Put(c.ctx, c.key(strconv.Itoa(i)), "1", clientv3.WithLease(lease))
			c.ok(err)
			answer, err := reader.cli.TimeToLive(c.ctx, lease, clientv3.WithAttachedKeys())
			c.ok(err)
			c.eq("keys", len(answer.Keys), i+1)
		}
	})
	g.check("a lease granted through one member is known to each at once", func(c *Case) {
		for i := range 15 {
			granter, other := members[i%len(members)], members[(i+1)%len(members)]
			lease, err := granter.cli.Grant(c.ctx, 60)
			c.ok(err)
			c.forget(int64(lease.ID))
			left, err := other.cli.TimeToLive(c.ctx, lease.ID)
			c.ok(err)
			c.eq("grantedTTL", left.GrantedTTL, int64(60))
			_, err = other.cli.KeepAliveOnce(c.ctx, lease.ID)
			c.ok(err)
			_, err = other.cli.Put(c.ctx, c.key("a"), "1", clientv3.WithLease(lease.ID))
			c.ok(err)
		}
	})
	g.check("all members have the same hash at the same revision", func(c *Case) {
		revision := c.putAll("a", "b", "c")
		c.compact(revision)
		hashes := map[uint32]bool{}
		for _, m := range members {
			_, err := m.cli.Get(c.ctx, c.key("a")) // the member has caught up once this is answered
			c.ok(err)
			// A compaction is done in the background on members other than the
			// one that was asked: ask until this one is there.
			answer, err := m.cli.HashKV(c.ctx, m.endpoint, revision+2)
			for err == nil && answer.CompactRevision < revision && c.ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				answer, err = m.cli.HashKV(c.ctx, m.endpoint, revision+2)
			}
			c.ok(err)
			hashes[answer.Hash] = true
		}
		c.eq("different hashes", len(hashes), 1)
	})
	g.check("a compaction through one member holds on all", func(c *Case) {
		first := c.putAll("a", "a")
		c.compact(first + 1)
		for _, m := range members {
			_, err := m.cli.Get(c.ctx, c.key("a"), clientv3.WithRev(first))
			c.that(err != nil && err.Error() == compacted, "%s: %v", m.endpoint, err)
		}
	})
	g.check("a watch sees what was written through another member", func(c *Case) {
		s := c.stream()
		s.watch(c.prefixed())
		for i, m := range members {
			_, err := m.cli.Put(c.ctx, c.key(strconv.Itoa(i)), "1")
			c.ok(err)
		}
		for i, event := range s.events(len(members)) {
			c.eq("key", string(event.Kv.Key), c.key(strconv.Itoa(i)))
		}
	})
	g.check("a serializable read through any member catches up", func(c *Case) {
		revision := c.put("a", "1").Header.Revision
		for _, m := range members {
			for {
				answer, err := m.cli.Get(c.ctx, c.key("a"), clientv3.WithSerializable())
				c.ok(err)
				if answer.Header.Revision >= revision {
					c.eq("values", values(answer.Kvs), []string{"1"})
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
}
