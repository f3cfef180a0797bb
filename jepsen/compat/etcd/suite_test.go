// What all groups share: the connections, the case and its words.

package compat

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	// caseTimeout ends a case whose answer never comes.
	caseTimeout = 20 * time.Second
	// receiveMax lets a client take answers larger than gRPC's 4 MiB.
	receiveMax = 64 << 20
	// minTTL is the shortest lease that etcd grants with its default timings.
	minTTL = 2
)

// member is one server of the cluster under test and the ways to speak to it.
type member struct {
	endpoint string
	cli      *clientv3.Client
	conn     *grpc.ClientConn
}

var (
	members  []member
	everyone *clientv3.Client // balances over all members, as clients do
	skipped  = map[string]bool{}
	results  *os.File
	run      = time.Now().UnixNano() // makes the keys of one run its own
	count    int                     // cases begun so far
)

func TestMain(m *testing.M) { os.Exit(withServers(m)) }

func withServers(m *testing.M) int {
	if os.Getenv("ENDPOINTS") == "" {
		fmt.Fprintln(os.Stderr, "compat: ENDPOINTS is not set; see doc.go and run-suite.sh")
		return 2
	}
	for _, group := range strings.Split(os.Getenv("SKIP"), ",") {
		skipped[group] = true
	}
	if name := os.Getenv("RESULTS"); name != "" {
		file, err := os.Create(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "compat:", err)
			return 2
		}
		defer file.Close()
		results = file
	}
	endpoints := strings.Split(os.Getenv("ENDPOINTS"), ",")
	for _, endpoint := range endpoints {
		conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receiveMax)))
		if err != nil {
			fmt.Fprintln(os.Stderr, "compat:", err)
			return 2
		}
		members = append(members, member{endpoint: endpoint, cli: dial(endpoint), conn: conn})
	}
	everyone = dial(endpoints...)
	return m.Run()
}

func dial(endpoints ...string) *clientv3.Client {
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "compat: connect to %v: %v\n", endpoints, err)
		os.Exit(2)
	}
	return cli
}

// Case is one named case: a test, a key prefix of its own, and one member to
// speak to. Successive cases speak to successive members. Speaking to one
// member only lets a case say "from now on" of a watch and read serializably.
type Case struct {
	*testing.T
	member
	ctx    context.Context
	prefix string
	kv     pb.KVClient
	leases pb.LeaseClient
	upkeep pb.MaintenanceClient
	list   pb.ClusterClient
}

// group runs cases by name.
type group struct {
	t    *testing.T
	name string
}

func begin(t *testing.T) group {
	name := strings.TrimPrefix(t.Name(), "Test")
	if skipped[name] {
		t.Skipf("%s is in SKIP", name)
	}
	return group{t, name}
}

// check runs one case. Its name is a sentence and is what the list of results shows.
func (g group) check(name string, body func(c *Case)) {
	g.t.Helper()
	g.t.Run(name, func(t *testing.T) {
		m := members[count%len(members)]
		count++
		ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
		c := &Case{
			T: t, member: m, ctx: ctx,
			prefix: fmt.Sprintf("/compat/%d/%03d/", run, count),
			kv:     pb.NewKVClient(m.conn), leases: pb.NewLeaseClient(m.conn),
			upkeep: pb.NewMaintenanceClient(m.conn), list: pb.NewClusterClient(m.conn),
		}
		t.Cleanup(func() {
			cancel()
			if !unanswered {
				c.sweep()
			}
			record(g.name+": "+name, t)
		})
		defer c.survive()
		c.await()
		body(c)
	})
}

// unanswered is set once a member did not answer at the start of a case.
var unanswered bool

// await is a linearizable read: after it this member has caught up with the
// case before. A server that is gone costs the first case some seconds and the
// cases after it next to nothing.
func (c *Case) await() {
	c.Helper()
	patience := 5 * time.Second
	if unanswered {
		patience = 200 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	_, err := c.cli.Get(ctx, c.key("no such key"))
	unanswered = err != nil
	if err != nil {
		c.Fatalf("%s does not answer: %v", c.endpoint, err)
	}
}

// survive makes a panic the failure of one case, so that the others still run.
func (c *Case) survive() {
	if cause := recover(); cause != nil {
		c.Errorf("panic: %v\n%s", cause, debug.Stack())
	}
}

// sweep leaves no keys behind, so that a server can be used for many runs.
func (c *Case) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = c.cli.Delete(ctx, c.prefix, clientv3.WithPrefix())
}

func record(name string, t *testing.T) {
	verdict := "pass"
	if t.Failed() {
		verdict = "fail"
	} else if t.Skipped() {
		verdict = "skip"
	}
	if results != nil {
		fmt.Fprintf(results, "%s: %s\n", name, verdict)
	}
}

// --- Words for the cases -------------------------------------------------

// key is a key of this case.
func (c *Case) key(name string) string { return c.prefix + name }

// end is the first key after all keys of this case.
func (c *Case) end() string { return clientv3.GetPrefixRangeEnd(c.prefix) }

func (c *Case) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("refused: %v", err)
	}
}

func (c *Case) eq(what string, got, want any) {
	c.Helper()
	if !reflect.DeepEqual(got, want) {
		c.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (c *Case) that(holds bool, format string, args ...any) {
	c.Helper()
	if !holds {
		c.Fatalf(format, args...)
	}
}

// refused checks the code and the text of an error as they were on the wire.
func (c *Case) refused(err error, code codes.Code, text string) {
	c.Helper()
	if err == nil {
		c.Fatalf("accepted, want %v %q", code, text)
	}
	got := status.Convert(err)
	if got.Code() != code || got.Message() != text {
		c.Fatalf("got %v %q, want %v %q", got.Code(), got.Message(), code, text)
	}
}

func (c *Case) put(name, value string, opts ...clientv3.OpOption) *clientv3.PutResponse {
	c.Helper()
	answer, err := c.cli.Put(c.ctx, c.key(name), value, opts...)
	c.ok(err)
	return answer
}

// putAll puts keys one by one with their own names as values and returns the
// revision of the first.
func (c *Case) putAll(names ...string) int64 {
	c.Helper()
	first := int64(0)
	for _, name := range names {
		revision := c.put(name, name).Header.Revision
		if first == 0 {
			first = revision
		}
	}
	return first
}

func (c *Case) get(name string, opts ...clientv3.OpOption) *clientv3.GetResponse {
	c.Helper()
	answer, err := c.cli.Get(c.ctx, c.key(name), opts...)
	c.ok(err)
	return answer
}

// all reads every key of this case.
func (c *Case) all(opts ...clientv3.OpOption) *clientv3.GetResponse {
	c.Helper()
	return c.get("", append([]clientv3.OpOption{clientv3.WithPrefix()}, opts...)...)
}

func (c *Case) del(name string, opts ...clientv3.OpOption) *clientv3.DeleteResponse {
	c.Helper()
	answer, err := c.cli.Delete(c.ctx, c.key(name), opts...)
	c.ok(err)
	return answer
}

func (c *Case) txn(request *pb.TxnRequest) *pb.TxnResponse {
	c.Helper()
	answer, err := c.kv.Txn(c.ctx, request)
	c.ok(err)
	return answer
}

// now is the current revision.
func (c *Case) now() int64 {
	c.Helper()
	return c.get("no such key").Header.Revision
}

// grant makes a lease that is revoked when the case ends.
func (c *Case) grant(seconds int64) clientv3.LeaseID {
	c.Helper()
	answer, err := c.leases.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: seconds})
	c.ok(err)
	c.forget(answer.ID)
	return clientv3.LeaseID(answer.ID)
}

// forget revokes a lease when the case ends.
func (c *Case) forget(id int64) {
	c.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = c.leases.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id})
	})
}

// names are the keys of an answer without the prefix of the case.
func (c *Case) names(kvs []*mvccpb.KeyValue) []string {
	names := []string{}
	for _, kv := range kvs {
		names = append(names, strings.TrimPrefix(string(kv.Key), c.prefix))
	}
	return names
}

func values(kvs []*mvccpb.KeyValue) []string {
	values := []string{}
	for _, kv := range kvs {
		values = append(values, string(kv.Value))
	}
	return values
}

// --- Transactions, written as the wire has them ---------------------------

func (c *Case) opPut(name, value string) *pb.RequestOp {
	return putOp(&pb.PutRequest{Key: []byte(c.key(name)), Value: []byte(value)})
}

func putOp(request *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: request}}
}

func (c *Case) opGet(name string) *pb.RequestOp {
	return rangeOp(&pb.RangeRequest{Key: []byte(c.key(name))})
}

func rangeOp(request *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: request}}
}

func (c *Case) opDelete(name string) *pb.RequestOp {
	return deleteOp(&pb.DeleteRangeRequest{Key: []byte(c.key(name))})
}

func deleteOp(request *pb.DeleteRangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: request}}
}

func txnOp(request *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: request}}
}

// cmp is one comparison, for example c.cmp(clientv3.Version, "a", "=", 1).
func (c *Case) cmp(kind func(string) clientv3.Cmp, name, result string, operand any) *pb.Compare {
	compare := pb.Compare(clientv3.Compare(kind(c.key(name)), result, operand))
	return &compare
}

// holds tells whether all the comparisons hold.
func (c *Case) holds(compares ...*pb.Compare) bool {
	c.Helper()
	return c.txn(&pb.TxnRequest{Compare: compares}).Succeeded
}

// --- Watches, as the wire has them -----------------------------------------

// stream is one gRPC watch stream.
type stream struct {
	c *Case
	pb.Watch_WatchClient
}

func (c *Case) stream() *stream { return c.streamIn(c.ctx) }

func (c *Case) streamIn(ctx context.Context) *stream {
	c.Helper()
	ctx, cancel := context.WithCancel(ctx)
	c.Cleanup(cancel)
	raw, err := pb.NewWatchClient(c.conn).Watch(ctx)
	c.ok(err)
	return &stream{c: c, Watch_WatchClient: raw}
}

func (s *stream) create(request *pb.WatchCreateRequest) {
	s.c.Helper()
	s.c.ok(s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}))
}

func (s *stream) cancel(id int64) {
	s.c.Helper()
	s.c.ok(s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id},
	}}))
}

func (s *stream) askProgress() {
	s.c.Helper()
	s.c.ok(s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
		ProgressRequest: &pb.WatchProgressRequest{},
	}}))
}

// next is the next response, whatever it is.
func (s *stream) next() *pb.WatchResponse {
	s.c.Helper()
	response, err := s.Recv()
	s.c.ok(err)
	return response
}

// watch makes a watch and takes its created response.
func (s *stream) watch(request *pb.WatchCreateRequest) *pb.WatchResponse {
	s.c.Helper()
	s.create(request)
	created := s.next()
	s.c.that(created.Created && !created.Canceled, "want a created response, got %v", created)
	s.c.eq("events in the created response", len(created.Events), 0)
	return created
}

// prefixed is a watch on all keys of the case.
func (c *Case) prefixed() *pb.WatchCreateRequest {
	return &pb.WatchCreateRequest{Key: []byte(c.prefix), RangeEnd: []byte(c.end())}
}

// one is a watch on one key of the case.
func (c *Case) one(name string) *pb.WatchCreateRequest {
	return &pb.WatchCreateRequest{Key: []byte(c.key(name))}
}

// events takes responses until n events have come, and wants exactly n.
func (s *stream) events(n int) []*mvccpb.Event {
	s.c.Helper()
	var events []*mvccpb.Event
	for len(events) < n {
		response := s.next()
		s.c.that(!response.Canceled, "canceled after %d of %d events: %v", len(events), n, response)
		events = append(events, response.Events...)
	}
	s.c.eq("events", len(events), n)
	return events
}

// shown is "PUT a=1" or "DELETE a" for each event.
func (c *Case) shown(events []*mvccpb.Event) []string {
	lines := []string{}
	for _, event := range events {
		line := event.Type.String() + " " + strings.TrimPrefix(string(event.Kv.Key), c.prefix)
		if event.Type == mvccpb.PUT {
			line += "=" + string(event.Kv.Value)
		}
		lines = append(lines, line)
	}
	return lines
}

// receive is the next response of clientv3's watch. It fails where the channel
// is closed, which is also how a case ends that waited too long.
func (c *Case) receive(watch clientv3.WatchChan) clientv3.WatchResponse {
	c.Helper()
	response, open := <-watch
	c.that(open, "the watch is closed")
	return response
}
