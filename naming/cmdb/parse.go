package cmdb

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// columns of a file, in the order in which people write them.
func columns() []string { return []string{"cidr", "region", "zone", "campus"} }

// parse reads a file, whose name tells its form. Errors name the line.
func parse(path string, content []byte) (*table, error) {
	t := newTable()
	var err error
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".yaml", ".yml":
		err = parseYAML(content, t.add)
	case ".csv":
		err = parseCSV(content, t.add)
	default:
		err = fmt.Errorf("the name ends with %q, not with .yaml, .yml or .csv", ext)
	}
	if err == nil {
		err = t.finish()
	}
	return t, err
}

// parseYAML reads a list of maps with the columns as keys.
func parseYAML(content []byte, add func(entry) error) error {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty")
		}
		return err // says the line
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	list := doc.Content[0]
	if list.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: a list of ranges is expected, each with cidr, region, zone, campus", list.Line)
	}
	for _, item := range list.Content {
		e, err := yamlEntry(item)
		if err != nil {
			return err
		}
		if err := add(e); err != nil {
			return err
		}
	}
	return nil
}

func yamlEntry(item *yaml.Node) (entry, error) {
	e := entry{line: item.Line}
	if item.Kind != yaml.MappingNode {
		return e, fmt.Errorf("line %d: a range with cidr, region, zone, campus is expected", item.Line)
	}
	seen := map[string]bool{}
	for n := 0; n < len(item.Content); n += 2 {
		key, value := item.Content[n], item.Content[n+1]
		at := e.field(key.Value)
		switch {
		case at == nil:
			return e, fmt.Errorf("line %d: unknown key %.64q; known are %s", key.Line, key.Value, strings.Join(columns(), ", "))
		case seen[key.Value]:
			return e, fmt.Errorf("line %d: %s is given twice", key.Line, key.Value)
		case value.Kind != yaml.ScalarNode:
			return e, fmt.Errorf("line %d: %s: a single value is expected", value.Line, key.Value)
		}
		seen[key.Value] = true
		if value.Tag != "!!null" {
			*at = value.Value
		}
	}
	return e, nil
}

// field is where the value of a column goes; nil for one that does not exist.
func (e *entry) field(column string) *string {
	switch column {
	case "cidr":
		return &e.cidr
	case "region":
		return &e.place.Region
	case "zone":
		return &e.place.Zone
	case "campus":
		return &e.place.Campus
	default:
		return nil
	}
}

// parseCSV reads lines under a header that names the columns, in any order.
// Lines that begin with # are comments.
func parseCSV(content []byte, add func(entry) error) error {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))) // spreadsheets write a byte order mark
	r.Comment, r.TrimLeadingSpace, r.FieldsPerRecord = '#', true, -1
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	}
	if err != nil {
		return err // says the line
	}
	for n, name := range header {
		header[n] = strings.ToLower(strings.TrimSpace(name))
	}
	line, _ := r.FieldPos(0)
	if err := checkHeader(line, header); err != nil {
		return err
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e := entry{}
		e.line, _ = r.FieldPos(0)
		if len(record) > len(header) {
			return fmt.Errorf("line %d: %d columns, but the header has %d", e.line, len(record), len(header))
		}
		for n, value := range record {
			*e.field(header[n]) = value
		}
		if err := add(e); err != nil {
			return err
		}
	}
}

func checkHeader(line int, header []string) error {
	var e entry
	for n, name := range header {
		switch {
		case e.field(name) == nil:
			return fmt.Errorf("line %d: the header has an unknown column %.64q; known are %s", line, name, strings.Join(columns(), ", "))
		case slices.Contains(header[:n], name):
			return fmt.Errorf("line %d: the header has %s twice", line, name)
		}
	}
	if !slices.Contains(header, "cidr") {
		return fmt.Errorf("line %d: the header has no column cidr", line)
	}
	return nil
}
