// Package archtest fails when a package imports a room that it must not know.
// It has tests only.
package archtest
