// Command polarisgo drives polaris-go by lines on standard input; it answers
// one JSON line each. Usage: polarisgo host:port. It shows the token in
// POLARIS_TOKEN.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/polarismesh/polaris-go/api"
	"github.com/polarismesh/polaris-go/pkg/config"
	"github.com/polarismesh/polaris-go/pkg/model"
)

const namespace = "default"

type driver struct {
	provider api.ProviderAPI
	consumer api.ConsumerAPI
}

func main() {
	cfg := config.NewDefaultConfiguration([]string{os.Args[1]})
	cfg.GetGlobal().GetStatReporter().SetEnable(false)
	cfg.GetConsumer().GetLocalCache().SetPersistEnable(false)
	cfg.GetConsumer().GetLocalCache().SetServiceRefreshInterval(200 * time.Millisecond)
	cfg.Provider.MinRgisterInterval = time.Second // 30 s by default
	cfg.GetGlobal().GetServerConnector().SetToken(os.Getenv("POLARIS_TOKEN"))
	sdk, err := api.InitContextByConfig(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	d := driver{api.NewProviderAPIByContext(sdk), api.NewConsumerAPIByContext(sdk)}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer, err := d.do(strings.Fields(in.Text()))
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		line, _ := json.Marshal(answer)
		fmt.Println(string(line))
	}
}

// do runs one command: register SERVICE HOST PORT TTL WEIGHT [auto],
// together SERVICE HOST PORT TTL WEIGHT (eight times at once),
// heartbeat SERVICE HOST PORT, deregister SERVICE HOST PORT, all SERVICE,
// one SERVICE, watch SERVICE (answers when an event comes), backend (see there).
func (d driver) do(w []string) (any, error) {
	if len(w) < 2 {
		return nil, fmt.Errorf("not a command: %v", w)
	}
	port := 0
	if len(w) > 3 {
		port, _ = strconv.Atoi(w[3])
	}
	switch w[0] {
	case "register":
		return d.register(w, port)
	case "together":
		return d.together(w, port)
	case "heartbeat":
		r := &api.InstanceHeartbeatRequest{}
		r.Namespace, r.Service, r.Host, r.Port = namespace, w[1], w[2], port
		return struct{}{}, d.provider.Heartbeat(r)
	case "deregister":
		r := &api.InstanceDeRegisterRequest{}
		r.Namespace, r.Service, r.Host, r.Port = namespace, w[1], w[2], port
		return struct{}{}, d.provider.Deregister(r)
	case "all":
		r := &api.GetAllInstancesRequest{}
		r.Namespace, r.Service = namespace, w[1]
		res, err := d.consumer.GetAllInstances(r)
		if err != nil {
			return nil, err
		}
		return shown(res.Instances), nil
	case "one":
		r := &api.GetOneInstanceRequest{}
		r.Namespace, r.Service = namespace, w[1]
		res, err := d.consumer.GetOneInstance(r)
		if err != nil {
			return nil, err
		}
		return shown(res.Instances), nil
	case "watch":
		return d.watch(w[1])
	case "backend":
		return d.backend(w)
	default:
		return nil, fmt.Errorf("unknown command %q", w[0])
	}
}

func (d driver) register(w []string, port int) (any, error) {
	r := request(w[1], w[2], port, w[4], w[5])
	r.AutoHeartbeat = len(w) > 6 // the SDK beats by itself
	register := d.provider.Register
	if r.AutoHeartbeat {
		register = d.provider.RegisterInstance
	}
	res, err := register(r)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": res.InstanceID}, nil
}

// request is a registration with a value in every field.
func request(service, host string, port int, ttl, weight string) *api.InstanceRegisterRequest {
	seconds, _ := strconv.Atoi(ttl)
	share, _ := strconv.Atoi(weight)
	protocol, version := "grpc", "1.2.3"
	r := &api.InstanceRegisterRequest{}
	r.Namespace, r.Service, r.Host, r.Port = namespace, service, host, port
	r.Weight, r.Protocol, r.Version = &share, &protocol, &version
	r.Metadata = map[string]string{"env": "test", "owner": "käthe"}
	r.Location = &model.Location{Region: "r1", Zone: "z1", Campus: "c1"}
	if seconds > 0 {
		r.SetTTL(seconds)
	}
	return r
}

// together registers the same instance from several goroutines; all must
// succeed with the same id.
func (d driver) together(w []string, port int) (any, error) {
	const callers = 8
	answers := make(chan any, callers)
	for range callers {
		go func() {
			answer, err := d.register(w, port)
			if err != nil {
				answer = err
			}
			answers <- answer
		}()
	}
	ids := map[string]bool{}
	for range callers {
		switch a := (<-answers).(type) {
		case map[string]string:
			ids[a["id"]] = true
		case error:
			return nil, a
		}
	}
	if len(ids) != 1 {
		return nil, fmt.Errorf("one instance has the ids %v", ids)
	}
	return struct{}{}, nil
}

func (d driver) watch(service string) (any, error) {
	r := &api.WatchServiceRequest{}
	r.Key = model.ServiceKey{Namespace: namespace, Service: service}
	res, err := d.consumer.WatchService(r)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case e := <-res.EventChannel:
		return map[string]any{"event": fmt.Sprintf("%T", e)}, nil
	case <-timer.C:
		return nil, fmt.Errorf("no event")
	}
}

func shown(all []model.Instance) any {
	out := []map[string]any{}
	for _, i := range all {
		out = append(out, map[string]any{
			"id": i.GetId(), "host": i.GetHost(), "port": i.GetPort(), "weight": i.GetWeight(), "healthy": i.IsHealthy(),
			"isolated": i.IsIsolated(), "protocol": i.GetProtocol(), "version": i.GetVersion(), "region": i.GetRegion(),
			"zone": i.GetZone(), "campus": i.GetCampus(), "metadata": i.GetMetadata(),
		})
	}
	return map[string]any{"instances": out}
}
