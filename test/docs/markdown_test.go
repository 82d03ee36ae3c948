// Package docs runs the documentation: every scenario in it is valid, every
// command exists, every link leads somewhere, every transcript is what the
// tool says, and the lists in it are complete.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// at returns the path of a file of the repository.
func at(file string) string { return filepath.Join("..", "..", filepath.FromSlash(file)) }

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(at(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// pages are the documents, as paths in the repository.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
	err := filepath.WalkDir(at("docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			rel, relErr := filepath.Rel(at("."), path)
			found, err = append(found, filepath.ToSlash(rel)), relErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// block is a fenced block of code.
type block struct {
	line int    // of its first line in the document
	info string // what stands behind the fence, such as sh
	text string
}

func blocks(page string) (found []block) {
	var open *block
	for i, line := range strings.Split(page, "\n") {
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open = &block{line: i + 2, info: strings.TrimSpace(info)}
		case fence:
			found = append(found, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return found
}

// prose is a document without its fenced blocks.
func prose(page string) string {
	var out strings.Builder
	inside := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
		} else if !inside {
			out.WriteString(line)
		}
	}
	return out.String()
}
