package documents_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/documents"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t *testing.T, dir string, count int, s documents.Selection) *documents.Library {
	t.Helper()
	l, err := documents.Open(dir, count, s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var four = map[string]string{
	"1.txt": "one", "report-2.md": "two", "003": "three", "doc_v2_4.json": "four",
	"README.md": "not a document", ".5.swp": "hidden", "9.txt": "more than are wanted",
}

func TestDocumentsAreFoundByNumber(t *testing.T) {
	l := open(t, folder(t, four), 4, documents.Random)
	for n, want := range []string{"one", "two", "three", "four"} {
		if got, err := l.Read(n + 1); got != want || err != nil {
			t.Errorf("document %d is %q, %v; want %q", n+1, got, err, want)
		}
	}
	for _, n := range []int{-1, 0, 5, 9} {
		if _, err := l.Read(n); !errors.Is(err, documents.ErrOutside) {
			t.Errorf("document %d: %v, want ErrOutside", n, err)
		}
	}
}

func TestSelections(t *testing.T) {
	dir := folder(t, four)
	rng := rand.New(rand.NewPCG(1, 2))
	count := func(l *documents.Library, n int) map[string]float64 {
		got := map[string]float64{}
		for range n {
			text, err := l.Next(rng)
			if err != nil {
				t.Fatal(err)
			}
			got[text]++
		}
		return got
	}
	for text, n := range count(open(t, dir, 4, documents.Sequential), 8) {
		if n != 2 {
			t.Errorf("in two rounds, %s came %v times", text, n)
		}
	}
	random := count(open(t, dir, 4, documents.Random), 20_000)
	weighted := count(open(t, dir, 4, documents.Weighted), 20_000)
	for i, text := range []string{"one", "two", "three", "four"} {
		if share := random[text] / 20_000; math.Abs(share-0.25) > 0.02 {
			t.Errorf("random: %s has a share of %.3f", text, share)
		}
		want := 1 / float64(i+1) / (1 + 1./2 + 1./3 + 1./4)
		if share := weighted[text] / 20_000; math.Abs(share-want) > 0.02 {
			t.Errorf("weighted: %s has a share of %.3f, want %.3f", text, share, want)
		}
	}
	first, err := open(t, dir, 4, documents.Sequential).Next(rng)
	if first != "one" || err != nil {
		t.Errorf("the first in sequence is %q, %v", first, err)
	}
}

func TestLibrariesThatCannotBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		dir   string
		count int
		way   documents.Selection
		want  string
	}{
		"no folder":   {filepath.Join(t.TempDir(), "none"), 1, documents.Random, "cannot be read"},
		"missing":     {folder(t, map[string]string{"2.txt": "x"}), 3, documents.Random, "lacks 2 of its 3 documents (numbers 1, 3)"},
		"twice":       {folder(t, map[string]string{"1.txt": "x", "01.md": "y"}), 1, documents.Random, "two documents with the number 1"},
		"none wanted": {t.TempDir(), 0, documents.Random, "at least 1"},
		"odd":         {folder(t, map[string]string{"1.txt": "x"}), 1, "odd", `"odd"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := documents.Open(c.dir, c.count, c.way); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestDocumentsAreReadWhenNeededAndKept(t *testing.T) {
	files := map[string]string{"1.txt": "first", "2.txt": strings.Repeat("é", documents.MaxBytes), "3.txt": " \n"}
	for n := 4; n <= 300; n++ {
		files[fmt.Sprint(n)] = fmt.Sprint("text ", n)
	}
	dir := folder(t, files)
	l := open(t, dir, 300, documents.Random)
	if text, err := l.Read(2); err != nil || len(text) > documents.MaxBytes || strings.Trim(text, "é") != "" {
		t.Errorf("a long document: %d bytes, %v", len(text), err)
	}
	if _, err := l.Read(3); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty document: %v", err)
	}
	if _, err := l.Read(1); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "1.txt")); err != nil {
		t.Fatal(err)
	}
	if text, err := l.Read(1); text != "first" || err != nil {
		t.Errorf("a document that was read is not kept: %q, %v", text, err)
	}
	var all sync.WaitGroup
	for n := 4; n <= 300; n++ {
		all.Go(func() {
			if text, err := l.Read(n); text != fmt.Sprint("text ", n) || err != nil {
				t.Errorf("document %d: %q, %v", n, text, err)
			}
		})
	}
	all.Wait()
	if _, err := l.Read(1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest of 300 documents is still in memory: %v", err)
	}
}

func TestDocumentsOfSeveralFoldersAreCountedOn(t *testing.T) {
	folders := [][]string{{"b/10.txt", "b/2.txt", "b/README.md"}, {"a/1.txt", "a/2.txt"}}
	for count, want := range map[int]string{
		4: "b/2.txt b/10.txt a/1.txt a/2.txt",
		3: "b/2.txt b/10.txt a/1.txt",
		5: "the library has 4 of its 5 documents, in 2 folders: a document is a file such as 1.txt",
	} {
		files, err := documents.Choose("the library", folders, count)
		got := strings.Join(files, " ")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%d documents: %s, want %s", count, got, want)
		}
	}
}
