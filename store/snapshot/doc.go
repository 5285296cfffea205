// Package snapshot keeps the last known world in a file, so that a server
// whose database is away when it starts can serve what it knew.
//
// A file is written beside the old one, synced and renamed: there is always a
// whole one. A checksum over everything tells a damaged file.
package snapshot
