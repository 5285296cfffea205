// Package cmdb tells where an address is: a file says in which region, zone and
// campus each range of addresses lies, and the longest range wins.
//
// The file is YAML or CSV, and is read again when it changes. One that cannot be
// used changes nothing: what was read before stays in force, and the log and a
// metric say so. It knows addresses only; names of hosts are nowhere.
//
// [Inventory.Locate] may be called from any goroutine and takes no lock;
// [Inventory.Run] owns the goroutine that looks at the file.
package cmdb
