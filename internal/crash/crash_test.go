package crash_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
)

func TestGuard(t *testing.T) {
	if err := crash.Guard("nobody", func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("the error of a function that returns is %v", err)
	}
	err := crash.Guard("a clerk", func() error { panic(errors.New("index out of\nrange")) })
	var e *crash.Error
	if !errors.As(err, &e) || !strings.Contains(string(e.Stack), "crash_test.go") {
		t.Fatalf("the error of a panic is %#v", err)
	}
	if want := "a clerk crashed, which is a fault of this tool: index out of range"; err.Error() != want {
		t.Errorf("it says %q, want %q", err, want)
	}
}
