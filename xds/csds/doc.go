// Package csds answers what each connected xDS client has: the service
// envoy.service.status.v3.ClientStatusDiscoveryService, as a control plane
// serves it.
//
// It turns the status that xds/ads keeps into the protocol's messages and
// selects clients by their nodes. It keeps nothing itself and knows nothing of
// how the status comes about.
package csds
