package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Client is what a server says of an xDS client.
type Client struct {
	Principal      string // name; empty: anonymous
	Node, Protocol string
	Stream         uint64
	Types          []ClientType
}

// ClientType is a type of resources that a client subscribes to.
type ClientType struct {
	Type    string // cds, eds, lds or rds
	Refused string // the text of the last refusal
	Sent    uint64 `json:"sent_revision"`
	Acked   uint64 `json:"acked_revision"`
}

// Clients reads `polestar get clients`.
func (s *Server) Clients() ([]Client, error) {
	out, err := Run("get", "clients", "-o", "json", "--server", s.HTTP)
	if err != nil {
		return nil, err
	}
	var clients []Client
	if err := json.Unmarshal(out, &clients); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return clients, nil
}

// Metric reads a metric; one with labels is named with them, as it is shown:
// polestar_xds_responses_total{type="eds"}.
func (s *Server) Metric(name string) (float64, error) {
	client := &http.Client{Timeout: 5 * time.Second}
	res, err := client.Get("http://" + s.HTTP + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
