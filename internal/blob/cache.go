package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
)

// MaxCached is how large an object may be that is cached.
const MaxCached = 16 << 20

// parallel is how many objects are fetched at a time.
const parallel = 8

// Cache is a folder of objects that were in buckets. An object is kept under
// its server, bucket, key and ETag, so that one which changes becomes another;
// beside them stands the last listing of each set of folders. Every file is
// written whole or not at all, and readable by its owner only. Any number of
// processes may use one cache at once; it may be deleted when none does.
type Cache struct{ Folder string }

// listing is what the folders of a bucket had in them.
type listing struct {
	Bucket   string     `json:"bucket"`
	Prefixes []string   `json:"prefixes"`
	Objects  [][]Object `json:"objects"` // of each prefix
}

// Fetch sees to it that objects of some folders of a bucket are on disk, and
// returns the paths of those that choose wants, in its order. choose gets the
// keys in each of the folders.
//
// The bucket is listed every time, and what is new is fetched. If the bucket is
// away, what it had when it was last listed is taken from the cache: stale says
// then why. The error is [ErrAway] if that is not there either.
func (c Cache) Fetch(ctx context.Context, b *Bucket, prefixes []string, choose func(folders [][]string) ([]string, error)) (paths []string, stale, err error) {
	now := &listing{Bucket: b.String(), Prefixes: prefixes}
	for _, prefix := range prefixes {
		objects, listErr := b.List(ctx, prefix)
		if listErr != nil {
			err = listErr
			break
		}
		now.Objects = append(now.Objects, objects)
	}
	if err == nil {
		paths, err = c.fetch(ctx, b, now, choose)
	}
	if err == nil {
		var data []byte
		if data, err = json.Marshal(now); err == nil {
			err = c.write(c.listing(b, prefixes), data)
		}
	}
	if !errors.Is(err, ErrAway) {
		return paths, nil, err
	}
	if paths = c.kept(b, prefixes, choose); paths == nil {
		return nil, nil, fmt.Errorf("%w; nor is it in the cache %s", err, c.Folder)
	}
	return paths, err, nil
}

// fetch gets the chosen objects that are not there yet.
func (c Cache) fetch(ctx context.Context, b *Bucket, l *listing, choose func([][]string) ([]string, error)) ([]string, error) {
	objects, err := l.chosen(choose)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.Size > MaxCached {
			return nil, fmt.Errorf("%s in %s is too large: it has %d bytes, and %d are the most", o.Key, b, o.Size, MaxCached)
		}
	}
	paths := make([]string, len(objects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, o := range objects {
		paths[i] = c.object(b, o)
		if isThere(paths[i], o) {
			continue
		}
		fetch := func() error {
			data, err := b.Get(ctx, o)
			if err != nil {
				return err
			}
			return c.write(paths[i], data)
		}
		group.Go(func() error { return crash.Guard("fetching "+o.Key, fetch) })
	}
	return paths, group.Wait()
}

// kept returns what the bucket had when it was last listed, if all of it is there.
func (c Cache) kept(b *Bucket, prefixes []string, choose func([][]string) ([]string, error)) []string {
	data, err := os.ReadFile(c.listing(b, prefixes))
	if err != nil {
		return nil
	}
	var l listing
	if err := json.Unmarshal(data, &l); err != nil {
		return nil
	}
	objects, err := l.chosen(choose)
	if err != nil {
		return nil
	}
	paths := make([]string, len(objects))
	for i, o := range objects {
		if paths[i] = c.object(b, o); !isThere(paths[i], o) {
			return nil
		}
	}
	return paths
}

func (l *listing) chosen(choose func([][]string) ([]string, error)) ([]Object, error) {
	keys, known := make([][]string, len(l.Objects)), map[string]Object{}
	for i, folder := range l.Objects {
		for _, o := range folder {
			keys[i] = append(keys[i], o.Key)
			known[o.Key] = o
		}
	}
	chosen, err := choose(keys)
	if err != nil {
		return nil, err
	}
	objects := make([]Object, len(chosen))
	for i, key := range chosen {
		objects[i] = known[key]
	}
	return objects, nil
}

func isThere(path string, o Object) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == o.Size
}

// object is where an object is kept.
func (c Cache) object(b *Bucket, o Object) string { return c.path(b, "objects", o.Key, o.ETag) }

// listing is where the last listing of folders is kept.
func (c Cache) listing(b *Bucket, prefixes []string) string {
	return c.path(b, "listings", prefixes...)
}

func (c Cache) path(b *Bucket, kind string, names ...string) string {
	hash := func(names ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(names, "\x00")))
		return hex.EncodeToString(sum[:16])
	}
	return filepath.Join(c.Folder, hash(b.endpoint, b.name), kind, hash(names...))
}

func (c Cache) write(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	if err := renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(dir), renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("write the cache: %w", err)
	}
	return nil
}
