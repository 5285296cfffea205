package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"polestar/e2e/harness"
	"polestar/e2e/history"
	"polestar/naming"
)

// notes take down what was asked and answered, in the order of one counter.
type notes struct {
	clock atomic.Uint64
	marks atomic.Uint64
	mu    sync.Mutex // guards everything below
	ops   []history.Op
	reads []history.Read
}

func (n *notes) op(o history.Op) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ops = append(n.ops, o)
}

func (n *notes) read(r history.Read) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reads = append(n.reads, r)
}

// ids is how many instances all clients write.
const ids = 5

// client is one who writes: one after the other, at one server.
type client struct {
	*round
	node    int
	agent   string
	rng     *rand.Rand
	cc      *grpc.ClientConn
	http    *http.Client
	polaris service_manage.PolarisGRPCClient
}

func (r *round) client(node, n int) (*client, error) {
	c := &client{
		round: r, node: node, agent: fmt.Sprintf("client-%d-%d", node, n),
		rng:  rand.New(rand.NewPCG(r.seed, uint64(10*node+n+1))), //nolint:gosec // it must be repeatable
		http: &http.Client{Transport: &http.Transport{}},
	}
	var err error
	if c.cc, err = dialAgain(r.nodes[node].Polaris, grpc.WithUserAgent(c.agent)); err != nil {
		return nil, err
	}
	c.polaris = service_manage.NewPolarisGRPCClient(c.cc)
	return c, nil
}

// dialAgain connects, and soon again when the server was away.
func dialAgain(addr string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second,
	}))...)
}

// patience is how long a client waits for an answer.
func (c *client) patience() time.Duration {
	for _, f := range c.faults {
		if f == "impatience" && c.rng.IntN(2) == 0 {
			return time.Duration(500+c.rng.IntN(8000)) * time.Microsecond
		}
	}
	return 5 * time.Second
}

// write writes until ctx ends; what is begun is waited for.
func (c *client) write(ctx context.Context) {
	defer func() { _ = c.cc.Close() }()
	defer c.http.CloseIdleConnections()
	for ctx.Err() == nil {
		o := history.Op{
			Mark: strconv.FormatUint(c.notes.marks.Add(1), 10), Agent: c.agent, Node: c.node, Instance: fmt.Sprintf("10.1.0.%d:80", c.rng.IntN(ids)+1),
			Isolated: c.rng.IntN(4) == 0,
		}
		mark, _ := strconv.Atoi(o.Mark)
		o.Weight = uint32(mark%60_000) + 1 // unlike those before, so that nothing is said twice
		act := c.register
		switch n := c.rng.IntN(10); {
		case n < 3:
			o.Kind, act = history.Deregister, c.deregister
		case n < 5:
			o.Kind, act = history.Operate, c.operate
		}
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.patience())
		o.Asked = c.notes.clock.Add(1)
		act(call, &o)
		if o.Outcome != history.Unknown {
			o.Told = c.notes.clock.Add(1)
		}
		cancel()
		c.notes.op(o)
		if o.Outcome == history.Unknown {
			rest(ctx, 10*time.Millisecond) // the server may be away
		}
	}
}

func (c *client) register(ctx context.Context, o *history.Op) {
	i := harness.Instance(c.service, o.Instance, harness.Weight(o.Weight))
	i.Metadata = map[string]string{"mark": o.Mark}
	c.call(ctx, c.polaris.RegisterInstance, i, o)
}

func (c *client) deregister(ctx context.Context, o *history.Op) {
	c.call(ctx, c.polaris.DeregisterInstance, harness.Instance(c.service, o.Instance), o)
}

func (c *client) call(
	ctx context.Context, f func(context.Context, *service_manage.Instance, ...grpc.CallOption) (*service_manage.Response, error),
	i *service_manage.Instance, o *history.Op,
) {
	var header metadata.MD
	res, err := f(ctx, i, grpc.Header(&header))
	if err != nil {
		o.Answer = err.Error()
		return
	}
	code := res.GetCode().GetValue()
	o.Answer = fmt.Sprintf("%d: %s", code, res.GetInfo().GetValue())
	switch {
	case code == 200000:
		o.Outcome = history.Done
		if v := header.Get("polestar-revision"); len(v) == 1 {
			o.Revision, _ = strconv.ParseUint(v[0], 10, 64)
		}
	case code == 500000, code == 500001 && mayBeDone(o.Answer):
	default:
		o.Outcome = history.NotDone
	}
}

// mayBeDone reports whether an answer leaves open what was done. Others of its
// code say that nothing was.
func mayBeDone(answer string) bool {
	return strings.Contains(answer, "outcome unknown") || strings.Contains(answer, "cannot show it yet")
}

// operate sets weight and isolation by the API for operators.
func (c *client) operate(ctx context.Context, o *history.Op) {
	host, port := harness.HostPort(o.Instance)
	id := naming.InstanceID(naming.ServiceKey{Namespace: "default", Name: c.service}, "", host, port)
	body, err := json.Marshal(map[string]any{"weight": o.Weight, "isolated": o.Isolated, "reason": o.Mark})
	if err != nil {
		panic(err) // it is made of numbers
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, "http://"+c.nodes[c.node].HTTP+"/api/v1/instances/"+id, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		o.Answer = err.Error()
		return
	}
	defer func() { _ = res.Body.Close() }()
	var said struct {
		Revision uint64
		Detail   string
	}
	err = json.NewDecoder(res.Body).Decode(&said)
	o.Answer = fmt.Sprintf("%s %s", res.Status, said.Detail)
	switch {
	case err != nil, res.StatusCode == http.StatusGatewayTimeout, res.StatusCode == http.StatusInternalServerError:
	case res.StatusCode == http.StatusOK:
		o.Outcome, o.Revision = history.Done, said.Revision
	case res.StatusCode == http.StatusNotFound:
		o.Outcome = history.NotThere
	default:
		o.Outcome = history.NotDone
	}
}
