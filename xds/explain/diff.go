package explain

import (
	"context"

	"polestar/naming"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

// maxDiffs bounds the resources that the difference of one client lists.
const maxDiffs = 1000

// Diff is what one client lacks of what is there for it now.
type Diff struct {
	Client
	Converged bool       `json:"converged"` // it lacks nothing; what does not exist nobody lacks
	Resources []Resource `json:"resources"` // those that are not synced
	More      int        `json:"more"`      // beyond the 1000 that are listed
}

// Diffs compares what clients have with what is there for them, oldest stream
// first: those of one client, or of all when it is empty. It returns at most
// limit of them from offset on, and how many there are in all. Error: NotFound.
func (x *Explainer) Diffs(ctx context.Context, client string, offset, limit int) ([]Diff, int, error) {
	x.settle(ctx)
	all := x.Clients.Clients()
	if client != "" {
		var err error
		if all, err = x.Find(client); err != nil {
			return nil, 0, err
		}
	}
	out := []Diff{}
	for _, c := range all[min(offset, len(all)):] {
		if len(out) == limit || ctx.Err() != nil {
			break
		}
		if now, names, ok := x.Clients.Client(c.ID); ok {
			out = append(out, diffOf(x.World(), now, names))
		}
	}
	return out, len(all), ctx.Err()
}

// diffOf compares.
func diffOf(w naming.World, c ads.ClientStatus, names []ads.NameStatus) Diff {
	out := Diff{Client: ClientOf(c), Converged: true, Resources: []Resource{}}
	asked := map[string]bool{} // for endpoints
	for _, n := range names {
		if n.Type == resource.Endpoints {
			asked[n.Name] = n.Named
		}
	}
	for _, n := range names {
		switch n.State() {
		case ads.Synced:
			// Whoever uses a cluster has to ask for its endpoints, on the same stream
			// if that carries all types.
			if assignment, ok := endpointsOf(w, n); ok && c.Service == aggregated && !asked[assignment] {
				out.add(Resource{Type: resource.Endpoints.String(), Name: assignment, State: NotSubscribed})
			}
		case ads.Missing:
			out.list(ResourceOf(n))
		default:
			out.add(ResourceOf(n))
		}
	}
	return out
}

// aggregated is what ads calls a stream of all types.
const aggregated = "ads"

// endpointsOf names the load assignment that a cluster asks for; false for one
// that asks for none.
func endpointsOf(w naming.World, n ads.NameStatus) (string, bool) {
	if n.Type != resource.Cluster {
		return "", false
	}
	key, ok := resource.ServiceOf(n.Name)
	if st := w.Service(key); !ok || st == nil || resource.ByName(st) {
		return "", false
	}
	return resource.AssignmentOf(n.Name), true
}

// add lists what the client lacks.
func (d *Diff) add(r Resource) {
	d.Converged = false
	d.list(r)
}

func (d *Diff) list(r Resource) {
	if len(d.Resources) == maxDiffs {
		d.More++
		return
	}
	d.Resources = append(d.Resources, r)
}
