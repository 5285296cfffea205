package naming

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of who may do what.
const (
	MaxUsers          = 10_000
	MaxGroups         = 1000
	MaxTokens         = 20_000
	MaxTokensOfOne    = 500    // of one user or group: everybody makes his own
	MaxPolicies       = 10_000 // beside the default ones of users and groups
	MaxAccessName     = 64     // characters of the name of a user, group or policy
	MaxMembers        = 1000   // of one group
	MaxIdentities     = 16     // of one user
	MaxIdentity       = 512    // bytes of one
	MaxPolicyItems    = 100    // users, groups, actions and resources of one policy, each
	MaxPolicyAction   = 32     // bytes
	MaxPasswordHash   = 512    // bytes
	MaxRefusals       = 100    // in one write
	maxRefusalText    = 256    // characters of each text of a refusal
	accessID          = 16     // bytes of an id, written with twice as many digits
	tokenHash         = 32     // bytes of a hash, the same
	maxDefaultPolicy  = MaxAccessName + len("default-group-")
	accessNameSymbols = "-_."
)

// The fields of users, groups, tokens and policies.
const (
	FieldUser       = "user"
	FieldGroup      = "group"
	FieldToken      = "token"
	FieldPolicy     = "policy"
	FieldMembers    = "members"
	FieldIdentities = "identities"
	FieldPassword   = "password"
	FieldUsers      = "users"
	FieldGroups     = "groups"
	FieldActions    = "actions"
	FieldResources  = "resources"
	FieldExpires    = "expires"
	FieldHash       = "hash"
)

// NewAccessID makes an id for a user, group, token or policy.
func NewAccessID() string {
	b := make([]byte, accessID)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// CheckAccessName checks the name of a user, group or policy: 1 to 64 letters,
// digits and "-", "_", ".".
func CheckAccessName(field, name string) error { return checkAccessName(field, name, MaxAccessName) }

func checkAccessName(field, name string, most int) error {
	n := utf8.RuneCountInString(name)
	if n == 0 || n > most {
		return Errorf(Invalid, field, "%s: a name of %d characters, 1 to %d are allowed", field, n, most)
	}
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(accessNameSymbols, r) {
			return Errorf(Invalid, field, "%s: %q is none of letters, digits, '-', '_' and '.'", field, r)
		}
	}
	return nil
}

// checkPolicyName allows for what begins the name of a default policy.
func checkPolicyName(name string) error {
	most := MaxAccessName
	if strings.HasPrefix(name, DefaultPolicyPrefix) {
		most = maxDefaultPolicy
	}
	return checkAccessName(FieldPolicy, name, most)
}

func checkHex(field, text string, bytes int) error {
	if b, err := hex.DecodeString(text); err != nil || len(b) != bytes || strings.ToLower(text) != text {
		return Errorf(Invalid, field, "%s: must be %d lower-case hexadecimal digits", field, 2*bytes)
	}
	return nil
}

// set sorts a list, drops what is there twice, and bounds it.
func set(field string, list *[]string, most int, check func(string) error) error {
	if list == nil {
		return nil
	}
	out := slices.Clone(*list)
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > most {
		return Errorf(Invalid, field, "%s: %d entries, at most %d are allowed", field, len(out), most)
	}
	for _, s := range out {
		if err := check(s); err != nil {
			return err
		}
	}
	*list = slices.Clip(out)
	return nil
}

func bounded(field string, most int) func(string) error {
	return func(s string) error {
		if s == "" || len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return Errorf(Invalid, field, "%s: %.64q is not a text of 1 to %d bytes without control characters", field, s, most)
		}
		return nil
	}
}

func idList(field string, more ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(more, s) {
			return nil
		}
		return checkHex(field, s, accessID)
	}
}

// identified gives a new object an id.
func identified(id *string) error {
	if *id == "" {
		*id = NewAccessID()
	}
	return checkHex(FieldID, *id, accessID)
}

func firstError(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// PutUser creates or changes a user. Errors: Exists, NotFound by the mode;
// Conflict for an identity of another user and for the last main user.
func (r *Registrar) PutUser(ctx context.Context, w PutUser) (Result, error) {
	err := firstError(CheckAccessName(FieldUser, w.Name), identified(&w.ID), checkTexts(w.Reason, w.Comment, nil),
		set(FieldIdentities, w.Identities, MaxIdentities, bounded(FieldIdentities, MaxIdentity)))
	if err == nil && w.Name == NoUser && w.Mode != Update {
		// A policy for "anonymous" must not mean somebody.
		err = Errorf(Invalid, FieldUser, "user: the name %q stands for callers who are not known", NoUser)
	}
	if err == nil && w.Password != nil && *w.Password != "" && (len(*w.Password) > MaxPasswordHash || !strings.HasPrefix(*w.Password, "$argon2id$")) {
		err = Errorf(Invalid, FieldPassword, "password: not an argon2id hash of at most %d bytes", MaxPasswordHash)
	}
	if err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// DeleteUser removes a user; an absent one has the outcome Absent. Error:
// Conflict for the last main user that is not disabled.
func (r *Registrar) DeleteUser(ctx context.Context, w DeleteUser) (Result, error) {
	if err := firstError(CheckAccessName(FieldUser, w.Name), CheckReason(w.Reason)); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// PutGroup creates or changes a group. Errors: Exists, NotFound by the mode;
// NotFound for a member that does not exist.
func (r *Registrar) PutGroup(ctx context.Context, w PutGroup) (Result, error) {
	err := firstError(CheckAccessName(FieldGroup, w.Name), identified(&w.ID), checkTexts(w.Reason, w.Comment, nil),
		set(FieldMembers, w.Members, MaxMembers, idList(FieldMembers)))
	if err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// DeleteGroup removes a group; an absent one has the outcome Absent.
func (r *Registrar) DeleteGroup(ctx context.Context, w DeleteGroup) (Result, error) {
	if err := firstError(CheckAccessName(FieldGroup, w.Name), CheckReason(w.Reason)); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// PutToken creates or changes a token. Errors: Exists, NotFound by the mode;
// NotFound for an owner that does not exist.
func (r *Registrar) PutToken(ctx context.Context, w PutToken) (Result, error) {
	err := firstError(identified(&w.ID), checkTexts(w.Reason, w.Comment, nil))
	switch {
	case err != nil:
	case w.Mode == Upsert:
		err = Errorf(Invalid, FieldToken, "token: is either created or changed")
	case w.Mode == Create:
		err = firstError(checkHex(FieldOwner, w.Owner, accessID), checkHex(FieldHash, w.Hash, tokenHash))
	}
	if err == nil && w.Expires != nil && *w.Expires < 0 {
		err = Errorf(Invalid, FieldExpires, "expires: must not be negative")
	}
	if err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// DeleteToken removes a token; an absent one has the outcome Absent.
func (r *Registrar) DeleteToken(ctx context.Context, w DeleteToken) (Result, error) {
	if err := firstError(checkHex(FieldID, w.ID, accessID), CheckReason(w.Reason)); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// PutPolicy creates or changes a policy. Errors: Exists, NotFound by the mode;
// NotFound for a principal that does not exist; Conflict for other principals
// of a default policy.
func (r *Registrar) PutPolicy(ctx context.Context, w PutPolicy) (Result, error) {
	err := firstError(checkPolicyName(w.Name), identified(&w.ID), checkTexts(w.Reason, w.Comment, nil),
		set(FieldUsers, w.Users, MaxPolicyItems, idList(FieldUsers, AnyUser, NoUser)),
		set(FieldGroups, w.Groups, MaxPolicyItems, idList(FieldGroups)),
		set(FieldActions, w.Actions, MaxPolicyItems, bounded(FieldActions, MaxPolicyAction)), w.checkResources())
	if err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

func (w *PutPolicy) checkResources() error {
	if w.Resources == nil {
		return nil
	}
	all := slices.Clone(*w.Resources)
	if len(all) > MaxPolicyItems {
		return Errorf(Invalid, FieldResources, "resources: %d entries, at most %d are allowed", len(all), MaxPolicyItems)
	}
	for _, s := range all {
		if s.Created && (s.Namespace != "" || s.Service != "") {
			return Errorf(Invalid, FieldResources, "resources: what was created has no namespace and service beside it")
		}
		if !s.Created && s.Namespace == "" {
			return Errorf(Invalid, FieldResources+".namespace", "resources.namespace: must not be empty; * means all")
		}
		if err := firstError(checkText(FieldResources+".namespace", s.Namespace, MaxNamespace),
			checkText(FieldResources+".service", s.Service, MaxService)); err != nil {
			return err
		}
	}
	*w.Resources = slices.Clip(all)
	return nil
}

// DeletePolicy removes a policy; an absent one has the outcome Absent. Error:
// Conflict for a default one.
func (r *Registrar) DeletePolicy(ctx context.Context, w DeletePolicy) (Result, error) {
	if err := firstError(checkPolicyName(w.Name), CheckReason(w.Reason)); err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// Bootstrap makes the main user and its first token while there is no user; the
// outcome Unchanged says that there was one.
func (r *Registrar) Bootstrap(ctx context.Context, w Bootstrap) (Result, error) {
	err := firstError(CheckAccessName(FieldUser, w.Name), identified(&w.UserID), identified(&w.TokenID), checkHex(FieldHash, w.Hash, tokenHash))
	if err != nil {
		return Result{}, err
	}
	return r.do(ctx, &w)
}

// RecordRefusals puts refusals, at most [MaxRefusals], into the change log.
// Texts are cut to what is kept.
func (r *Registrar) RecordRefusals(ctx context.Context, all []Refusal) error {
	if n := len(all); n == 0 || n > MaxRefusals {
		return Errorf(Invalid, FieldRequest, "%d refusals, 1 to %d are allowed", n, MaxRefusals)
	}
	w := &RecordRefusals{Refusals: slices.Clone(all)}
	for n := range w.Refusals {
		f := &w.Refusals[n]
		for _, s := range []*string{&f.Principal, &f.Address, &f.Action, &f.Service.Namespace, &f.Service.Name, &f.Reason, &f.Method} {
			*s = cut(*s, maxRefusalText)
		}
	}
	_, err := r.do(ctx, w)
	return err
}

// cut makes a text fit for records: bounded, UTF-8, no control characters.
func cut(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	for n := range s {
		if most--; most < 0 {
			return s[:n]
		}
	}
	return s
}
