// Package documents reads the library that long questions are about: a set of
// documents that are numbered from 1.
//
// They are found once; a document is read when it is first asked for,
// and the last few read are kept, so that a library may be larger than memory.
package documents

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Selection says which document is next.
type Selection string

// The selections.
const (
	Random     Selection = "random"     // each equally often
	Sequential Selection = "sequential" // 1, 2, 3 … and again from 1, over all users together
	Weighted   Selection = "weighted"   // document n in proportion to 1/n: the first are the popular ones (Zipf's law)
)

// MaxBytes is how much of a document is used. With the question, and with
// JSON's escapes, that stays below the 64 KiB that the platform's router takes.
const MaxBytes = 32 << 10

// kept is how many documents stay in memory: at most 8 MiB.
const kept = 256

// ErrOutside marks the number of a document that the library does not have.
var ErrOutside = errors.New("the library has no such document")

// Library is a set of documents. It is safe for concurrent use.
type Library struct {
	files     []string  // paths, by number less one
	upTo      []float64 // running sum of the weights, if weighted
	selection Selection

	mu    sync.Mutex
	next  int // for Sequential
	cache map[int]string
	order []int // numbers in the cache, the oldest first
}

var numbered = regexp.MustCompile(`(\d+)(\.[^.]*)?$`)

// Open lists a folder and finds the documents 1 to count in it, as [Choose] does.
func Open(folder string, count int, selection Selection) (*Library, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("the document library cannot be read: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	files, err := Choose("the document library "+folder, [][]string{names}, count)
	if err != nil {
		return nil, err
	}
	for i, name := range files {
		files[i] = filepath.Join(folder, name)
	}
	return New(files, selection)
}

// Choose finds the documents 1 to count among files: those whose names, apart
// from an extension, end in these numbers, such as 7.txt or report-007.md. What
// stands before a last slash is no part of a name. Other files are left alone.
// It is an error if a document is missing, or there twice.
//
// Of several folders, the documents are counted on: after the last number of a
// folder comes the first of the next. There, numbers may be missing.
//
// library begins the error.
func Choose(library string, folders [][]string, count int) ([]string, error) {
	if count < 1 {
		return nil, fmt.Errorf("%s is to have %d documents: expected at least 1", library, count)
	}
	var all []string
	for _, files := range folders {
		byNumber := map[int]string{}
		for _, file := range files {
			n, ok := number(path.Base(file))
			if !ok || len(folders) == 1 && n > count {
				continue
			}
			if have, twice := byNumber[n]; twice {
				return nil, fmt.Errorf("%s has two documents with the number %d: %s and %s", library, n, have, file)
			}
			byNumber[n] = file
		}
		if len(folders) == 1 {
			return inOrder(library, byNumber, count)
		}
		for _, n := range slices.Sorted(maps.Keys(byNumber)) {
			all = append(all, byNumber[n])
		}
	}
	if len(all) < count {
		return nil, fmt.Errorf("%s has %d of its %d documents, in %d folders: a document is a file such as 1.txt", library, len(all), count, len(folders))
	}
	return all[:count], nil
}

// number returns the number of the document of that name, if it is one.
func number(name string) (int, bool) {
	m := numbered.FindStringSubmatch(name)
	if m == nil || strings.HasPrefix(name, ".") {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil && n >= 1
}

// inOrder returns the documents 1 to count, or says which are missing.
func inOrder(library string, byNumber map[int]string, count int) ([]string, error) {
	files := make([]string, count)
	var missing []string
	for i := range files {
		if files[i] = byNumber[i+1]; files[i] == "" {
			missing = append(missing, strconv.Itoa(i+1))
		}
	}
	if n := len(missing); n > 0 {
		const most = 5
		list := strings.Join(missing[:min(n, most)], ", ")
		if n > most {
			list += " …"
		}
		return nil, fmt.Errorf("%s lacks %d of its %d documents (numbers %s): a document is a file such as %s.txt", library, n, count, list, missing[0])
	}
	return files, nil
}

// New returns the library of these files, by the numbers of its documents.
func New(files []string, selection Selection) (*Library, error) {
	l := &Library{files: files, selection: selection, cache: map[int]string{}}
	switch selection {
	case Random, Sequential:
	case Weighted:
		sum := 0.0
		for n := 1; n <= len(files); n++ {
			sum += 1 / float64(n)
			l.upTo = append(l.upTo, sum)
		}
	default:
		return nil, fmt.Errorf("the selection strategy %q is unknown: use %s, %s or %s", selection, Random, Sequential, Weighted)
	}
	return l, nil
}

// Next returns the document whose turn it is.
func (l *Library) Next(rng *rand.Rand) (string, error) { return l.Read(l.choose(rng)) }

func (l *Library) choose(rng *rand.Rand) int {
	switch l.selection {
	case Sequential:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.next++
		return (l.next-1)%len(l.files) + 1
	case Weighted:
		x := rng.Float64() * l.upTo[len(l.upTo)-1]
		i, _ := slices.BinarySearch(l.upTo, math.Nextafter(x, math.Inf(1)))
		return min(i, len(l.files)-1) + 1
	default:
		return rng.IntN(len(l.files)) + 1
	}
}

// Read returns a document by its number, at most [MaxBytes] of it. The error is
// [ErrOutside] for a number that is not from 1 to the library's count.
func (l *Library) Read(number int) (string, error) {
	if number < 1 || number > len(l.files) {
		return "", fmt.Errorf("document %d: %w: its documents are numbered from 1 to %d", number, ErrOutside, len(l.files))
	}
	l.mu.Lock()
	text, have := l.cache[number]
	l.mu.Unlock()
	if have {
		return text, nil
	}
	text, err := read(l.files[number-1])
	if err != nil {
		return "", fmt.Errorf("document %d cannot be read: %w", number, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, have := l.cache[number]; !have {
		if len(l.order) == kept {
			delete(l.cache, l.order[0])
			l.order = l.order[1:]
		}
		l.cache[number] = text
		l.order = append(l.order, number)
	}
	return text, nil
}

func read(file string) (string, error) {
	f, err := os.Open(file) //nolint:gosec // the scenario says where its documents are
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(data), ""))
	if text == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return text, nil
}
