package platformsim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

// readTruth reads a truth file.
func readTruth(t *testing.T, file []byte) (header struct {
	Format  string
	Started time.Time
	Seed    uint64
}, entries []platformsim.Entry) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		var e platformsim.Entry
		var err error
		if n == 0 {
			err = dec.Decode(&header)
		} else if err = dec.Decode(&e); err == nil {
			entries = append(entries, e)
		}
		if err != nil {
			t.Fatalf("line %d, %s: %v", n+1, lines.Text(), err)
		}
	}
	return header, entries
}

// Many plain clients at once: the truth says what they saw, id by id.
func TestTruthIsWhatClientsSaw(t *testing.T) {
	var file bytes.Buffer
	p, err := platformsim.New(platformsim.Options{Models: platformsim.AtSpeed(platformsim.DefaultModels(), 20), Seed: 3, Truth: &file, KeepTruth: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	tenants := []member{tenant(t, p, "a", nil), tenant(t, p, "b", nil)}
	var mu sync.Mutex
	saw := map[string]seen{}
	var wg sync.WaitGroup
	for user := range 8 {
		wg.Go(func() {
			for n := range 5 {
				id := fmt.Sprintf("%c-%d-%d", 'a'+user%2, user, n)
				body := fmt.Sprintf(`{"model":"sim-small","stream":true,"stream_options":{"include_usage":true},"cache_salt":"%d",
					"messages":[{"role":"user","content":"Question %d: %s"}]}`, user, n, strings.Repeat("and so on ", 20))
				s := streamed(t, p.RouterURL(), tenants[user%2].key, id, body)
				mu.Lock()
				saw[id] = s
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	header, entries := readTruth(t, file.Bytes())
	if header.Format != "loadtest-platform-truth/1" || header.Seed != 3 || !header.Started.Equal(p.Started()) {
		t.Errorf("header: %+v", header)
	}
	byID := func(list []platformsim.Entry) []platformsim.Entry {
		slices.SortFunc(list, func(a, b platformsim.Entry) int { return strings.Compare(a.ID, b.ID) })
		return list
	}
	if fmt.Sprint(byID(entries)) != fmt.Sprint(byID(p.Truth())) {
		t.Error("the file and the memory differ")
	}
	if len(entries) != 40 {
		t.Fatalf("%d entries for 40 requests", len(entries))
	}
	var cost, chunks, bytes int64
	for _, e := range entries {
		s := saw[e.ID]
		number := func(name string) int { return int(s.usage[name].(float64)) }
		cached := int(s.usage["prompt_tokens_details"].(map[string]any)["cached_tokens"].(float64))
		if s.err != nil || !s.done || s.status != e.Status || s.finish != e.FinishReason || len(s.contents) != len(e.Chunks) || s.chunkBytes != e.Bytes ||
			number("prompt_tokens") != e.PromptTokens || number("completion_tokens") != e.CompletionTokens || cached != e.CachedTokens {
			t.Errorf("%s: seen %+v, truth %+v", e.ID, s, e)
		}
		if e.Org != e.ID[:1] || e.Endpoint != "chat" || e.Model != "sim-small" || !e.Stream || e.User == "" || len(e.Key) != 43 {
			t.Errorf("%s: %+v", e.ID, e)
		}
		if e.Arrived <= 0 || e.FirstByte < e.Arrived || e.Chunks[0] < e.FirstByte || !slices.IsSorted(e.Chunks) || e.Done < e.Chunks[len(e.Chunks)-1] {
			t.Errorf("%s: moments out of order: %+v", e.ID, e)
		}
		cost += e.CostMicroUSD
		chunks += int64(len(e.Chunks))
		bytes += e.Bytes
	}
	totals := p.Totals()
	if totals.Requests != 40 || totals.ByStatus[200] != 40 || totals.CostMicroUSD != cost || totals.Chunks != chunks || totals.Bytes != bytes ||
		totals.Orgs["a"].Requests != 20 || totals.Orgs["a"].CostMicroUSD+totals.Orgs["b"].CostMicroUSD != cost {
		t.Errorf("totals: %+v", totals)
	}
}

func TestTruthKeepsTheLastEntries(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant(), KeepTruth: 3})
	m := tenant(t, p, "acme", nil)
	for i := range 5 {
		m.ask(p, chatPath, hello, "X-Request-Id", fmt.Sprint(i))
	}
	m.ask(p, chatPath, `{"quote":"\""`, "X-Request-Id", "bad\"id") // must be escaped
	var ids []string
	for _, e := range p.Truth() {
		ids = append(ids, e.ID)
	}
	if fmt.Sprint(ids) != `[3 4 bad"id]` {
		t.Errorf("kept %v", ids)
	}
	p.ClearTruth()
	if len(p.Truth()) != 0 || p.Totals().Requests != 0 {
		t.Error("cleared, and still there")
	}
}

type brokenDisk struct{}

func (brokenDisk) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestTruthThatCannotBeWritten(t *testing.T) {
	p, err := platformsim.New(platformsim.Options{Models: instant(), Truth: brokenDisk{}})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the error", func() bool { return p.Totals().TruthError == "the disk is full" })
	if err := p.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("Close: %v", err)
	}
}

// A client that leaves is noted, and its sequence is given up.
func TestClientThatLeaves(t *testing.T) {
	models := platformsim.DefaultModels()
	p := start(t, platformsim.Options{Models: models, KeepTruth: 1})
	m := tenant(t, p, "acme", nil)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.RouterURL()+chatPath,
		strings.NewReader(`{"model":"sim-small","max_tokens":10000,"ignore_eos":true,"stream":true,"messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", m.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	await(t, "the entry", func() bool { return len(p.Truth()) == 1 })
	if e := p.Truth()[0]; !e.Aborted || e.Status != 200 || e.CompletionTokens >= 10000 || e.FinishReason != "" {
		t.Errorf("%+v", e)
	}
	await(t, "the end of the sequence", func() bool { return p.State().Models["sim-small"].Running == 0 })
}

func TestCloseCutsShortAndLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	p, err := platformsim.New(platformsim.Options{Truth: &bytes.Buffer{}, KeepTruth: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	m := tenant(t, p, "acme", nil)
	const n = 4
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s := streamed(t, p.RouterURL(), m.key, fmt.Sprint(i), `{"model":"sim-small","max_tokens":10000,"ignore_eos":true,"stream":true,"messages":[{"role":"user","content":"x"}]}`)
			if s.done {
				t.Error("a stream of a minute was complete")
			}
		})
	}
	await(t, "all streams", func() bool { return p.State().Models["sim-small"].Running == n })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	wg.Wait()
	if got := p.Totals(); got.Aborted != n || got.Requests != n {
		t.Errorf("totals: %+v", got)
	}
	http.DefaultClient.CloseIdleConnections()
	await(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}
