// Several watches on one stream, progress, and what clientv3 makes of it all.

package compat

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestWatchStream(t *testing.T) {
	g := begin(t)
	g.check("the watches of a stream are numbered from 0", func(c *Case) {
		s := c.stream()
		for want := range int64(5) {
			c.eq("watch_id", s.watch(c.one("a")).WatchId, want)
		}
	})
	g.check("each watch of a stream gets its own events", func(c *Case) {
		s := c.stream()
		first, second := s.watch(c.one("a")).WatchId, s.watch(c.one("b")).WatchId
		c.put("b", "1")
		c.put("a", "1")
		response := s.next()
		c.eq("first to come", response.WatchId, second)
		c.eq("events", c.shown(response.Events), []string{"PUT b=1"})
		response = s.next()
		c.eq("second to come", response.WatchId, first)
		c.eq("events", c.shown(response.Events), []string{"PUT a=1"})
	})
	g.check("watches on the same key each get each event", func(c *Case) {
		s := c.stream()
		for range 3 {
			s.watch(c.one("a"))
		}
		c.put("a", "1")
		seen := map[int64]bool{}
		for range 3 {
			response := s.next()
			c.eq("events", c.shown(response.Events), []string{"PUT a=1"})
			seen[response.WatchId] = true
		}
		c.eq("watches", len(seen), 3)
	})
	g.check("a client may choose the number of its watch", func(c *Case) {
		s := c.stream()
		request := c.one("a")
		request.WatchId = 77
		c.eq("watch_id", s.watch(request).WatchId, int64(77))
		c.put("a", "1")
		c.eq("watch_id of the event", s.next().WatchId, int64(77))
	})
	g.check("numbers that are chosen are passed over by those that are given", func(c *Case) {
		s := c.stream()
		request := c.one("a")
		request.WatchId = 1
		s.watch(request)
		c.eq("given", s.watch(c.one("a")).WatchId, int64(0))
		c.eq("given next", s.watch(c.one("a")).WatchId, int64(2))
	})
	g.check("a canceled watch says so and sees nothing more", func(c *Case) {
		s := c.stream()
		first, second := s.watch(c.prefixed()).WatchId, s.watch(c.prefixed()).WatchId
		s.cancel(first)
		response := s.next()
		c.eq("canceled", response.Canceled, true)
		c.eq("created", response.Created, false)
		c.eq("watch_id", response.WatchId, first)
		c.eq("cancel_reason", response.CancelReason, "")
		c.eq("compact_revision", response.CompactRevision, int64(0))
		c.put("a", "1")
		c.put("a", "2")
		c.eq("watch_id", s.next().WatchId, second)
		c.eq("watch_id", s.next().WatchId, second)
	})
	g.check("canceling a watch that is not there is passed over", func(c *Case) {
		s := c.stream()
		s.watch(c.one("a"))
		s.cancel(99)
		c.put("a", "1")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=1"})
	})
	g.check("the number of a canceled watch can be used again", func(c *Case) {
		s := c.stream()
		request := c.one("a")
		request.WatchId = 5
		s.watch(request)
		s.cancel(5)
		c.eq("canceled", s.next().Canceled, true)
		c.eq("watch_id", s.watch(request).WatchId, int64(5))
		c.put("a", "1")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=1"})
	})
	g.check("a refused watch leaves the others of its stream alone", func(c *Case) {
		s := c.stream()
		s.watch(c.one("a"))
		s.create(&pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a")})
		c.eq("canceled", s.next().Canceled, true)
		c.put("a", "1")
		c.eq("events", c.shown(s.events(1)), []string{"PUT a=1"})
	})
	g.check("a hundred watches on one stream work", func(c *Case) {
		s := c.stream()
		for i := range 100 {
			s.watch(c.one(strconv.Itoa(i)))
		}
		for i := range 100 {
			c.put(strconv.Itoa(99-i), "1")
		}
		for i := range int64(100) {
			c.eq("watch_id", s.next().WatchId, 99-i)
		}
	})
	g.check("twenty streams see the same events", func(c *Case) {
		var streams []*stream
		for range 20 {
			s := c.stream()
			s.watch(c.prefixed())
			streams = append(streams, s)
		}
		first := c.putAll("a", "b", "c")
		for _, s := range streams {
			for i, event := range s.events(3) {
				c.eq("mod_revision", event.Kv.ModRevision, first+int64(i))
			}
		}
	})
}

func TestWatchProgress(t *testing.T) {
	g := begin(t)
	g.check("a progress request is answered for the whole stream", func(c *Case) {
		s := c.stream()
		s.watch(c.one("a"))
		revision := c.put("other", "1").Header.Revision
		s.askProgress()
		response := s.next()
		c.eq("watch_id", response.WatchId, int64(-1))
		c.eq("revision", response.Header.Revision, revision)
		c.eq("events", len(response.Events), 0)
		c.that(!response.Created && !response.Canceled, "not a progress response: %v", response)
	})
	g.check("progress never overtakes events", func(c *Case) {
		s := c.stream()
		s.watch(c.prefixed())
		for i := range 50 {
			revision := c.put("a", strconv.Itoa(i)).Header.Revision
			s.askProgress()
			// While the event is on its way the request may be passed over in
			// silence; so take the event first and ask again.
			response := s.next()
			c.eq("first the event", len(response.Events), 1)
			s.askProgress()
			response = s.next()
			c.eq("watch_id", response.WatchId, int64(-1))
			c.eq("revision", response.Header.Revision, revision)
			c.drainProgress(s)
		}
	})
	g.check("progress is withheld while a watch waits for a future revision", func(c *Case) {
		s := c.stream()
		request := c.one("a")
		request.StartRevision = c.now() + 10
		id := s.watch(request).WatchId
		s.askProgress()
		s.cancel(id)
		response := s.next()
		c.eq("canceled", response.Canceled, true)
		c.eq("watch_id", response.WatchId, id)
	})
	g.check("progress grows with revisions that the watch does not see", func(c *Case) {
		s := c.stream()
		s.watch(c.one("a"))
		last := int64(0)
		for range 5 {
			revision := c.put("other", "1").Header.Revision
			s.askProgress()
			got := s.next().Header.Revision
			c.eq("revision", got, revision)
			c.that(got > last, "revision %d after %d", got, last)
			last = got
		}
	})
	g.check("clientv3 asks for progress and gets it", func(c *Case) {
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		watch := c.cli.Watch(ctx, c.key("a"), clientv3.WithCreatedNotify())
		c.eq("created", c.receive(watch).Created, true)
		revision := c.put("other", "1").Header.Revision
		c.ok(c.cli.RequestProgress(ctx))
		response := c.receive(watch)
		c.eq("progress", response.IsProgressNotify(), true)
		c.eq("revision", response.Header.Revision, revision)
	})
	g.check("progress_notify brings the revision when nothing happens", func(c *Case) {
		interval, err := time.ParseDuration(os.Getenv("PROGRESS_INTERVAL"))
		if err != nil || interval > time.Second {
			c.Skip("the servers have no short --watch-progress-notify-interval (PROGRESS_INTERVAL)")
		}
		request := c.one("a")
		request.ProgressNotify = true
		s := c.stream()
		id := s.watch(request).WatchId
		quiet := s.watch(c.one("a")).WatchId
		revision := c.put("other", "1").Header.Revision
		for last := int64(0); last < revision; {
			response := s.next()
			c.eq("watch_id", response.WatchId, id)
			c.that(id != quiet, "one number for two watches")
			c.eq("events", len(response.Events), 0)
			c.that(response.Header.Revision >= last, "revision %d after %d", response.Header.Revision, last)
			last = response.Header.Revision
		}
	})
}

// drainProgress takes the answers to progress requests that may still come,
// up to the created response of a watch made for the purpose.
func (c *Case) drainProgress(s *stream) {
	c.Helper()
	s.create(c.one("no such key"))
	for {
		response := s.next()
		if response.Created {
			s.cancel(response.WatchId)
			c.eq("canceled", s.next().Canceled, true)
			return
		}
		c.eq("watch_id", response.WatchId, int64(-1))
	}
}

func TestWatchClient(t *testing.T) {
	g := begin(t)
	g.check("a channel brings events and closes when its context ends", func(c *Case) {
		ctx, cancel := context.WithCancel(c.ctx)
		watch := c.cli.Watch(ctx, c.key("a"), clientv3.WithCreatedNotify())
		c.eq("created", c.receive(watch).Created, true)
		c.put("a", "1")
		response := c.receive(watch)
		c.eq("value", string(response.Events[0].Kv.Value), "1")
		c.eq("is a create", response.Events[0].IsCreate(), true)
		cancel()
		for response := range watch {
			c.that(response.Canceled, "a response after the end: %v", response)
		}
	})
	g.check("a modification is told from a creation", func(c *Case) {
		first := c.putAll("a", "a")
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		watch := c.cli.Watch(ctx, c.key("a"), clientv3.WithRev(first))
		var events []*clientv3.Event
		for len(events) < 2 {
			events = append(events, c.receive(watch).Events...)
		}
		c.eq("first", events[0].IsCreate(), true)
		c.eq("second", events[1].IsModify(), true)
	})
	g.check("a compacted start gives ErrCompacted and the revision", func(c *Case) {
		first := c.putAll("a", "a")
		c.compact(first + 1)
		response := c.receive(c.cli.Watch(c.ctx, c.key("a"), clientv3.WithRev(first)))
		c.that(response.Err() != nil, "no error")
		c.eq("error", response.Err().Error(), compacted)
		c.eq("compact_revision", response.CompactRevision, first+1)
	})
	g.check("many watches of one client share a stream and all see their keys", func(c *Case) {
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		var channels []clientv3.WatchChan
		for i := range 30 {
			watch := c.cli.Watch(ctx, c.key(strconv.Itoa(i)), clientv3.WithCreatedNotify())
			c.eq("created", c.receive(watch).Created, true)
			channels = append(channels, watch)
		}
		for i := range channels {
			c.put(strconv.Itoa(i), strconv.Itoa(i))
		}
		for i, watch := range channels {
			c.eq("value", string(c.receive(watch).Events[0].Kv.Value), strconv.Itoa(i))
		}
	})
	g.check("filters and prev_kv work through clientv3", func(c *Case) {
		c.put("a", "1")
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		watch := c.cli.Watch(ctx, c.prefix, clientv3.WithPrefix(), clientv3.WithFilterPut(), clientv3.WithPrevKV(),
			clientv3.WithCreatedNotify())
		c.eq("created", c.receive(watch).Created, true)
		c.put("a", "2")
		c.del("a")
		event := c.receive(watch).Events[0]
		c.eq("type", event.Type, clientv3.EventTypeDelete)
		c.eq("value", string(event.PrevKv.Value), "2")
	})
}
