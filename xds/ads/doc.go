// Package ads is door 2: the aggregated discovery service, state of the world
// and delta. state machines are plain structs; the server owns the streams.
package ads
