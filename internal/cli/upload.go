package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
)

// scenarioFile is the scenario in effect, without secrets, beside the results.
const scenarioFile = "scenario.yaml"

// destination is a folder in a bucket.
type destination struct {
	*blob.Bucket
	name     string // the bucket's
	folder   string // empty, or with a slash at its end
	scenario []byte // to be put there; nil once it is
}

func (d *destination) url(file string) string { return "s3://" + d.name + "/" + d.folder + file }

// openBucket opens cleanup.exportResultsTo, if that is in a bucket, and puts the
// scenario there: a bucket that will take no results is found out before there
// are any. One that is away may be back by then.
func (r *localRun) openBucket(ctx context.Context, s *config.Scenario) error {
	d, err := r.destination(s)
	if d == nil || err != nil {
		return err
	}
	var text bytes.Buffer
	if err := config.Explain(&text, s); err != nil {
		return fmt.Errorf("%s: %w", exportField, err)
	}
	d.scenario = text.Bytes()
	switch err := d.putScenario(ctx); {
	case errors.Is(err, blob.ErrAway):
		r.say("warning: %s: %v; it is tried again when the run is over\n", exportField, err)
	case err != nil:
		return fmt.Errorf("%s: %w", exportField, err)
	}
	r.bucket = d
	return nil
}

const exportField = "spec.cleanup.exportResultsTo"

// destination is cleanup.exportResultsTo, or nil if that is in no bucket. Nothing
// is sent there.
func (r *localRun) destination(s *config.Scenario) (*destination, error) {
	to, inBucket := strings.CutPrefix(s.Spec.Cleanup.ExportResultsTo, "s3://")
	if !inBucket {
		return nil, nil
	}
	bucket, folder, _ := strings.Cut(r.placed(s, to), "/")
	if folder = strings.Trim(folder, "/"); folder != "" {
		folder += "/"
	}
	opened, err := blob.Open(blob.Location{Bucket: bucket}.Or(os.LookupEnv))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", exportField, err)
	}
	return &destination{Bucket: opened, name: bucket, folder: folder}, nil
}

func (d *destination) putScenario(ctx context.Context) error {
	if d.scenario == nil {
		return nil
	}
	err := d.Put(ctx, d.folder+scenarioFile, "application/yaml", d.scenario)
	if err == nil {
		d.scenario = nil
	}
	return err
}

// upload puts the results into the bucket. The result comes last: where it is,
// everything is.
func (r *localRun) upload(ctx context.Context, b *export.Bundle, page []byte, files *[]string) error {
	d := r.bucket
	if d == nil {
		return nil
	}
	result, err := export.Encode(b)
	if err == nil {
		err = d.putScenario(ctx)
	}
	if err == nil && len(page) > 0 {
		if err = d.Put(ctx, d.folder+reportFile, "text/html; charset=utf-8", page); err == nil {
			*files = append(*files, d.url(reportFile))
		}
	}
	if err == nil {
		err = d.Put(ctx, d.folder+resultFile, "application/json", result)
	}
	if err != nil {
		return fmt.Errorf("export the results to %s: %w; they are in %s", d.url(""), err, r.folder)
	}
	*files = append(*files, d.url(resultFile))
	return nil
}

// cacheFolder is where files from elsewhere are kept for the next run, or
// nowhere if this user has no such place.
func cacheFolder() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	dir = filepath.Join(dir, "loadtest")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	return dir
}
