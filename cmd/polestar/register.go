package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
	"polestar/naming/polaris"
)

// place is an instance on the command line, for the Polaris door.
type place struct {
	polaris                           remote
	namespace, service, host, vpc, id string
	port                              uint16
}

func (p *place) flags(fs *pflag.FlagSet) {
	p.polaris.flags(fs, "polaris-addr", "127.0.0.1:8091", "the Polaris gRPC door of the server")
	fs.StringVar(&p.service, "service", "", "service of the instance: namespace/service")
	fs.StringVar(&p.namespace, "namespace", "", "namespace of the service, when its name has slashes")
	fs.StringVar(&p.host, "host", "", "IP address or DNS name")
	fs.Uint16Var(&p.port, "port", 0, "port, 1…65535")
	fs.StringVar(&p.vpc, "vpc-id", "", "private network of the host")
}

// message is the instance as the protocol names it.
func (p *place) message() *service_manage.Instance {
	ns, name := key(p.namespace, p.service)
	in := &service_manage.Instance{
		Namespace: wrapperspb.String(ns), Service: wrapperspb.String(name), Host: wrapperspb.String(p.host), Port: wrapperspb.UInt32(uint32(p.port)),
	}
	if p.vpc != "" {
		in.VpcId = wrapperspb.String(p.vpc)
	}
	if p.id != "" {
		in.Id = wrapperspb.String(p.id)
	}
	return in
}

// complete reports what is missing to find an instance without its id.
func (p *place) complete() error {
	if p.service == "" || p.host == "" || p.port == 0 {
		return errors.New("--service, --host and --port are needed")
	}
	return nil
}

// callTime bounds one call of the Polaris door.
const callTime = 10 * time.Second

// called is the outcome of one call.
func called(res *service_manage.Response, err error) error {
	switch code := res.GetCode().GetValue(); {
	case err != nil:
		return &serverError{0, fmt.Errorf("no answer from the server: %w%s", err, preface(err))}
	case code != uint32(model.Code_ExecuteSuccess):
		return &serverError{int(code / 1000), fmt.Errorf("the server answered %d: %s", code, res.GetInfo().GetValue())}
	}
	return nil
}

// preface is what helps when the first bytes of a connection were not
// understood; empty for other errors. The error has no type, only this text.
func preface(err error) string {
	if strings.Contains(err.Error(), "server preface: EOF") || strings.Contains(err.Error(), "server preface: read tcp") {
		return " (a door that speaks TLS needs --tls or --ca-file)"
	}
	return ""
}

// registration is what `polestar register` registers.
type registration struct {
	place
	weight                            uint16
	ttl                               uint32
	protocol, version, logicSet       string
	region, zone, campus              string
	metadata                          []string
	healthy, isolated, keep, leaveOut bool
}

func registerCommand() *cobra.Command {
	var r registration
	cmd := &cobra.Command{
		Use:   "register --service NAMESPACE/SERVICE --host HOST --port PORT",
		Short: "Register an instance, as an SDK would",
		Long: `Register an instance over the Polaris protocol, for tests and for workloads
without an SDK. With --keep-alive the command goes on sending beats, registers
again when the server does not know the instance any more, and deregisters when
it is interrupted.`,
		Example: `  polestar register --service default/cart --host 10.0.0.1 --port 8080 --metadata lane=blue
  polestar register --service default/cart --host 10.0.0.1 --port 8080 --keep-alive`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	r.flags(fs)
	fs.StringVar(&r.id, "id", "", "id of the instance (default: computed from its place)")
	fs.Uint16Var(&r.weight, "weight", naming.DefaultWeight, "share of traffic")
	fs.Uint32Var(&r.ttl, "ttl", 0, "seconds between beats; 0: health is not checked, with --keep-alive 5")
	fs.StringVar(&r.protocol, "protocol", "", "protocol")
	fs.StringVar(&r.version, "version", "", "version")
	fs.StringVar(&r.logicSet, "logic-set", "", "logic set")
	fs.StringVar(&r.region, "region", "", "where it runs")
	fs.StringVar(&r.zone, "zone", "", "where it runs")
	fs.StringVar(&r.campus, "campus", "", "where it runs")
	fs.StringArrayVar(&r.metadata, "metadata", nil, "key=value; may be repeated")
	fs.BoolVar(&r.healthy, "healthy", true, "healthy at the start")
	fs.BoolVar(&r.isolated, "isolated", false, "isolated by its own wish (default: as before)")
	fs.BoolVar(&r.keep, "keep-alive", false, "send beats until interrupted, then deregister")
	fs.BoolVar(&r.leaveOut, "stay", false, "with --keep-alive: do not deregister at the end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in, err := r.message(fs)
		if err != nil {
			return err
		}
		conns, closeAll, err := r.polaris.dial(r.polaris.addr, 1)
		if err != nil {
			return fmt.Errorf("--polaris-addr %q: %w", r.polaris.addr, err)
		}
		defer closeAll()
		return r.run(cmd, service_manage.NewPolarisGRPCClient(conns[0]), in)
	}
	return cmd
}

// message is the whole registration; flags that were not given are not sent.
func (r *registration) message(fs *pflag.FlagSet) (*service_manage.Instance, error) {
	if err := r.complete(); err != nil {
		return nil, err
	}
	in := r.place.message()
	in.Weight, in.Protocol, in.Version = wrapperspb.UInt32(uint32(r.weight)), wrapperspb.String(r.protocol), wrapperspb.String(r.version)
	in.Healthy, in.LogicSet = wrapperspb.Bool(r.healthy), wrapperspb.String(r.logicSet)
	if fs.Changed("isolated") {
		in.Isolate = wrapperspb.Bool(r.isolated)
	}
	if r.region != "" || r.zone != "" || r.campus != "" {
		in.Location = &model.Location{Region: wrapperspb.String(r.region), Zone: wrapperspb.String(r.zone), Campus: wrapperspb.String(r.campus)}
	}
	pairs, err := pairsOf(r.metadata)
	if err != nil {
		return nil, fmt.Errorf("--metadata: %w", err)
	}
	in.Metadata = map[string]string{}
	for k, v := range pairs {
		if v == nil {
			return nil, fmt.Errorf("--metadata: %q- removes nothing here; key=value is expected", k)
		}
		in.Metadata[k] = *v
	}
	if r.keep && r.ttl == 0 {
		r.ttl = naming.DefaultTTL
	}
	if r.ttl > 0 {
		in.EnableHealthCheck = wrapperspb.Bool(true)
		in.HealthCheck = &service_manage.HealthCheck{
			Type: service_manage.HealthCheck_HEARTBEAT, Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(r.ttl)},
		}
	}
	return in, nil
}

func (r *registration) run(cmd *cobra.Command, client service_manage.PolarisGRPCClient, in *service_manage.Instance) error {
	var head metadata.MD
	register := func() error {
		ctx, cancel := context.WithTimeout(cmd.Context(), callTime)
		defer cancel()
		res, err := client.RegisterInstance(ctx, in, grpc.Header(&head))
		if err = called(res, err); err == nil {
			in.Id = res.GetInstance().GetId()
		}
		return err
	}
	if err := register(); err != nil {
		return err
	}
	at := ""
	if revision := head.Get(polaris.RevisionHeader); len(revision) == 1 { // not every server says it
		at = " at revision " + revision[0]
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "registered %s, %s:%d of %s/%s%s\n",
		in.GetId().GetValue(), r.host, r.port, in.GetNamespace().GetValue(), in.GetService().GetValue(), at); err != nil {
		return err
	}
	if !r.keep {
		return nil
	}
	r.beat(cmd, client, in, register)
	if r.leaveOut {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), callTime)
	defer cancel()
	return called(client.DeregisterInstance(ctx, in))
}

// beat sends beats until the command is interrupted. What goes wrong is told
// and tried again at the next beat; the same trouble is told once.
func (r *registration) beat(cmd *cobra.Command, client service_manage.PolarisGRPCClient, in *service_manage.Instance, register func() error) {
	tick := time.NewTicker(time.Duration(r.ttl) * time.Second)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-cmd.Context().Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(r.ttl)*time.Second)
		res, err := client.Heartbeat(ctx, &service_manage.Instance{Id: in.GetId()})
		cancel()
		if err == nil && res.GetCode().GetValue() == uint32(model.Code_NotFoundResource) {
			if err = register(); err == nil {
				cmd.PrintErrln("registered again: the server did not know the instance any more")
			}
		} else {
			err = called(res, err)
		}
		switch {
		case cmd.Context().Err() != nil: // the end, not a failure
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			cmd.PrintErrln("beat failed:", told)
		}
	}
}

func deregisterCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "deregister INSTANCE... | --service NAMESPACE/SERVICE --host HOST --port PORT",
		Short: "Deregister instances, as an SDK would; what is not there is no error",
	}
	p.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		byPlace := p.service != "" || p.host != "" || p.port != 0
		var all []*service_manage.Instance
		switch {
		case byPlace && len(ids) > 0:
			return errors.New("name instances, or --service, --host and --port, not both")
		case byPlace || len(ids) == 0:
			if err := p.complete(); err != nil {
				return err
			}
			all = append(all, p.message())
		}
		for _, id := range ids {
			all = append(all, &service_manage.Instance{Id: wrapperspb.String(id)})
		}
		conns, closeAll, err := p.polaris.dial(p.polaris.addr, 1)
		if err != nil {
			return fmt.Errorf("--polaris-addr %q: %w", p.polaris.addr, err)
		}
		defer closeAll()
		client := service_manage.NewPolarisGRPCClient(conns[0])
		for _, in := range all {
			ctx, cancel := context.WithTimeout(cmd.Context(), callTime)
			err := called(client.DeregisterInstance(ctx, in))
			cancel()
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
