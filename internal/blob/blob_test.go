package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob/blobtest"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

const hidden = "a-key-that-nobody-may-see"

func open(t *testing.T, s *blobtest.Server) *blob.Bucket {
	t.Helper()
	b, err := blob.Open(blob.Location{Endpoint: s.URL, Bucket: s.Bucket, AccessKey: secret.New("who"), SecretKey: secret.New(hidden)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPutListGet(t *testing.T) {
	s := blobtest.New(t, "docs")
	b := open(t, s)
	for _, key := range []string{"a/1.txt", "a/2.txt", "a/deeper/3.txt", "b/4.txt"} {
		if err := b.Put(t.Context(), key, "text/plain", []byte("this is "+key)); err != nil {
			t.Fatal(err)
		}
	}
	s.Put("a/", "")
	listed, err := b.List(t.Context(), "a/")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range listed {
		data, err := b.Get(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s (%d): %s", o.Key, o.Size, data))
	}
	if diff := cmp.Diff([]string{"a/1.txt (15): this is a/1.txt", "a/2.txt (15): this is a/2.txt"}, got); diff != "" {
		t.Error(diff)
	}
	if none, err := b.List(t.Context(), "none/"); len(none) > 0 || err != nil {
		t.Errorf("an empty folder: %v, %v", none, err)
	}

	s.Put("a/1.txt", "that is new now")
	if _, err := b.Get(t.Context(), listed[0]); err == nil || !strings.Contains(err.Error(), "changed since it was listed") {
		t.Errorf("an object that was replaced: %v", err)
	}
	s.Damage("a/2.txt", "THIS is a/2.txt")
	damaged, err := b.List(t.Context(), "a/2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), damaged[0]); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("a damaged object: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.List(gone, "a/"); !errors.Is(err, context.Canceled) || errors.Is(err, blob.ErrAway) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	for code, c := range map[string]struct {
		status int
		want   string
	}{
		"SignatureDoesNotMatch": {http.StatusForbidden, "the secret key is wrong"},
		"InvalidAccessKeyId":    {http.StatusForbidden, "the access key is not known"},
		"AccessDenied":          {http.StatusForbidden, "the keys do not allow it"},
		"NoSuchBucket":          {http.StatusNotFound, "there is no such bucket"},
		"PermanentRedirect":     {http.StatusMovedPermanently, "set AWS_REGION"},
		"Odd":                   {http.StatusBadRequest, "it answers 400 Odd"},
	} {
		t.Run(code, func(t *testing.T) {
			s := blobtest.New(t, "docs")
			s.Status, s.Code = c.status, code
			b := open(t, s)
			_, listErr := b.List(t.Context(), "a/")
			_, getErr := b.Get(t.Context(), blob.Object{Key: "a/1", Size: 1})
			for _, err := range []error{listErr, getErr, b.Put(t.Context(), "a/1", "", []byte("x"))} {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "the bucket docs at "+s.URL) ||
					errors.Is(err, blob.ErrAway) || strings.Contains(err.Error(), hidden) {
					t.Errorf("%v, want %q in it", err, c.want)
				}
			}
		})
	}
}

func TestLocationsThatCannotBe(t *testing.T) {
	for name, l := range map[string]blob.Location{
		"https://host:port":         {Endpoint: "ftp://host"},
		"nothing after it":          {Endpoint: "https://host/folder"},
		"has a password in it":      {Endpoint: "https://me:" + hidden + "@host"},
		"is not an address":         {Endpoint: "https://" + hidden + "%zz"},
		"give both, or neither":     {Endpoint: "host", AccessKey: secret.New("x")},
		"the bucket docs at https:": {Endpoint: "https://a b"},
	} {
		l.Bucket = "docs"
		if _, err := blob.Open(l); err == nil || strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheEnvironmentFillsIn(t *testing.T) {
	env := map[string]string{
		"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_DEFAULT_REGION": "eu", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t",
	}
	getenv := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	full := blob.Location{Bucket: "b"}.Or(getenv)
	if want := (blob.Location{Endpoint: "http://minio:9000", Region: "eu", Bucket: "b", AccessKey: secret.New("a"), SecretKey: secret.New("s"), SessionToken: secret.New("t")}); full != want {
		t.Errorf("%+v", full)
	}
	given := blob.Location{Endpoint: "http://own", Region: "us", AccessKey: secret.New("x"), SecretKey: secret.New("y")}
	if got := given.Or(getenv); got != given {
		t.Errorf("what is given is replaced: %+v", got)
	}
	if got := (blob.Location{}).Or(func(string) (string, bool) { return "", false }); got.Endpoint != "https://s3.amazonaws.com" || !got.AccessKey.Empty() {
		t.Errorf("%+v", got)
	}
}

// all chooses every object of the first folder.
func all(folders [][]string) ([]string, error) {
	if len(folders[0]) == 0 {
		return nil, errors.New("there is nothing")
	}
	return folders[0], nil
}

func texts(t *testing.T, paths []string) (got []string) {
	t.Helper()
	for _, p := range paths {
		data, err := os.ReadFile(p) // #nosec G304 -- of the cache
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(data))
	}
	return got
}

func TestCache(t *testing.T) {
	t.Parallel()
	s, c := blobtest.New(t, "docs"), blob.Cache{Folder: filepath.Join(t.TempDir(), "cache")}
	s.Put("a/1", "one")
	s.Put("a/2", "two")
	b := open(t, s)
	fetch := func(want ...string) {
		t.Helper()
		paths, stale, err := c.Fetch(t.Context(), b, []string{"a/"}, all)
		if err != nil || stale != nil {
			t.Fatal(stale, err)
		}
		if diff := cmp.Diff(want, texts(t, paths)); diff != "" {
			t.Error(diff)
		}
	}
	gets := func(want int) {
		t.Helper()
		if n := s.Calls(http.MethodGet); n != want {
			t.Errorf("%d objects were fetched, want %d", n, want)
		}
	}
	fetch("one", "two")
	gets(2)
	fetch("one", "two")
	gets(2)
	s.Put("a/2", "TWO")
	s.Put("a/3", "three")
	fetch("one", "TWO", "three")
	gets(4)

	err := filepath.WalkDir(c.Folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if want := map[bool]fs.FileMode{true: fs.ModeDir | 0o700, false: 0o600}[d.IsDir()]; err == nil && info.Mode() != want {
			t.Errorf("%s has the mode %v, want %v", path, info.Mode(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	// A bucket that refuses is not one that is away.
	s.Status, s.Code = http.StatusForbidden, "AccessDenied"
	if _, _, err := c.Fetch(t.Context(), b, []string{"a/"}, all); err == nil || errors.Is(err, blob.ErrAway) {
		t.Errorf("refused: %v", err)
	}
	s.Status = 0

	s.Close()
	paths, stale, err := c.Fetch(t.Context(), b, []string{"a/"}, all)
	if err != nil || !errors.Is(stale, blob.ErrAway) {
		t.Fatal(stale, err)
	}
	if diff := cmp.Diff([]string{"one", "TWO", "three"}, texts(t, paths)); diff != "" {
		t.Error(diff)
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Fetch(t.Context(), b, []string{"a/"}, all); !errors.Is(err, blob.ErrAway) || !strings.Contains(err.Error(), "nor is it in the cache") {
		t.Errorf("away, with a part of it in the cache: %v", err)
	}
}

func TestWhatCannotBeCached(t *testing.T) {
	s, c := blobtest.New(t, "docs"), blob.Cache{Folder: t.TempDir()}
	s.Put("big/1", strings.Repeat("x", blob.MaxCached+1))
	s.Put("a/1", "one")
	for prefix, want := range map[string]string{"big/": "is too large", "none/": "there is nothing"} {
		if _, _, err := c.Fetch(t.Context(), open(t, s), []string{prefix}, all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", prefix, err, want)
		}
	}
	file := filepath.Join(c.Folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (blob.Cache{Folder: file}).Fetch(t.Context(), open(t, s), []string{"a/"}, all); err == nil || !strings.Contains(err.Error(), "make the cache") {
		t.Errorf("a cache that is a file: %v", err)
	}
}
