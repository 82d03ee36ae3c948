package export

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Write puts the document at path, whole or not at all.
func Write(path string, b *Bundle) error {
	data, err := Encode(b)
	if err != nil {
		return err
	}
	return WriteFile(path, data)
}

// Encode returns the document as JSON. Lists that are nil become empty ones.
func Encode(b *Bundle) ([]byte, error) {
	out, sum := *b, *cmp.Or(b.Summary, stats.NewSummary())
	out.Summary = &sum
	empty(&out.Phases)
	empty(&out.Orgs)
	empty(&out.Findings)
	empty(&out.Warnings)
	empty(&out.Verdict.Reasons)
	empty(&out.Verdict.Checks)
	empty(&sum.Groups)
	empty(&sum.Users)
	if sum.Timeline.Intervals == nil {
		sum.Timeline = &stats.Timeline{Interval: sum.Timeline.Interval, Intervals: []*stats.Interval{}}
	}
	var data bytes.Buffer
	if err := json.NewEncoder(&data).Encode(&out); err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	return data.Bytes(), nil
}

func empty[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

// WriteFile puts data at path atomically, readable by its owner only: a
// reader sees the old file or the new one, and a full disk leaves the old.
func WriteFile(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(filepath.Dir(path)), renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Read returns the document at path. It refuses documents of another version
// and documents that contradict themselves.
func Read(path string) (*Bundle, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, fmt.Errorf("read the result: %w", err)
	}
	b, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("read the result %s: %w", path, err)
	}
	return b, nil
}

// Decode returns the document in data; see [Read].
func Decode(data []byte) (*Bundle, error) {
	var version struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	if version.Schema != Schema {
		return nil, fmt.Errorf("its schema is %q; this version of loadtest reads %q", version.Schema, Schema)
	}
	b := &Bundle{Summary: stats.NewSummary()}
	if err := json.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("it does not fit the schema: %w", err)
	}
	if b.Summary == nil || b.Summary.Timeline == nil || b.Summary.Timeline.Interval <= 0 {
		return nil, errors.New("it does not fit the schema: the summary has no timeline")
	}
	return b, nil
}
