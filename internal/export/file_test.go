package export_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// sample is a small document with every part filled.
func sample() *export.Bundle {
	c := stats.NewCollector(stats.Objective{})
	for i := range 20 {
		at := time.Duration(i) * 100 * time.Millisecond
		r := &record.Record{Org: "a", User: "u", Phase: "steady", Endpoint: "chat", Model: "m", Stream: true, Measured: true, Final: true,
			Scheduled: at, Sent: at, FirstToken: at + 20*time.Millisecond, LastToken: at + 80*time.Millisecond, Done: at + 90*time.Millisecond,
			Gaps: []time.Duration{60 * time.Millisecond}, Chunks: 2, FirstChunkTokens: 1, UsageKnown: true, PromptTokens: 10, CompletionTokens: 3,
			CostKnown: true, CostMicroUSD: 7}
		if i == 10 {
			r.Outcome, r.Kind, r.Status, r.Message = record.Failed, record.HTTPError, 500, "boom"
		}
		c.Add(r)
	}
	c.Observe(time.Second, 3, "steady")
	s := c.Summary()
	return &export.Bundle{
		Schema: export.Schema, Run: export.Run{ID: "r1", Started: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Duration: 2 * time.Second},
		Verdict:  verdict.Judge(verdict.Input{Overall: s.Overall(), Thresholds: []verdict.Threshold{{Metric: verdict.E2E, Quantile: 0.5, Latency: time.Second}}}),
		Headline: export.NewHeadline(s, 2*time.Second),
		Phases:   []export.Phase{{Name: "steady", End: 2 * time.Second, Measured: true, TargetUsers: 3}},
		Orgs:     []export.Org{{Index: 1, Name: "a", Users: 1}}, Bootstrap: &export.Bootstrap{Orgs: 1}, Cleanup: &export.Cleanup{Status: "done"},
		Findings: []export.Finding{{Title: "t", Detail: "d"}}, Warnings: []string{"w"}, Summary: s,
	}
}

func TestHeadline(t *testing.T) {
	h := sample().Headline
	if h.Requests != 20 || h.RequestsPerSecond != 10 || h.GoodputPerSecond != 9.5 || h.TokensPerSecond != 30 || h.ErrorRate != 0.05 || h.MaxUsers != 3 || h.CostMicroUSD != 140 {
		t.Errorf("%+v", h)
	}
	if h.E2E.Count != 19 || h.E2E.Max != 90*time.Millisecond {
		t.Errorf("the failure is in the latency: %+v", h.E2E)
	}
	if h.Connect != nil {
		t.Error("no connection time was measured, so there is none to show")
	}
	if empty := export.NewHeadline(stats.NewSummary(), 0); empty.E2E != nil || empty.RequestsPerSecond != 0 {
		t.Errorf("%+v", empty)
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	want := sample()
	if err := export.Write(path, want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	got, err := export.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(got)
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for doc, want := range map[string]string{
		`nonsense`:              "it is not JSON",
		`{}`:                    `its schema is ""`,
		`{"schema":"other/v9"}`: `this version of loadtest reads "loadtest.ai-aas.dev/result/v1"`,
		`{"schema":"` + export.Schema + `","summary":null}`:                          "no timeline",
		`{"schema":"` + export.Schema + `","summary":{"timeline":{"intervalNs":0}}}`: "no timeline",
		`{"schema":"` + export.Schema + `","run":7}`:                                 "does not fit the schema",
	} {
		if _, err := export.Decode([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
}

func TestWriteKeepsTheOldFileWhenItFails(t *testing.T) {
	dir := t.TempDir()
	if err := export.WriteFile(filepath.Join(dir, "missing", "result.json"), []byte("x")); err == nil {
		t.Fatal("writing into a folder that does not exist succeeded")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
