package web

import (
	"time"

	"polestar/naming"
)

// The JSON forms of what is registered. Times are RFC 3339 in UTC.
type (
	// Namespace is one namespace.
	Namespace struct {
		Name            string   `json:"name"`
		Comment         string   `json:"comment,omitempty"`
		Owner           string   `json:"owner,omitempty"`
		ServiceExportTo []string `json:"service_export_to,omitempty"`
		Created         string   `json:"created"`
		Modified        string   `json:"modified"`
		Revision        uint64   `json:"revision"`
	}
	// Service is one service with counts of its instances.
	Service struct {
		Namespace  string            `json:"namespace"`
		Name       string            `json:"name"`
		Instances  int               `json:"instances"`
		Healthy    int               `json:"healthy"`
		Isolated   int               `json:"isolated"`
		Metadata   map[string]string `json:"metadata,omitempty"`
		Ports      string            `json:"ports,omitempty"`
		Business   string            `json:"business,omitempty"`
		Department string            `json:"department,omitempty"`
		Comment    string            `json:"comment,omitempty"`
		Owner      string            `json:"owner,omitempty"`
		Cmdb       []string          `json:"cmdb,omitempty"`
		ExportTo   []string          `json:"export_to,omitempty"`
		Auto       bool              `json:"auto_created,omitempty"` // and nobody touched it since
		Created    string            `json:"created"`
		Modified   string            `json:"modified"`
		Revision   uint64            `json:"revision"` // of the last change, of instances too
		// OwnRevision is that of the service itself: what If-Match compares.
		OwnRevision uint64 `json:"own_revision"`
	}
	// Alias is another name of a service.
	Alias struct {
		Namespace    string `json:"namespace"`
		Name         string `json:"name"`
		ForNamespace string `json:"for_namespace"`
		ForService   string `json:"for_service"`
		Comment      string `json:"comment,omitempty"`
		Owner        string `json:"owner,omitempty"`
		Created      string `json:"created"`
		Modified     string `json:"modified"`
		Revision     uint64 `json:"revision"`
	}
	// Instance is one instance. Weight, Healthy and Isolated are what is in
	// force.
	Instance struct {
		ID        string            `json:"id"`
		Namespace string            `json:"namespace"`
		Service   string            `json:"service"`
		Host      string            `json:"host"`
		Port      uint32            `json:"port"`
		VpcID     string            `json:"vpc_id,omitempty"`
		Weight    uint32            `json:"weight"`
		Healthy   bool              `json:"healthy"`
		Isolated  bool              `json:"isolated"`
		Set       *Set              `json:"set,omitempty"` // what an operator set
		Own       *Attributes       `json:"own,omitempty"` // beside Set: what the client and its beats say
		TTL       uint32            `json:"ttl_seconds"`   // 0: health is not checked
		Protocol  string            `json:"protocol,omitempty"`
		Version   string            `json:"version,omitempty"`
		LogicSet  string            `json:"logic_set,omitempty"`
		Priority  uint32            `json:"priority,omitempty"`
		Region    string            `json:"region,omitempty"`
		Zone      string            `json:"zone,omitempty"`
		Campus    string            `json:"campus,omitempty"`
		Metadata  map[string]string `json:"metadata,omitempty"`
		Created   string            `json:"created"`
		Modified  string            `json:"modified"`
		Revision  uint64            `json:"revision"`
	}
	// Set is what an operator set on an instance; what is not there is the
	// client's.
	Set struct {
		Weight   *uint32 `json:"weight,omitempty"`
		Healthy  *bool   `json:"healthy,omitempty"`
		Isolated *bool   `json:"isolated,omitempty"`
		By       string  `json:"by"` // principal or address
		Reason   string  `json:"reason,omitempty"`
		Since    string  `json:"since"`
	}
	// Attributes are the three that a client and an operator can set.
	Attributes struct {
		Weight   uint32 `json:"weight"`
		Healthy  bool   `json:"healthy"`
		Isolated bool   `json:"isolated"`
	}
	// Override is what is kept of an operator's settings while their instance is
	// not registered.
	Override struct {
		Instance  string `json:"instance"`
		Namespace string `json:"namespace"`
		Service   string `json:"service"`
		Host      string `json:"host"`
		Port      uint32 `json:"port"`
		Set       Set    `json:"set"`
		Revision  uint64 `json:"revision"`
	}
	// Mutation answers a write: what it did, the revision that made it so, and
	// the object as it is now, or as it was when it is deleted.
	Mutation struct {
		Outcome   string     `json:"outcome"` // created, updated, unchanged or deleted
		Revision  uint64     `json:"revision"`
		Namespace *Namespace `json:"namespace,omitempty"`
		Service   *Service   `json:"service,omitempty"`
		Alias     *Alias     `json:"alias,omitempty"`
		Instance  *Instance  `json:"instance,omitempty"`
		Instances []Instance `json:"instances,omitempty"`
		User      *User      `json:"user,omitempty"`
		Group     *Group     `json:"group,omitempty"`
		Token     *Token     `json:"token,omitempty"` // of a creation with its text
		Policy    *Policy    `json:"policy,omitempty"`
	}
)

// Time writes t as the API does; empty for the zero time.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func micros(m naming.Micros) string { return Time(time.UnixMicro(int64(m))) }

func namespace(n *naming.Namespace) Namespace {
	return Namespace{
		Name: n.Name, Comment: n.Comment, Owner: n.Owner, ServiceExportTo: n.ServiceExportTo,
		Created: micros(n.Created), Modified: micros(n.Modified), Revision: uint64(n.Revision),
	}
}

func service(st *naming.ServiceState) Service {
	s := st.Service
	out := Service{
		Namespace: s.Key.Namespace, Name: s.Key.Name, Instances: len(st.Instances), Metadata: s.Metadata.Map(),
		Ports: s.Ports, Business: s.Business, Department: s.Department, Comment: s.Comment, Owner: s.Owner,
		ExportTo: s.ExportTo, Auto: s.Auto, Created: micros(s.Created), Modified: micros(s.Modified),
		Revision: uint64(st.Revision), OwnRevision: uint64(s.Revision),
	}
	if s.Cmdb != ([3]string{}) {
		out.Cmdb = s.Cmdb[:]
	}
	for _, i := range st.Instances {
		if i.Healthy {
			out.Healthy++
		}
		if i.Isolated {
			out.Isolated++
		}
	}
	return out
}

func alias(s *naming.Service) Alias {
	return Alias{
		Namespace: s.Key.Namespace, Name: s.Key.Name, ForNamespace: s.AliasFor.Namespace, ForService: s.AliasFor.Name,
		Comment: s.Comment, Owner: s.Owner, Created: micros(s.Created), Modified: micros(s.Modified), Revision: uint64(s.Revision),
	}
}

func instance(i *naming.Instance) Instance {
	out := Instance{
		ID: i.ID, Namespace: i.Service.Namespace, Service: i.Service.Name, Host: i.Host, Port: i.Port, VpcID: i.VpcID, Weight: i.Weight,
		Healthy: i.Healthy, Isolated: i.Isolated, TTL: i.TTL, Protocol: i.Protocol, Version: i.Version, LogicSet: i.LogicSet, Priority: i.Priority,
		Region: i.Location.Region, Zone: i.Location.Zone, Campus: i.Location.Campus, Metadata: i.Metadata.Map(),
		Created: micros(i.Created), Modified: micros(i.Modified), Revision: uint64(i.Revision),
	}
	if i.Operator != nil {
		own := Attributes(i.Own())
		out.Set, out.Own = new(set(i.Operator)), &own
	}
	return out
}

func set(o *naming.Operator) Set {
	return Set{Weight: o.Weight, Healthy: o.Healthy, Isolated: o.Isolated, By: o.By, Reason: o.Reason, Since: micros(o.Since)}
}

func override(o *naming.Override) Override {
	return Override{
		Instance: o.InstanceID, Namespace: o.Service.Namespace, Service: o.Service.Name, Host: o.Host, Port: o.Port,
		Set: set(&o.Operator), Revision: uint64(o.Revision),
	}
}
