// Package web is door 3, HTTP: health, readiness, metrics, profiles, and an
// admin API (JSON) that shows naming and xDS at once and hands what an operator
// changes to naming's use cases. It shows the change log as history and as a
// stream of events. It decides nothing. Handlers run on net/http's
// goroutines.
package web
