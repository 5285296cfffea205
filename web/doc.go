// Package web is door 3, HTTP: health, readiness, metrics, profiles, and an
// admin API (JSON, read only for now) that shows naming and xDS at once. It
// decides nothing. Handlers run on net/http's goroutines.
package web
