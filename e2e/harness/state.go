package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Client is what a server says of an xDS client.
type Client struct {
	Node, Protocol string
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

// Patch changes an object over the admin API: path is what follows /api/v1/. It
// returns the revision that made the change.
func (s *Server) Patch(path, body string) (uint64, error) {
	req, err := http.NewRequest(http.MethodPatch, "http://"+s.HTTP+"/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("PATCH %s: %s: %s", path, res.Status, answer)
	}
	var done struct{ Revision uint64 }
	return done.Revision, json.Unmarshal(answer, &done)
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
