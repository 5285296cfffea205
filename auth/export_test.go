package auth

// Share reports whether two names, or two addresses, are counted together.
func (a *Attempts) Share(one, other string) bool { return a.row(one) == a.row(other) }
