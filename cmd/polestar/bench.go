package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// benchTarget is what both benchmarks need to know of the server.
type benchTarget struct {
	clientTLS
	polaris, output string
	repeat, pairs   int
	anywhere        bool
}

func benchCommand() *cobra.Command {
	var t benchTarget
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure any Polaris-compatible server",
		Long: "Measure a running server over its own protocols. Every loop is bounded; what was registered is removed at the end.",
	}
	fs := cmd.PersistentFlags()
	fs.StringVar(&t.polaris, "polaris-addr", "127.0.0.1:8091", "the Polaris gRPC door")
	fs.IntVar(&t.repeat, "repeat", 5, "repetitions; the median is the figure to quote")
	fs.IntVar(&t.pairs, "metadata-pairs", 5, "metadata pairs of each instance, 0…60")
	fs.StringVarP(&t.output, "output", "o", "table", "table or json")
	t.flags(fs)
	fs.BoolVar(&t.anywhere, "not-loopback", false, "allow a server that is not on this machine")
	tokenFlags(fs)
	return group(cmd, benchRegisterCommand(&t), benchPushCommand(&t))
}

// check bounds what both benchmarks are told.
func (t *benchTarget) check(addrs ...string) error {
	if t.repeat < 1 || t.repeat > 100 {
		return fmt.Errorf("--repeat: %d is not between 1 and 100", t.repeat)
	}
	if t.pairs < 0 || t.pairs > 60 {
		return fmt.Errorf("--metadata-pairs: %d is not between 0 and 60", t.pairs)
	}
	if t.output != "table" && t.output != "json" {
		return fmt.Errorf("--output: %q is neither table nor json", t.output)
	}
	for _, a := range addrs {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("%q is not host:port", a)
		}
		if !t.anywhere && !onThisMachine(a) {
			return fmt.Errorf("%s is not on this machine; add --not-loopback if its owner agrees to the load", a)
		}
	}
	return nil
}

// instance makes the n-th instance of a service.
func (t *benchTarget) instance(service string, n int) *service_manage.Instance {
	m := make(map[string]string, t.pairs)
	for k := range t.pairs {
		m[fmt.Sprintf("key-%d", k)] = fmt.Sprintf("value-%d", k)
	}
	return &service_manage.Instance{
		Namespace: wrapperspb.String("bench"), Service: wrapperspb.String(service),
		Host: wrapperspb.String(fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)), Port: wrapperspb.UInt32(8080),
		Protocol: wrapperspb.String("grpc"), Version: wrapperspb.String("1.0"), Metadata: m,
	}
}

// answered folds a Polaris answer into an error.
func answered(res *service_manage.Response, err error) error {
	if err == nil && res.GetCode().GetValue() != 200000 {
		err = fmt.Errorf("code %d: %s", res.GetCode().GetValue(), res.GetInfo().GetValue())
	}
	return err
}

// latencies sums up durations.
type latencies struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func summarise(all []time.Duration) latencies {
	if len(all) == 0 {
		return latencies{}
	}
	slices.Sort(all)
	at := func(q float64) float64 {
		n := int(math.Ceil(q*float64(len(all)))) - 1
		return ms(all[min(max(n, 0), len(all)-1)])
	}
	return latencies{Count: len(all), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: ms(all[len(all)-1])}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// median of some figures.
func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	if len(s) == 0 {
		return 0
	}
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// report writes rows as a table, or v as JSON.
func report(w io.Writer, output string, v any, header string, rows [][]any) error {
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	errs := []error{nil}
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(tw, format, args...)
		errs = append(errs, err)
	}
	line("%s\t\n", header)
	for _, r := range rows {
		line(strings.Repeat("%v\t", len(r))+"\n", r...)
	}
	return errors.Join(append(errs, tw.Flush())...)
}
