package simulator

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/chaos"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// wire stands for a client and its transport: it fails if the transport does.
func wire(t *testing.T, injector *chaos.Injector) Asker {
	transport := injector.Wrap(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	return AskerFunc(func(ctx context.Context, c *Call) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://platform.invalid", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		c.Exchange.Done = 1
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return &platform.Error{Op: "ask", Kind: record.Connection, Err: err}
		}
		c.Exchange.Status = resp.StatusCode
		return resp.Body.Close()
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestHarmIsMarked(t *testing.T) {
	for _, share := range []float64{0, 1} {
		injector := chaos.NewInjector(chaos.Plan{Failures: share}, func() time.Duration { return 0 })
		s := &sink{}
		asker := &Recorder{Asker: &Harm{Asker: wire(t, injector), Injector: injector}, Sink: s, Now: func() time.Duration { return 1 }}
		err := asker.Ask(t.Context(), &Call{})
		var perr *platform.Error
		if harmed := share == 1; harmed != s.recs[0].Injected() || harmed != (errors.As(err, &perr) && perr.Kind == record.Connection) {
			t.Errorf("with a share of %v: %v, recorded as %q", share, err, s.recs[0].Kind)
		}
	}
}

func TestDelayIsTakenOutOfTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		injector := chaos.NewInjector(chaos.Plan{Latency: time.Second}, func() time.Duration { return 0 })
		h := &Harm{Asker: wire(t, injector), Injector: injector}
		c := &Call{PhaseAt: func(at time.Duration) (string, bool) { return at.String(), at == 5*time.Second }}
		c.Schedule(5 * time.Second)
		began := time.Now()
		if err := h.Ask(t.Context(), c); err != nil || time.Since(began) != time.Second || c.Scheduled != 6*time.Second || c.Exchange.Injected {
			t.Errorf("%v after %v, scheduled at %v, harmed: %v", err, time.Since(began), c.Scheduled, c.Exchange.Injected)
		}
		if c.Phase != "5s" || !c.Measured {
			t.Errorf("it is in phase %s (measured: %v), want that in which it was asked", c.Phase, c.Measured)
		}
		if n, total := injector.Delayed(); n != 1 || total != time.Second {
			t.Errorf("%d delayed by %v", n, total)
		}
		leaving, leave := context.WithCancel(t.Context())
		leave()
		if err := h.Ask(t.Context(), &Call{Leaving: leaving}); err != nil {
			t.Errorf("a user who leaves meanwhile: %v; his request is on its way", err)
		}
		if err := h.Ask(leaving, &Call{}); !errors.Is(err, ErrNotSent) {
			t.Errorf("a request that is cut off meanwhile: %v", err)
		}
	})
}
