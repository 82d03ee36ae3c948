package ledger_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
)

func TestOneAtATimeWorksOnALedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.ledger")
	book, err := ledger.Create(path, ledger.Header{RunID: "run", PID: 4711})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	release, err := ledger.Claim(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Claim(path); !errors.Is(err, ledger.ErrBusy) || !strings.Contains(err.Error(), "process 4711") {
		t.Errorf("a second claim: %v, want that process 4711 has it", err)
	}
	if err := book.Intend(ledger.Org("acme")); err != nil {
		t.Errorf("the claim is in its owner's way: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := ledger.Claim(path)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
}
