package cmdb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"polestar/naming"
)

// maxEntries of one file.
const maxEntries = 200_000

// table finds the location of an address. It does not change once it is built.
type table struct {
	byRange map[netip.Prefix]place
	// The lengths of ranges that there are, longest first, for IPv4 and IPv6.
	four, six []int
}

type place struct {
	naming.Location
	line int
}

func newTable() *table { return &table{byRange: map[netip.Prefix]place{}} }

// entry is one line of a file, as text.
type entry struct {
	line  int
	cidr  string
	place naming.Location
}

// add takes an entry, or says what is wrong with it.
func (t *table) add(e entry) error {
	if len(t.byRange) == maxEntries {
		return fmt.Errorf("line %d: more than %d ranges", e.line, maxEntries)
	}
	r, err := rangeOf(strings.TrimSpace(e.cidr))
	if err != nil {
		return fmt.Errorf("line %d: cidr: %w", e.line, err)
	}
	l := naming.Location{
		Region: strings.TrimSpace(e.place.Region), Zone: strings.TrimSpace(e.place.Zone), Campus: strings.TrimSpace(e.place.Campus),
	}
	if l == (naming.Location{}) {
		return fmt.Errorf("line %d: %s has neither region nor zone nor campus", e.line, r)
	}
	if err := l.Validate(); err != nil {
		return fmt.Errorf("line %d: %w", e.line, err)
	}
	if before, twice := t.byRange[r]; twice {
		return fmt.Errorf("line %d: %s is in line %d already", e.line, r, before.line)
	}
	t.byRange[r] = place{l, e.line}
	return nil
}

// rangeOf reads a range, or a single address as the range of itself.
func rangeOf(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	r, err := netip.ParsePrefix(text)
	if err != nil {
		return r, fmt.Errorf("%.64q is no range of addresses such as 10.1.0.0/16 or 2001:db8::/32", text)
	}
	if r.Addr().Is4In6() {
		if r.Bits() < 96 {
			return r, fmt.Errorf("%s holds more than IPv4; write it as IPv4", r)
		}
		r = netip.PrefixFrom(r.Addr().Unmap(), r.Bits()-96)
	}
	if r != r.Masked() {
		return r, fmt.Errorf("%s has bits behind its length; did you mean %s?", r, r.Masked())
	}
	return r, nil
}

// finish makes the table ready to be asked.
func (t *table) finish() error {
	if len(t.byRange) == 0 {
		return errors.New("it has no ranges")
	}
	lengths := map[[2]int]bool{}
	for r := range t.byRange {
		lengths[[2]int{r.Addr().BitLen(), r.Bits()}] = true
	}
	for l := range lengths {
		if l[0] == 32 {
			t.four = append(t.four, l[1])
		} else {
			t.six = append(t.six, l[1])
		}
	}
	for _, all := range [][]int{t.four, t.six} {
		slices.Sort(all)
		slices.Reverse(all)
	}
	return nil
}

// find returns the location of the longest range that holds an address.
func (t *table) find(a netip.Addr) naming.Location {
	lengths := t.four
	if a.Is6() {
		lengths = t.six
	}
	for _, bits := range lengths {
		if r, err := a.Prefix(bits); err == nil {
			if p, ok := t.byRange[r]; ok {
				return p.Location
			}
		}
	}
	return naming.Location{}
}
