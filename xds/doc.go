// Package xds is the pipeline from the registry to xDS clients: it follows the
// registry, rebuilds the resources that a change can have touched and that
// somebody subscribed to, and wakes the streams that hold them.
//
// It is driven by events only: no ticker, no polling. While one rebuild runs,
// further changes gather, so an idle server pushes at once and a busy one
// coalesces. It knows nothing of streams (xds/ads) and of how a resource looks
// (xds/resource).
package xds
