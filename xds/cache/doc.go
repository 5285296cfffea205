// Package cache holds the newest form of every xDS resource that somebody
// subscribed to, encoded once and shared by all streams, and knows which
// streams to wake when one changes.
package cache
