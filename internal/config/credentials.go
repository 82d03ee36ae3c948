package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Secrets that the scenario only points at are fetched when they are needed,
// so that a scenario can be checked where they are not.

// maxSecretBytes bounds a file of keys: more than a hundred thousand of them.
const maxSecretBytes = 16 << 20

// Resolve fetches the secret. getenv looks up environment variables.
func (s *SecretSource) Resolve(getenv func(string) (string, bool)) (secret.String, error) {
	switch {
	case s.File != "":
		data, err := readSecret(s.File)
		if err != nil {
			return secret.String{}, err
		}
		value := strings.TrimSpace(string(data))
		if value == "" {
			return secret.String{}, fmt.Errorf("the secret in %s: the file is empty", s.File)
		}
		return secret.New(value), nil
	case s.Env != "":
		value, _ := getenv(s.Env)
		if value == "" {
			return secret.String{}, fmt.Errorf("the secret in the environment variable %s: it is not set", s.Env)
		}
		return secret.New(value), nil
	case s.SecretKeyRef != nil:
		return secret.String{}, fmt.Errorf("the secret in key %s of the Kubernetes Secret %s: only a worker in the cluster can read it; here, use file or env", s.SecretKeyRef.Key, s.SecretKeyRef.Name)
	}
	return secret.String{}, errors.New("a secret source names no source")
}

// AdminKey returns the admin key, wherever it is; it is empty if there is none.
func (t *Targets) AdminKey(getenv func(string) (string, bool)) (secret.String, error) {
	if t.AdminAPIKeyFrom == nil {
		return t.AdminAPIKey, nil
	}
	key, err := t.AdminAPIKeyFrom.Resolve(getenv)
	if err != nil {
		return key, fmt.Errorf("spec.targets.adminApiKeyFrom: %w", err)
	}
	return key, nil
}

// Secret returns the password, wherever it is.
func (l *AdminLogin) Secret(getenv func(string) (string, bool)) (secret.String, error) {
	if l.PasswordFrom == nil {
		return l.Password, nil
	}
	password, err := l.PasswordFrom.Resolve(getenv)
	if err != nil {
		return password, fmt.Errorf("spec.targets.adminLogin.passwordFrom: %w", err)
	}
	return password, nil
}

// Secretive reports whether the text of the scenario may hold a secret: a field
// of it that can has a value, or a URL says who asks.
func (s *Scenario) Secretive() bool { return secretive(reflect.ValueOf(s).Elem()) }

func secretive(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return userInfo.MatchString(v.String())
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && secretive(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if secretive(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if secretive(entries.Value()) {
				return true
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[secret.String]() {
			return !v.IsZero()
		}
		for i := range v.NumField() {
			if secretive(v.Field(i)) {
				return true
			}
		}
	default: // numbers
	}
	return false
}

// Gave reports whether the file gave the field at a path such as
// metadata.namespace, or anything in it.
func (s *Scenario) Gave(path string) bool { return s.gave(path) }

// DefaultOrg is the organization of keys that name none.
const DefaultOrg = "byo"

// Resolve returns the keys, wherever they are; there is at least one. Errors
// name lines and never what is in them.
func (k *Credentials) Resolve(getenv func(string) (string, bool)) ([]Credential, error) {
	var keys []Credential
	var err error
	switch {
	case k.File != "":
		var data []byte
		if data, err = readSecret(k.File); err == nil {
			keys, err = parseCredentials(k.File, string(data), getenv)
		}
	case k.Env != "":
		value, _ := getenv(k.Env)
		for _, key := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
			keys = append(keys, Credential{Org: DefaultOrg, Key: secret.New(key)})
		}
		if len(keys) == 0 {
			err = fmt.Errorf("the environment variable %s is not set or empty", k.Env)
		}
	default:
		keys = k.Keys
	}
	if err == nil && len(keys) == 0 {
		err = errors.New("there are no keys")
	}
	if err != nil {
		return nil, fmt.Errorf("spec.targets.credentials: %w", err)
	}
	return keys, nil
}

func parseCredentials(name, text string, getenv func(string) (string, bool)) ([]Credential, error) {
	if start := strings.TrimSpace(text); strings.HasPrefix(start, "- ") || strings.HasPrefix(start, "[") {
		return yamlCredentials(name, text, getenv)
	}
	var keys []Credential
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line == "org,user,key" {
			continue
		}
		parts := strings.Split(line, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		switch {
		case len(parts) == 1:
			keys = append(keys, Credential{Org: DefaultOrg, Key: secret.New(parts[0])})
		case len(parts) == 3 && parts[0] != "" && parts[2] != "":
			keys = append(keys, Credential{Org: parts[0], User: parts[1], Key: secret.New(parts[2])})
		default:
			return nil, fmt.Errorf("%s:%d: expected a key, or org,user,key", name, number)
		}
	}
	return keys, nil
}

func yamlCredentials(name, text string, getenv func(string) (string, bool)) ([]Credential, error) {
	d := newDecoder(name, []byte(text), getenv)
	d.src.secrets = []span{{1, 1, len(d.src.lines) + 1, 1}} // all of it
	var keys []Credential
	for _, n := range d.nodesOf(text) {
		d.given = map[string]given{"": {value: n}}
		v := reflect.ValueOf(&keys).Elem()
		d.value(n, v, "", &field{})
		d.fill(v, "")
	}
	return keys, d.faults.err()
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the scenario names the file
	if err != nil {
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the secret: %w", err)
	case len(data) > maxSecretBytes:
		return nil, fmt.Errorf("read the secret: %s is larger than 16 MiB", path)
	}
	return data, nil
}
