// Package secret holds values that must never be printed.
//
// A String formats, marshals and logs as "[redacted]" whatever the verb, so
// that redaction follows from the type and not from remembering to do it.
// The value leaves only through Reveal, which is therefore easy to grep for.
package secret

import (
	"fmt"
	"log/slog"
	"unique"
)

const redacted = "[redacted]"

// String is a secret text: an API key, a password, a token. Equal secrets are ==.
//
// The text is behind a handle and not in the struct: package fmt reads the
// unexported fields of a struct, and of what is in them, without asking for
// Format, and would print a text.
type String struct{ value unique.Handle[string] }

// New wraps value.
func New(value string) String {
	if value == "" {
		return String{}
	}
	return String{value: unique.Make(value)}
}

// Reveal returns the secret itself. Call it where the value goes on the wire,
// and nowhere else.
func (s String) Reveal() string {
	if s.Empty() {
		return ""
	}
	return s.value.Value()
}

// Empty reports whether there is no secret.
func (s String) Empty() bool { return s == String{} }

// String implements fmt.Stringer.
func (s String) String() string {
	if s.Empty() {
		return ""
	}
	return redacted
}

// Format implements fmt.Formatter, so that %v, %+v, %#v, %q and %x are all safe.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText implements encoding.TextMarshaler, which JSON and YAML honour.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }
