// HTTP on the client port, beside gRPC.

package compat

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// fetch is a GET of a path of the client port: the status and the body.
func (c *Case) fetch(path string) (int, string) {
	c.Helper()
	return c.ask(http.MethodGet, path)
}

func (c *Case) ask(method, path string) (int, string) {
	c.Helper()
	request, err := http.NewRequestWithContext(c.ctx, method, "http://"+c.endpoint+path, nil)
	c.ok(err)
	answer, err := http.DefaultClient.Do(request)
	c.ok(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	c.ok(err)
	return answer.StatusCode, string(body)
}

func TestHTTP(t *testing.T) {
	g := begin(t)
	for _, path := range []string{"/health", "/health?serializable=true", "/health?exclude=NOSPACE"} {
		g.check(path+" says that it is healthy", func(c *Case) {
			code, body := c.fetch(path)
			c.eq("status", code, 200)
			c.eq("body", strings.TrimSpace(body), `{"health":"true","reason":""}`)
		})
	}
	g.check("/health takes GET only", func(c *Case) {
		code, _ := c.ask(http.MethodPost, "/health")
		c.eq("status", code, 405)
	})
	for _, path := range []string{
		"/livez", "/readyz", "/livez/serializable_read", "/readyz/serializable_read",
		"/readyz/linearizable_read", "/readyz/data_corruption", "/readyz?exclude=linearizable_read",
	} {
		g.check(path+" says ok", func(c *Case) {
			code, body := c.fetch(path)
			c.eq("status", code, 200)
			c.eq("body", body, "ok\n")
		})
	}
	g.check("/livez?verbose names its checks", func(c *Case) {
		code, body := c.fetch("/livez?verbose")
		c.eq("status", code, 200)
		c.that(strings.Contains(body, "[+]serializable_read ok\n"), "body %q", body)
		c.that(strings.HasSuffix(body, "ok\n"), "body %q", body)
	})
	g.check("/readyz?verbose names its checks", func(c *Case) {
		code, body := c.fetch("/readyz?verbose")
		c.eq("status", code, 200)
		for _, name := range []string{"data_corruption", "serializable_read", "linearizable_read"} {
			c.that(strings.Contains(body, "[+]"+name+" ok\n"), "%s is not in %q", name, body)
		}
	})
	g.check("a check that is not there is not found", func(c *Case) {
		code, _ := c.fetch("/readyz/nothing")
		c.eq("status", code, 404)
	})
	g.check("/version is JSON with the server's and the cluster's version", func(c *Case) {
		code, body := c.fetch("/version")
		c.eq("status", code, 200)
		var version map[string]string
		c.ok(json.Unmarshal([]byte(body), &version))
		status, err := c.cli.Status(c.ctx, c.endpoint)
		c.ok(err)
		c.eq("etcdserver", version["etcdserver"], status.Version)
		c.that(strings.HasPrefix(version["etcdcluster"], "3."), "etcdcluster %q", version["etcdcluster"])
	})
	g.check("/metrics has what dashboards of etcd begin with", func(c *Case) {
		c.put("a", "1")
		code, body := c.fetch("/metrics")
		c.eq("status", code, 200)
		for _, name := range []string{
			"etcd_server_has_leader", "etcd_server_is_leader", "etcd_server_leader_changes_seen_total",
			"etcd_server_proposals_committed_total", "etcd_server_proposals_applied_total",
			"etcd_server_proposals_pending", "etcd_mvcc_db_total_size_in_bytes",
			"etcd_disk_wal_fsync_duration_seconds_bucket", "etcd_disk_backend_commit_duration_seconds_bucket",
			"process_start_time_seconds",
		} {
			c.that(strings.Contains(body, "\n"+name), "%s is missing", name)
		}
		c.that(strings.Contains(body, "\netcd_server_has_leader 1\n"), "it has no leader")
	})
	g.check("/metrics says of each metric what it is", func(c *Case) {
		_, body := c.fetch("/metrics")
		c.that(strings.Contains(body, "# TYPE etcd_server_has_leader gauge\n"), "no type of etcd_server_has_leader")
		c.that(strings.Contains(body, "# HELP etcd_server_has_leader "), "no help of etcd_server_has_leader")
	})
	g.check("a path that is not there is not found", func(c *Case) {
		code, _ := c.fetch("/nothing/here")
		c.eq("status", code, 404)
	})
}
