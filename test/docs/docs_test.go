package docs

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli/cluster"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

// asTool makes the test's own program behave as loadtest, so that commands run
// in a folder and an environment of their own.
const asTool = "LOADTEST_DOCS_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		os.Exit(cli.Run(context.Background(), "dev", os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	// The tests that run loads mostly wait: there may be more of them at once
	// than there are processors.
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var (
	inlineLink = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are what links may point at in a document, as GitHub makes them.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(prose(page), -1) {
		slug := strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
		for n := 1; found[slug]; n++ {
			slug = fmt.Sprintf("%s-%d", strings.TrimSuffix(slug, fmt.Sprintf("-%d", n-1)), n)
		}
		found[slug] = true
	}
	return found
}

func TestLinks(t *testing.T) {
	links := 0
	for _, file := range pages(t) {
		for _, m := range inlineLink.FindAllStringSubmatch(prose(read(t, file)), -1) {
			target, err := url.Parse(m[1] + m[2])
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if target.Scheme != "" {
				continue
			}
			links++
			to := file
			if target.Path != "" {
				to = path.Join(path.Dir(file), target.Path)
			}
			if _, err := os.Stat(at(to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", file, target.Path)
			} else if target.Fragment != "" && !anchors(read(t, to))[target.Fragment] {
				t.Errorf("%s links to %s, and %s has no such heading", file, target, to)
			}
		}
	}
	if links < 20 {
		t.Errorf("found only %d links", links)
	}
}

// placeholder stands for any variable of the environment.
func placeholder(name string) (string, bool) {
	if strings.Contains(name, "URL") {
		return "http://localhost:8080", true
	}
	return "placeholder", true
}

const minimal = "apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: fragment}\nspec:\n"

// Every YAML block is a scenario, but for those marked as fragments, which are
// a part of one below spec, and faulty.yaml, which is there to be refused.
func TestScenariosAreValid(t *testing.T) {
	checked := 0
	for _, file := range pages(t) {
		for _, b := range blocks(read(t, file)) {
			kind, name, _ := strings.Cut(b.info, " ")
			if kind != "yaml" || name == "faulty.yaml" {
				continue
			}
			text := b.text
			if name == "fragment" {
				text = minimal + "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
			}
			s, err := config.Parse(fmt.Sprintf("%s:%d", file, b.line), []byte(text), placeholder)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, u := range s.Unsupported() {
				t.Errorf("%s:%d recommends %s, which has no effect yet", file, b.line, u.Path)
			}
			checked++
		}
	}
	if checked < 5 {
		t.Errorf("checked only %d scenarios", checked)
	}
}

// words splits a command line as a shell would, up to the first operator or
// comment. Variables stay as they are.
func words(line string) []string {
	var out []string
	for w := range strings.FieldsSeq(line) {
		if strings.HasPrefix(w, "#") || slices.Contains([]string{"|", ">", "<", "&", "&&", ";"}, w) {
			break
		}
		out = append(out, strings.Trim(w, `"'`))
	}
	return out
}

// checkCommand says what is wrong with a command that a reader is told to type.
func checkCommand(args []string, makefile string) error {
	exists := func(file string) error {
		_, err := os.Stat(at(strings.TrimPrefix(file, "./")))
		return err
	}
	switch args[0] {
	case "loadtest", "bin/loadtest":
		for _, a := range args[1:] {
			if strings.HasPrefix(a, "configs/") {
				if err := exists(a); err != nil {
					return err
				}
			}
		}
		return cli.Check(args[1:], cluster.Commands)
	case "make":
		for _, target := range args[1:] {
			if !strings.Contains(makefile, "\n"+target+":") {
				return fmt.Errorf("the Makefile has no target %s", target)
			}
		}
		return nil
	case "go":
		for _, a := range args[1:] {
			if dir, ours := strings.CutPrefix(a, "github.com/otherjamesbrown/ai-aas/tests/load/"); ours {
				dir, _, _ = strings.Cut(dir, "@")
				return exists(dir)
			} else if strings.HasPrefix(a, "./") {
				return exists(strings.TrimSuffix(a, "/..."))
			}
		}
		return fmt.Errorf("go without a package of ours")
	case "docker", "helm", "kubectl", "prometheus": // with files of ours
		for _, a := range args[1:] {
			if strings.HasPrefix(a, "deploy/") {
				if err := exists(a); err != nil {
					return err
				}
			}
		}
		return nil
	case "export", "curl", "git", "cd":
		return nil
	default:
		return exists(args[0]) // a script
	}
}

// What checks the documents must itself be able to refuse.
func TestWrongCommandsAreRefused(t *testing.T) {
	for _, line := range []string{
		"loadtest", "loadtest rnu x.yaml", "loadtest run", "loadtest run a.yaml b.yaml", "loadtest run --fast a.yaml",
		"loadtest scenario vaildate a.yaml", "loadtest platform --instant --speed 3", "bin/loadtest run configs/examples/none.yaml",
		"make nothing", "go install github.com/otherjamesbrown/ai-aas/tests/load/cmd/none@latest", "docs/images/none.sh",
		"kubectl apply -k deploy/none",
	} {
		err := checkCommand(words(line), "\nmake: all\n")
		if helps := line == "loadtest"; (err == nil) != helps {
			t.Errorf("%s: %v", line, err)
		}
	}
	if got := words(`loadtest run "a.yaml" | head # and so on`); !slices.Equal(got, []string{"loadtest", "run", "a.yaml"}) {
		t.Errorf("got %q", got)
	}
	if got := shape("  ITL   6.31ms   12.6ms?  3,797  run 20261123-142050-9746"); got != "ITL # # # run ID" {
		t.Errorf("got %q", got)
	}
}

func TestCommandsExist(t *testing.T) {
	makefile, checked := "\n"+read(t, "Makefile"), 0
	for _, file := range pages(t) {
		for _, b := range blocks(read(t, file)) {
			for i, line := range strings.Split(b.text, "\n") {
				switch {
				case b.info == "console" && strings.HasPrefix(line, "$ "):
					line = line[2:]
				case b.info != "sh":
					continue
				}
				args := words(line)
				if len(args) == 0 {
					continue
				}
				checked++
				if err := checkCommand(args, makefile); err != nil {
					t.Errorf("%s:%d: %s: %v", file, b.line+i, strings.TrimSpace(line), err)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("checked only %d commands", checked)
	}
}

// A tool is loadtest in a folder of its own.
type tool struct {
	dir string
	env []string
}

// newTool prepares a folder in which the examples are where a reader has them.
func newTool(t *testing.T, env ...string) tool {
	t.Helper()
	dir := t.TempDir()
	configs, err := filepath.Abs(at("configs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(configs, filepath.Join(dir, "configs")); err != nil {
		t.Fatal(err)
	}
	return tool{dir, append(env, asTool+"=1", "TMPDIR="+dir, "HOME="+dir)}
}

// run returns what a person would see, and the exit code.
func (l tool) run(t *testing.T, args ...string) (output string, exit int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	// The run is given no time limit but the test's own.
	cmd := command(t, self, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = l.dir, l.env, &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

var (
	runID   = regexp.MustCompile(`\d{8}-\d{6}-[0-9a-f]{4}`)
	doubt   = regexp.MustCompile(`from (\d+ samples); p\d+ wants about \d+`)
	measure = regexp.MustCompile(`(?:\d[\d.,]*(?:ns|µs|ms|%|[smh])?)+[?!]?`)
	sure    = regexp.MustCompile(`(, p\d+ \S+ to \S+)+$`) // how many are known depends on the number of samples
	spaces  = regexp.MustCompile(`\s+`)
)

// shape is a line of a summary without what differs from run to run.
func shape(line string) string {
	line = strings.ReplaceAll(sure.ReplaceAllString(line, ""), "–", "0")
	line = doubt.ReplaceAllString(runID.ReplaceAllString(line, "ID"), "$1")
	return strings.TrimSpace(spaces.ReplaceAllString(measure.ReplaceAllString(line, "#"), " "))
}

// Transcripts are carried out, those of a page one after the other in one
// folder, in which its named YAML blocks are files. What a command says must
// be what stands there. Of a run, whose numbers differ, every line that stands
// there must come, in that order and with other numbers.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	ran := map[string]int{}
	t.Run("pages", func(t *testing.T) {
		for _, file := range pages(t) {
			var steps []block
			for _, b := range blocks(read(t, file)) {
				if _, name, _ := strings.Cut(b.info, " "); b.info == "console" || strings.HasSuffix(name, ".yaml") {
					steps = append(steps, b)
					ran[file]++
				}
			}
			if len(steps) == 0 {
				continue
			}
			t.Run(path.Base(file), func(t *testing.T) {
				t.Parallel()
				l := newTool(t)
				for _, b := range steps {
					if _, name, named := strings.Cut(b.info, " "); named {
						if err := os.WriteFile(filepath.Join(l.dir, name), []byte(b.text), 0o600); err != nil {
							t.Fatal(err)
						}
						continue
					}
					l.transcript(t, fmt.Sprintf("%s:%d", file, b.line), b.text)
				}
			})
		}
	})
	if len(ran) < 3 {
		t.Errorf("there are transcripts only in %v", slices.Collect(maps.Keys(ran)))
	}
}

func (l tool) transcript(t *testing.T, where, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "$ ") {
		t.Fatalf("%s: a transcript begins with a command", where)
	}
	for step := range strings.SplitSeq(text[2:], "\n$ ") {
		line, want, _ := strings.Cut(step, "\n")
		args := words(line)
		if args[0] != "loadtest" {
			t.Fatalf("%s: transcripts are of loadtest alone, not of %s", where, args[0])
		}
		got, exit := l.run(t, args[1:]...)
		if args[1] != "run" {
			if strings.TrimSpace(got) != strings.TrimSpace(want) {
				t.Errorf("%s: %s says\n%s", where, line, got)
			}
			continue
		}
		if exit != 0 {
			t.Errorf("%s: %s exits with %d:\n%s", where, line, exit, got)
		}
		lines := strings.Split(got, "\n")
		for w := range strings.SplitSeq(want, "\n") {
			i := slices.IndexFunc(lines, func(g string) bool { return shape(g) == shape(w) })
			if i < 0 {
				t.Errorf("%s: %s does not say, where it should, a line like\n%s\nIt says\n%s", where, line, w, got)
				return
			}
			lines = lines[i+1:]
		}
	}
}
