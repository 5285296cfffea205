package naming

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The fields that an [Error] of kind Invalid can name.
const (
	FieldRequest   = "request"
	FieldID        = "id"
	FieldService   = "service"
	FieldNamespace = "namespace"
	FieldHost      = "host"
	FieldPort      = "port"
	FieldProtocol  = "protocol"
	FieldVersion   = "version"
	FieldLogicSet  = "logic_set"
	FieldMetadata  = "metadata" // followed by . and the key when its value is wrong
	FieldWeight    = "weight"
	FieldTTL       = "health_check.heartbeat.ttl"
	FieldVpcID     = "vpc_id"
	FieldLocation  = "location" // followed by .region, .zone or .campus
	FieldReason    = "reason"
	FieldPriority  = "priority"
	FieldPorts     = "ports"
	FieldBusiness  = "business"
	FieldComment   = "comment"
	FieldOwner     = "owners"
	FieldDepart    = "department"
	FieldCmdb      = "cmdb_mod" // followed by 1, 2 or 3
	FieldExportTo  = "export_to"
	FieldContract  = "contract"
	FieldStat      = "stat"
	FieldRevision  = "revision" // of a Conflict: the object is of another one

	// What a Conflict is about.
	FieldInstances    = "instances" // the service still has some
	FieldAliases      = "aliases"   // the service still has some
	FieldServices     = "services"  // the namespace still has some
	FieldAlias        = "alias"     // instances are registered to services, not to aliases
	FieldAliasFor     = "alias_for" // an alias is no service
	FieldAliasOfAlias = "alias_of_alias"
)

// validateInstance checks every bound except the id's in Polaris' order; the
// first violation decides. The host must be trimmed already.
func validateInstance(i *Instance) error {
	if n := len(i.Metadata); n > MaxMetadataPairs {
		return Errorf(Invalid, FieldMetadata, "metadata: %d pairs, at most %d are allowed", n, MaxMetadataPairs)
	}
	for _, c := range []struct {
		field, value string
		most         int
	}{
		{FieldService, i.Service.Name, MaxService},
		{FieldNamespace, i.Service.Namespace, MaxNamespace},
		{FieldHost, i.Host, MaxHost},
		{FieldProtocol, i.Protocol, MaxProtocol},
		{FieldVersion, i.Version, MaxVersion},
		{FieldLogicSet, i.LogicSet, MaxLogicSet},
	} {
		if err := checkText(c.field, c.value, c.most); err != nil {
			return err
		}
	}
	if err := checkPairs(i.Metadata); err != nil {
		return err
	}
	switch {
	case i.Port > MaxPort:
		return Errorf(Invalid, FieldPort, "port: %d is above %d", i.Port, MaxPort)
	case i.Weight > MaxWeight:
		return Errorf(Invalid, FieldWeight, "weight: %d is above %d", i.Weight, MaxWeight)
	}
	if err := checkServiceKey(i.Service); err != nil {
		return err
	}
	if err := checkHost(i.Host); err != nil {
		return err
	}
	if i.Port == 0 {
		return Errorf(Invalid, FieldPort, "port: must be between 1 and %d", MaxPort)
	}
	if i.TTL > MaxTTL {
		return Errorf(Invalid, FieldTTL, "%s: %d s is above %d s", FieldTTL, i.TTL, MaxTTL)
	}
	if err := checkText(FieldVpcID, i.VpcID, MaxVpcID); err != nil {
		return err
	}
	if _, err := AdditionalAddresses(i); err != nil {
		return err
	}
	return i.Location.Validate()
}

// CheckReason returns an error for an operator's reason that breaks its bound.
func CheckReason(reason string) error { return checkText(FieldReason, reason, MaxReason) }

// checkText bounds a text in characters and refuses control characters, which
// no log, header or terminal takes kindly.
func checkText(field, value string, most int) error {
	if n := utf8.RuneCountInString(value); n > most {
		return Errorf(Invalid, field, "%s: %d characters, at most %d are allowed", field, n, most)
	}
	return checkControl(field, value, "")
}

func checkControl(field, value, allowed string) error {
	if !utf8.ValidString(value) {
		return Errorf(Invalid, field, "%s: is not valid UTF-8", field)
	}
	for _, r := range value {
		if unicode.IsControl(r) && !strings.ContainsRune(allowed, r) {
			return Errorf(Invalid, field, "%s: control character %U is not allowed", field, r)
		}
	}
	return nil
}

func checkPairs(pairs Metadata) error {
	for _, p := range pairs {
		k, v := p.Key, p.Value
		if k == "" {
			return Errorf(Invalid, FieldMetadata, "metadata: a key is empty")
		}
		if n := utf8.RuneCountInString(k); n > MaxMetadataKey {
			return Errorf(Invalid, FieldMetadata, "metadata: a key has %d characters, at most %d are allowed", n, MaxMetadataKey)
		}
		if n := utf8.RuneCountInString(v); n > MaxMetadataValue {
			return Errorf(Invalid, FieldMetadata, "metadata: the value of %q has %d characters, at most %d are allowed",
				k, n, MaxMetadataValue)
		}
		if err := checkControl(FieldMetadata, k, ""); err != nil {
			return err
		}
		if err := checkControl(FieldMetadata, v, "\t\n\r"); err != nil { // values hold JSON and certificates
			return err
		}
	}
	return nil
}

// checkServiceKey holds both names to Polaris' character set.
func checkServiceKey(k ServiceKey) error {
	if err := checkName(FieldService, k.Name, MaxService); err != nil {
		return err
	}
	return checkName(FieldNamespace, k.Namespace, MaxNamespace)
}

func checkName(field, name string, most int) error {
	if name == "" {
		return Errorf(Invalid, field, "%s: must not be empty", field)
	}
	if n := utf8.RuneCountInString(name); n > most {
		return Errorf(Invalid, field, "%s: %d characters, at most %d are allowed", field, n, most)
	}
	for _, r := range name {
		if !isNameRune(r) {
			return Errorf(Invalid, field, "%s: %q is not allowed; use letters, digits and - . / : _", field, r)
		}
	}
	return nil
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-./:_", r)
}

// checkHost takes an IP literal or a DNS name (underscores are common in
// practice and allowed).
func checkHost(host string) error {
	if host == "" {
		return Errorf(Invalid, FieldHost, "host: must not be empty")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return Errorf(Invalid, FieldHost, "host: an IPv6 zone (%q) means nothing to other machines", host)
		}
		return nil
	}
	name := strings.TrimSuffix(host, ".")
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		// No top-level domain is a number; 10.0.0.256 and 127.1 are mistyped
		// addresses, and resolvers read them as such.
		return Errorf(Invalid, FieldHost, "host: %q is neither an IP address nor a DNS name", host)
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return Errorf(Invalid, FieldHost, "host: %q is neither an IP address nor a DNS name", host)
		}
		for _, r := range label {
			if r == '/' || r == ':' || r == '.' || !isNameRune(r) {
				return Errorf(Invalid, FieldHost, "host: %q is neither an IP address nor a DNS name", host)
			}
		}
	}
	return nil
}

// Validate returns an error that names the part that breaks its bound.
func (l Location) Validate() error {
	for _, part := range [...]struct{ name, value string }{
		{".region", l.Region}, {".zone", l.Zone}, {".campus", l.Campus},
	} {
		if err := checkText(FieldLocation+part.name, part.value, MaxLocation); err != nil {
			return err
		}
	}
	return nil
}
