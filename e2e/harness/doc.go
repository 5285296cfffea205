// Package harness starts real servers, proxies, SDKs and backends for the
// end-to-end tests, and ends what it started.
package harness
