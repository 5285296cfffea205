// Package buildinfo tells which build of Polestar is running.
package buildinfo

import "runtime/debug"

// version is set by -ldflags "-X polestar/internal/buildinfo.version=v1.2.3".
var version = "dev"

// Version is the released version, or "dev".
func Version() string { return version }

// Commit is the revision of the source, "unknown" for a build without it.
func Commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
