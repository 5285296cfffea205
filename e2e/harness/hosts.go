package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Host is an endpoint as an Envoy has it.
type Host struct {
	Weight  uint32
	Healthy bool // as the server says
}

// Hosts reads what an Envoy has: cluster → ip:port → host.
func (e *Envoy) Hosts() (map[string]map[string]Host, error) {
	client := &http.Client{Timeout: 5 * time.Second}
	res, err := client.Get("http://" + e.Admin + "/clusters?format=json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var dump struct {
		Clusters []struct {
			Name  string
			Hosts []struct {
				Address struct {
					Socket struct {
						Address string
						Port    uint32 `json:"port_value"`
					} `json:"socket_address"`
				}
				Weight uint32
				Health struct {
					EDS string `json:"eds_health_status"`
				} `json:"health_status"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := json.NewDecoder(res.Body).Decode(&dump); err != nil {
		return nil, err
	}
	out := map[string]map[string]Host{}
	for _, c := range dump.Clusters {
		out[c.Name] = map[string]Host{}
		for _, h := range c.Hosts {
			addr := fmt.Sprintf("%s:%d", h.Address.Socket.Address, h.Address.Socket.Port)
			out[c.Name][addr] = Host{Weight: h.Weight, Healthy: h.Health.EDS == "HEALTHY"}
		}
	}
	return out, nil
}
