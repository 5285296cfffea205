package main

import "fmt"

// The bounds of xds.max-absent-names.
const (
	leastAbsentNames = 1000
	mostAbsentNames  = 10_000_000
)

// xdsSettings are those of the xDS door alone.
func xdsSettings() []setting {
	return []setting{
		number("xds.max-absent-names", "names that do not exist, over all streams, above which those that name most get no more",
			func(c *Config) *int { return &c.MaxAbsentNames }),
	}
}

func (c *Config) validateXDS() error {
	if c.MaxAbsentNames < leastAbsentNames || c.MaxAbsentNames > mostAbsentNames {
		return fmt.Errorf("xds.max-absent-names: %d is not between %d and %d", c.MaxAbsentNames, leastAbsentNames, mostAbsentNames)
	}
	return nil
}
