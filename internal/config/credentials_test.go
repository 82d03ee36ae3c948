package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

func TestCredentials(t *testing.T) {
	none := env(nil)
	for name, c := range map[string]struct{ file, want string }{
		"keys":        {"# ours\nkey-1\n\n  key-2  \n", "byo//key-1 byo//key-2"},
		"CSV":         {"org,user,key\nacme, ann, key-1\nbeta,,key-2\nkey-3\n", "acme/ann/key-1 beta//key-2 byo//key-3"},
		"YAML":        {"- key-1\n- {org: acme, user: ann, key: key-2}\n- {key: key-3}\n", "byo//key-1 acme/ann/key-2 byo//key-3"},
		"YAML inline": {"[key-1, key-2]", "byo//key-1 byo//key-2"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			keys, err := (&config.Credentials{File: path}).Resolve(none)
			if err != nil {
				t.Fatal(err)
			}
			if got := list(keys); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	keys, err := (&config.Credentials{Env: "KEYS"}).Resolve(env(map[string]string{"KEYS": "a, b\nc"}))
	if err != nil || list(keys) != "byo//a byo//b byo//c" {
		t.Errorf("got %s, %v", list(keys), err)
	}
	s := parse(t, "spec: {targets: {apiRouterUrl: http://a, credentials: {keys: ['${SECRET}', {org: o, key: '${TWO}'}]}}}")
	if keys, err = s.Spec.Targets.Credentials.Resolve(none); err != nil || list(keys) != "byo//sk-SECRET o//2" {
		t.Errorf("got %s, %v", list(keys), err)
	}
}

func list(keys []config.Credential) string {
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s/%s/%s", k.Org, k.User, k.Key.Reveal()))
	}
	return strings.Join(out, " ")
}

func TestCredentialsThatAreWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	for content, want := range map[string]string{
		"":                         "there are no keys",
		"a\nsk-SECRET,b\n":         ":2: expected a key",
		"- [sk-SECRET]\n":          "expected a key",
		"- {key: sk-SECRET, a: b}": `unknown field "a"`,
		"[sk-SECRET, \"sk-SECRET":  "not valid YAML",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := (&config.Credentials{File: path}).Resolve(env(nil))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sk-SECRET") {
			t.Errorf("%q: got %v", content, err)
		}
	}
	if _, err := (&config.Credentials{Env: "KEYS"}).Resolve(env(nil)); err == nil || !strings.Contains(err.Error(), "KEYS") {
		t.Errorf("got %v", err)
	}
	if _, err := (&config.Credentials{File: path + "-none"}).Resolve(env(nil)); err == nil {
		t.Error("a missing file is not noticed")
	}
}

func TestSecretSources(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("  sk-SECRET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := parse(t, `
spec:
  targets:
    apiRouterUrl: http://a
    userOrgUrl: http://b
    adminApiKeyFrom: {file: `+path+`}
    adminLogin: {email: a@example.com, passwordFrom: {env: PASSWORD}}
`)
	getenv := env(map[string]string{"PASSWORD": "pw"})
	if key, err := s.Spec.Targets.AdminKey(getenv); err != nil || key.Reveal() != "sk-SECRET" {
		t.Errorf("got %q, %v", key.Reveal(), err)
	}
	if pw, err := s.Spec.Targets.AdminLogin.Secret(getenv); err != nil || pw.Reveal() != "pw" {
		t.Errorf("got %q, %v", pw.Reveal(), err)
	}
	if _, err := s.Spec.Targets.AdminLogin.Secret(env(nil)); err == nil || !strings.Contains(err.Error(), "spec.targets.adminLogin.passwordFrom") {
		t.Errorf("got %v", err)
	}
	inCluster := config.SecretSource{SecretKeyRef: &config.SecretKeyRef{Name: "n", Key: "k"}}
	if _, err := inCluster.Resolve(getenv); err == nil || !strings.Contains(err.Error(), "Kubernetes") {
		t.Errorf("got %v", err)
	}
}
