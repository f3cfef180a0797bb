// clientv3's concurrency package, which stands on KV, Lease and Watch alone.

package compat

import (
	"context"
	"strconv"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func (c *Case) session(cli *clientv3.Client) *concurrency.Session {
	c.Helper()
	session, err := concurrency.NewSession(cli, concurrency.WithTTL(10), concurrency.WithContext(c.ctx))
	c.ok(err)
	c.Cleanup(func() { _ = session.Close() })
	return session
}

func TestConcurrency(t *testing.T) {
	g := begin(t)
	g.check("a session ends its lease when it closes", func(c *Case) {
		session := c.session(c.cli)
		c.put("a", "1", clientv3.WithLease(session.Lease()))
		c.ok(session.Close())
		<-session.Done()
		c.eq("count", c.get("a").Count, int64(0))
	})
	g.check("a mutex has one holder and passes to the next", func(c *Case) {
		first := concurrency.NewMutex(c.session(c.cli), c.key("lock"))
		second := concurrency.NewMutex(c.session(c.cli), c.key("lock"))
		c.ok(first.Lock(c.ctx))
		c.eq("try", second.TryLock(c.ctx), concurrency.ErrLocked)
		got := make(chan error, 1)
		go func() { got <- second.Lock(c.ctx) }()
		c.ok(first.Unlock(c.ctx))
		c.ok(<-got)
		c.ok(second.Unlock(c.ctx))
	})
	g.check("a mutex passes on when its holder's session ends", func(c *Case) {
		holder := c.session(c.cli)
		first := concurrency.NewMutex(holder, c.key("lock"))
		second := concurrency.NewMutex(c.session(c.cli), c.key("lock"))
		c.ok(first.Lock(c.ctx))
		got := make(chan error, 1)
		go func() { got <- second.Lock(c.ctx) }()
		c.ok(holder.Close())
		c.ok(<-got)
	})
	g.check("a counter under a mutex loses no step through any member", func(c *Case) {
		var wait sync.WaitGroup
		failures := make(chan error, 10)
		for i := range 5 {
			cli := members[i%len(members)].cli
			session := c.session(cli)
			wait.Go(func() {
				mutex := concurrency.NewMutex(session, c.key("lock"))
				for range 4 {
					if err := step(c.ctx, cli, mutex, c.key("counter")); err != nil {
						failures <- err
						return
					}
				}
			})
		}
		wait.Wait()
		close(failures)
		c.ok(<-failures)
		c.eq("counter", values(c.get("counter").Kvs), []string{"20"})
	})
	g.check("an election has one leader whose value is seen", func(c *Case) {
		election := concurrency.NewElection(c.session(c.cli), c.key("election"))
		c.ok(election.Campaign(c.ctx, "first"))
		leader, err := election.Leader(c.ctx)
		c.ok(err)
		c.eq("leader", values(leader.Kvs), []string{"first"})
		c.ok(election.Proclaim(c.ctx, "second"))
		leader, err = election.Leader(c.ctx)
		c.ok(err)
		c.eq("leader", values(leader.Kvs), []string{"second"})
	})
	g.check("an election passes to the next when its leader resigns", func(c *Case) {
		first := concurrency.NewElection(c.session(c.cli), c.key("election"))
		second := concurrency.NewElection(c.session(c.cli), c.key("election"))
		c.ok(first.Campaign(c.ctx, "first"))
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		seen := second.Observe(ctx)
		c.eq("observed", values((<-seen).Kvs), []string{"first"})
		won := make(chan error, 1)
		go func() { won <- second.Campaign(c.ctx, "second") }()
		c.ok(first.Resign(c.ctx))
		c.ok(<-won)
		c.eq("observed", values((<-seen).Kvs), []string{"second"})
	})
	g.check("software transactions move without loss", func(c *Case) {
		c.put("from", "100")
		c.put("to", "0")
		move := func(stm concurrency.STM) error {
			from, _ := strconv.Atoi(stm.Get(c.key("from")))
			to, _ := strconv.Atoi(stm.Get(c.key("to")))
			stm.Put(c.key("from"), strconv.Itoa(from-1))
			stm.Put(c.key("to"), strconv.Itoa(to+1))
			return nil
		}
		var wait sync.WaitGroup
		failures := make(chan error, 10)
		for range 5 {
			wait.Go(func() {
				for range 4 {
					if _, err := concurrency.NewSTM(c.cli, move); err != nil {
						failures <- err
					}
				}
			})
		}
		wait.Wait()
		close(failures)
		c.ok(<-failures)
		c.eq("values", values(c.all().Kvs), []string{"80", "20"})
	})
}

// step adds one to a counter while it holds the mutex.
func step(ctx context.Context, cli *clientv3.Client, mutex *concurrency.Mutex, key string) error {
	if err := mutex.Lock(ctx); err != nil {
		return err
	}
	answer, err := cli.Get(ctx, key)
	if err != nil {
		return err
	}
	n := 0
	if len(answer.Kvs) > 0 {
		n, _ = strconv.Atoi(string(answer.Kvs[0].Value))
	}
	if _, err := cli.Put(ctx, key, strconv.Itoa(n+1)); err != nil {
		return err
	}
	return mutex.Unlock(ctx)
}
