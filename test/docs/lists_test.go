package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	requirement = regexp.MustCompile(`(?m)^(?:require )?\t?([a-z0-9./_-]+\.[a-z0-9./_-]+) v\S+$`) // without // indirect
	firstCell   = regexp.MustCompile("(?m)^\\| `?([^ |`]+)[^|]*\\|")
)

// Every module that is required directly has its reasons in writing, and
// nothing else has: but for vendored assets, which are named as such.
func TestDependenciesAreExplained(t *testing.T) {
	var required, explained []string
	for _, m := range requirement.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		required = append(required, m[1])
	}
	if len(required) < 10 {
		t.Fatalf("found only %v in go.mod", required)
	}
	page := read(t, "docs/dependencies.md")
	for line := range strings.Lines(page) {
		m := firstCell.FindStringSubmatch(line)
		if m == nil || m[1] == "module" || strings.HasPrefix(m[1], "---") || strings.Contains(line, "vendored asset") {
			continue
		}
		explained = append(explained, m[1])
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || len(strings.TrimSpace(cells[2])) < 20 {
			t.Errorf("docs/dependencies.md says too little: %s", line)
		}
	}
	for _, m := range required {
		if !slices.Contains(explained, m) {
			t.Errorf("docs/dependencies.md does not say why there is %s", m)
		}
	}
	for _, m := range explained {
		if !slices.Contains(required, m) {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require", m)
		}
	}
}

// The table of packages has each on the floor on which test/architecture has it.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../architecture/layers_test.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	page, floor := read(t, "docs/load-testing/architecture.md"), 0
	named := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "layers" {
			return true
		}
		for _, layer := range spec.Values[0].(*ast.CompositeLit).Elts {
			for _, p := range layer.(*ast.CompositeLit).Elts {
				dir, err := strconv.Unquote(p.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				name := strings.TrimPrefix(dir, "internal/")
				row := regexp.MustCompile(`(?m)^\| ` + strconv.Itoa(floor) + " \\| [^|]*`" + regexp.QuoteMeta(name) + "`")
				if !row.MatchString(page) {
					t.Errorf("docs/load-testing/architecture.md does not name `%s` on floor %d", name, floor)
				}
				named++
			}
			floor++
		}
		return false
	})
	if named < 15 {
		t.Errorf("test/architecture lists only %d packages", named)
	}
}
