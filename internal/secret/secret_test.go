package secret_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// hidden keeps its secrets where package fmt cannot call their methods.
type hidden struct {
	key  secret.String
	ptr  *secret.String
	list []secret.String
}

func TestNothingPrintsASecret(t *testing.T) {
	const value = "sk-very-secret"
	type holder struct {
		Key secret.String
		Ptr *secret.String
		Map map[string]secret.String
	}
	s := secret.New(value)
	h := holder{Key: s, Ptr: &s, Map: map[string]secret.String{"a": s}}
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		for _, v := range []any{s, &s, h, &h, hidden{s, &s, []secret.String{s}}, &hidden{key: s}} {
			out = append(out, fmt.Sprintf(verb, v))
		}
	}
	for _, v := range []any{s, &s, h} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", s, "holder", h)
	out = append(out, logged.String(), fmt.Errorf("with %v", s).Error())
	for _, text := range out {
		if strings.Contains(text, value) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", value)) {
			t.Errorf("the secret is in %q", text)
		}
	}
	if s != secret.New(value) || s == secret.New("another") || (secret.String{}) != secret.New("") {
		t.Error("secrets are not compared by their texts")
	}
	if s.Reveal() != value || s.Empty() {
		t.Error("the secret is lost")
	}
	if got := secret.New("").String(); got != "" {
		t.Errorf("no secret prints as %q, which looks like one", got)
	}
}
