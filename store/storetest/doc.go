// Package storetest is the acceptance suite that every store passes. A
// backend's test file is one call of [Run], plus failures of its own kind.
package storetest
