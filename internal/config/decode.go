package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// MaxBytes is how large a scenario file may be.
const MaxBytes = 1 << 20

// What else an input may be like at most.
const (
	maxDepth = 50      // of nesting
	maxDocs  = 100     // in a file
	maxItems = 10_000  // of a list or mapping
	maxNodes = 200_000 // visited while decoding, aliases followed
)

// Load reads the scenario in the file at path. getenv looks up environment
// variables, as os.LookupEnv does; nil means that there are none. The error is
// a *[Faults] if the file could be read and is wrong.
func Load(path string, getenv func(string) (string, bool)) (*Scenario, error) {
	f, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, fmt.Errorf("read the scenario: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the scenario: %w", err)
	}
	return Parse(path, data, getenv)
}

// Parse reads a scenario from data. name stands for it in faults; if it is the
// path of a file, relative paths in the scenario start from that file's folder.
func Parse(name string, data []byte, getenv func(string) (string, bool)) (*Scenario, error) {
	s, _, err := ParseDocuments(name, data, getenv)
	if err == nil && s == nil {
		err = noScenario(name)
	}
	return s, err
}

func noScenario(name string) error {
	return &Faults{List: []Fault{{File: name, Message: "there is no document of kind " + KindLoadTestScenario,
		Hint: "begin with apiVersion: loadtest.ai-aas.dev/v1 and kind: " + KindLoadTestScenario}}}
}

// ParseDocuments is Parse for files that may also hold TestScenarios alone;
// then the scenario is nil.
func ParseDocuments(name string, data []byte, getenv func(string) (string, bool)) (*Scenario, []TestScenario, error) {
	d := newDecoder(name, data, getenv)
	s, tests := d.documents(string(data))
	if s != nil {
		s.TestScenarios = tests
		d.checkReferences(s)
	}
	if err := d.faults.err(); err != nil {
		return nil, nil, err
	}
	if s == nil && len(tests) == 0 {
		return nil, nil, noScenario(name)
	}
	return s, tests, nil
}

// A decoder turns YAML nodes into Go values by the tags of their types, and
// notes what was given and what is wrong.
type decoder struct {
	src    *source
	dir    string // of the file; "" if there is none
	getenv func(string) (string, bool)
	faults Faults

	// given holds what the document being decoded says, by canonical path.
	given    map[string]given
	warnings []string

	depth, nodes int
	exhausted    bool          // by one of the two
	aliases      []*yaml.Node  // being followed, so that a fault is reported where the alias stands
	one          time.Duration // what a plain number counts in a field whose unit is s
}

// given is a value of the file.
type given struct {
	key, value *yaml.Node // key is nil in a list
	byDefault  bool       // it is no value of the file: it came with the default of a field further out
	bad        bool       // it was wrong: a fault has been reported
}

const byteOrderMark = "\ufeff"

func newDecoder(name string, data []byte, getenv func(string) (string, bool)) *decoder {
	if getenv == nil {
		getenv = func(string) (string, bool) { return "", false }
	}
	d := &decoder{src: newSource(name, ""), getenv: getenv, one: time.Second}
	if dir := filepath.Dir(name); dir != "." && name != "-" && name != "" {
		d.dir = dir
	}
	if len(data) > MaxBytes {
		d.faults.add(Fault{File: name, Message: "the file is larger than 1 MiB, which no scenario needs to be"})
		return d
	}
	text := strings.TrimPrefix(string(data), byteOrderMark)
	d.src = newSource(name, text)
	d.checkCharacters(text)
	return d
}

// checkCharacters refuses what is not text, with a position that the YAML
// library does not give.
func (d *decoder) checkCharacters(text string) {
	message := ""
	if !utf8.ValidString(text) {
		message = "the file is not UTF-8 text: there are bytes here that are no character"
	}
	for i, line := range d.src.lines {
		for j, r := range line {
			switch {
			case r == utf8.RuneError && message != "":
			case unicode.IsControl(r) && r != '\t':
				message = fmt.Sprintf("there is a control character here (%U)", r)
			default:
				continue
			}
			d.src.concealLine(i + 1)
			f := Fault{File: d.src.name, Line: i + 1, Column: j + 1, Message: message}
			f.Source, f.Caret = d.src.excerpt(f.Line, f.Column)
			d.faults.add(f)
			return
		}
	}
}

// nodesOf parses the YAML of the file into the root nodes of its documents.
// After a syntax error those before it are left.
func (d *decoder) nodesOf(text string) (roots []*yaml.Node) {
	if len(d.faults.List) > 0 {
		return nil
	}
	loader, err := yaml.NewLoader(strings.NewReader(strings.TrimPrefix(text, byteOrderMark)),
		yaml.WithUniqueKeys(false), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		d.faults.add(Fault{File: d.src.name, Message: err.Error()})
		return nil
	}
	for {
		var doc yaml.Node
		err := loader.Load(&doc)
		if errors.Is(err, io.EOF) {
			return roots
		}
		if err != nil {
			d.syntax(err)
			return roots
		}
		if len(doc.Content) != 1 || isNull(doc.Content[0]) {
			continue
		}
		if len(roots) == maxDocs {
			d.given = map[string]given{}
			d.fault(doc.Content[0], "", "", "there are more than %d documents in this file", maxDocs)
			return roots
		}
		d.src.conceal(&doc)
		roots = append(roots, doc.Content[0])
	}
}

// documents decodes all documents of the file.
func (d *decoder) documents(text string) (*Scenario, []TestScenario) {
	var scenario *Scenario
	var tests []TestScenario
	var mine map[string]given // what the LoadTestScenario gave
	names := map[string]int{}
	for _, doc := range d.nodesOf(text) {
		if d.kindOf(doc) == KindTestScenario {
			var t TestScenario
			t.set = d.document(doc, reflect.ValueOf(&t).Elem())
			if first, again := names[t.Metadata.Name]; again && t.Metadata.Name != "" {
				n := d.place("metadata.name")
				d.fault(n, "metadata.name", "", "there are two TestScenarios named %s, the other on line %d", d.describe(n), first)
			}
			names[t.Metadata.Name] = doc.Line
			tests = append(tests, t)
			continue
		}
		var s Scenario
		s.set = d.document(doc, reflect.ValueOf(&s).Elem())
		s.warnings = d.warnings
		switch {
		case doc.Kind != yaml.MappingNode, d.kindOf(doc) == "ConfigMap": // has been reported
			continue
		case scenario != nil:
			d.fault(doc, "", "run them one by one", "a second %s: a file holds one", KindLoadTestScenario)
			continue
		}
		scenario, mine = &s, d.given
	}
	d.given = mine
	return scenario, tests
}

// kindOf looks ahead at the kind of a document, which decides its type.
func (d *decoder) kindOf(doc *yaml.Node) string {
	if doc.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(doc.Content); i += 2 {
			if doc.Content[i].Value == "kind" {
				return doc.Content[i+1].Value
			}
		}
	}
	return ""
}

// document decodes one document, fills in defaults and checks it. It returns
// the canonical paths that the document gave.
func (d *decoder) document(doc *yaml.Node, v reflect.Value) map[string]bool {
	d.given = map[string]given{"": {value: doc}}
	d.warnings = nil
	if d.kindOf(doc) == "ConfigMap" {
		d.fault(doc, "kind", "take the text under data: out into a file of its own", "this is a Kubernetes ConfigMap: a scenario is what such a thing holds")
		return nil
	}
	if !d.value(doc, v, "", &field{}) && doc.Kind != yaml.MappingNode {
		return nil
	}
	set := map[string]bool{}
	for path, g := range d.given {
		// With what it is in: one dialect may name a field directly where the
		// other goes through two.
		for ; !g.byDefault && path != "" && !set[path]; path = outer(path) {
			set[path] = true
		}
	}
	d.fill(v, "")
	d.check(v, "")
	return set
}

// syntax reports a fault that the YAML library found.
func (d *decoder) syntax(err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		d.faults.add(Fault{File: d.src.name, Message: "this is not valid YAML: " + err.Error()})
		return
	}
	message := "this is not valid YAML: " + le.Message
	if le.ContextMsg != "" {
		message += " " + le.ContextMsg
	}
	switch {
	case strings.Contains(le.Message, "exceeded max depth"):
		message = fmt.Sprintf("this is nested more than %d levels deep", maxDepth)
	case strings.Contains(le.Message, "cannot start any token") && d.startsWithTab(le.Mark.Line):
		message = "a tab indents this line: YAML allows only spaces"
	}
	line, column := le.Mark.Line, le.Mark.Column
	if line == 0 {
		d.faults.add(Fault{File: d.src.name, Message: message})
		return
	}
	// The mark is often where the parser gave up, past the end of the text.
	if line > len(d.src.lines) {
		line = len(d.src.lines)
		column = len(d.src.lines[line-1]) + 1
	}
	for line > 1 && len(d.src.lines[line-1]) == 0 {
		line--
		column = len(d.src.lines[line-1]) + 1
	}
	before := len(d.src.secrets)
	d.src.concealLine(line)
	if len(d.src.secrets) > before && strings.Contains(message, "'") {
		message = "this is not valid YAML" // what it quotes may be part of a secret
	}
	f := Fault{File: d.src.name, Line: line, Column: column, Message: message}
	if bare.MatchString(string(d.src.lines[line-1])) {
		f.Hint = `inside { } and [ ] a variable wants quotes: "${NAME}"`
	}
	f.Source, f.Caret = d.src.excerpt(line, column)
	d.faults.add(f)
}

// bare matches a ${…} without quotes, which ends a flow mapping too early.
var bare = regexp.MustCompile(`[^"'$]\$\{[^}]*\}.*[}\]]`)

func (d *decoder) startsWithTab(line int) bool {
	return line >= 1 && line <= len(d.src.lines) && strings.Contains(string(d.src.lines[line-1][:min(len(d.src.lines[line-1]), 40)]), "\t")
}

// fault reports a mistake at node n. The value at path is bad from now on.
func (d *decoder) fault(n *yaml.Node, path, hint, format string, args ...any) {
	g := d.given[path]
	g.bad = true
	d.given[path] = g
	d.faultAt(n, 0, path, hint, format, args...)
}

// faultAt is fault for a place some characters into n.
func (d *decoder) faultAt(n *yaml.Node, by int, path, hint, format string, args ...any) {
	if d.full() {
		return
	}
	if len(d.aliases) > 0 {
		n, by = d.aliases[0], 0 // what an anchor holds is wrong here, not there
	}
	f := Fault{File: d.src.name, Line: n.Line, Column: n.Column + by, Path: path, Hint: hint, Message: fmt.Sprintf(format, args...)}
	f.Source, f.Caret = d.src.excerpt(f.Line, f.Column)
	d.faults.add(f)
}

// full reports that there are enough faults, and counts one more. It is asked
// before a fault is put into words, so that a hostile file costs little.
func (d *decoder) full() bool {
	if len(d.faults.List) < maxFaults {
		return false
	}
	d.faults.More++
	return true
}

// expected reports that n is not what it should be.
func (d *decoder) expected(n *yaml.Node, path, what string) bool {
	return d.expectedHint(n, path, what, "")
}

func (d *decoder) expectedHint(n *yaml.Node, path, what, hint string) bool {
	g := d.given[path]
	g.bad = true
	d.given[path] = g
	if !d.full() {
		d.faultAt(n, 0, path, hint, "%s: expected %s, got %s", subject(path), what, d.describe(n))
	}
	return false
}

func subject(path string) string { return cmp.Or(path, "the document") }

// describe says what n is, without giving away secrets.
func (d *decoder) describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	case d.src.isSecret(n.Line, n.Column):
		return "a value that is not shown, as it may be secret"
	}
	if e, err := expand(n.Value, d.getenv); err == nil && len(e.names) > 0 {
		return "the value of ${" + e.names[0] + "}"
	}
	value := []rune(n.Value)
	if len(value) > 40 {
		value = append(value[:40], '…')
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 && n.Tag != "!!str" {
		return string(value)
	}
	return strconv.Quote(string(value))
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// hooked values decode themselves.
type hooked interface {
	decodeNode(d *decoder, n *yaml.Node, path string, f *field) bool
}

// value decodes n into v and reports whether it was right.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, f *field) bool {
	d.depth++
	d.nodes++
	defer func() { d.depth-- }()
	if d.nodes > maxNodes || d.depth > maxDepth {
		if !d.exhausted {
			d.exhausted = true
			d.fault(n, path, "", "this file grows beyond all bounds when its aliases are followed")
		}
		return false
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil || slices.Contains(d.aliases, n) {
			d.fault(n, path, "", "%s: the alias contains itself", subject(path))
			return false
		}
		d.aliases = append(d.aliases, n)
		defer func() { d.aliases = d.aliases[:len(d.aliases)-1] }()
		return d.value(n.Alias, v, path, f)
	}
	if f.wrap != "" && n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == f.wrap {
		n = n.Content[1]
	}
	if h, ok := v.Addr().Interface().(hooked); ok {
		return h.decodeNode(d, n, path, f)
	}
	switch v.Interface().(type) {
	case secret.String, time.Duration, MicroUSD:
		return d.scalar(n, v, path, f)
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		ok := d.value(n, fresh.Elem(), path, f)
		v.Set(fresh)
		return ok
	case reflect.Struct:
		return d.structure(n, v, path)
	case reflect.Slice:
		return d.list(n, v, path, f)
	case reflect.Map:
		return d.table(n, v, path, f)
	default:
		return d.scalar(n, v, path, f)
	}
}

// entry is one line of a mapping.
type entry struct {
	name       string
	key, value *yaml.Node
}

// entries returns what a mapping holds, without what is null.
func (d *decoder) entries(n *yaml.Node, path string) (entries []entry, ok bool) {
	if n.Kind != yaml.MappingNode {
		return nil, d.expected(n, path, "a mapping")
	}
	ok = true
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			d.fault(k, path, "", "a name must be plain text")
			ok = false
			continue
		case k.Tag == "!!merge":
			d.fault(k, path, "write the fields out, or use an alias for a whole value", "<< is not understood in scenarios")
			ok = false
			continue
		}
		if first, again := seen[k.Value]; again {
			d.faultAt(k, 0, join(path, k.Value), "", "%q is given twice in %s, first on line %d", k.Value, subject(path), first)
			ok = false
			continue
		}
		seen[k.Value] = k.Line
		if !isNull(v) {
			entries = append(entries, entry{k.Value, k, v})
		}
	}
	return entries, ok
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) bool {
	entries, ok := d.entries(n, path)
	if !ok && entries == nil {
		return false
	}
	fields := fieldsOf(v.Type())
	for _, e := range entries {
		i := slices.IndexFunc(fields, func(f *field) bool { return slices.Contains(f.names(), e.name) })
		if i < 0 {
			d.unknown(e.key, path, v.Type())
			ok = false
			continue
		}
		f := fields[i]
		at, target, index := f.name, f.spelled(e.name), []int{f.index}
		if f.index < 0 {
			at = f.into
			target, index = fieldAt(v.Type(), f.into)
		}
		at = join(path, at)
		if earlier, twice := d.given[at]; twice && !earlier.byDefault {
			where := ""
			if earlier.key != nil {
				where = fmt.Sprintf(", first as %q on line %d", earlier.key.Value, earlier.key.Line)
			}
			d.faultAt(e.key, 0, at, "keep one of them", "%q says again what is given already%s", e.name, where)
			ok = false
			continue
		}
		d.given[at] = given{key: e.key, value: e.value}
		field := v.FieldByIndex(index)
		good := d.value(e.value, field, at, target)
		if good && f.suffix != "" {
			field.SetString(withSuffix(field.String(), f.suffix))
		}
		ok = ok && good
	}
	for _, f := range fields {
		at := join(path, f.name)
		if _, there := d.given[at]; f.required && !there {
			d.faultAt(n, 0, at, "", "%s is required: %s", at, summary(f.doc))
			d.given[at] = given{value: n, bad: true}
			ok = false
		}
	}
	return ok
}

// withSuffix appends -{index} to a prefix, which may end in a dash of its own.
func withSuffix(prefix, suffix string) string {
	if strings.HasSuffix(prefix, "-") || strings.HasSuffix(prefix, "_") {
		suffix = strings.TrimPrefix(suffix, "-")
	}
	return prefix + suffix
}

// summary is the first sentence of a doc, to stand after a colon.
func summary(doc string) string {
	doc, _, _ = strings.Cut(strings.TrimSuffix(doc, "."), ". ")
	if len(doc) > 1 && unicode.IsUpper(rune(doc[1])) {
		return doc
	}
	return strings.ToLower(doc[:1]) + doc[1:]
}

// unknown reports a field that does not exist, with the nearest that does.
func (d *decoder) unknown(key *yaml.Node, path string, t reflect.Type) {
	if d.full() {
		return
	}
	var names []string
	for _, f := range fieldsOf(t) {
		names = append(names, f.names()...)
	}
	hint := didYouMean(key.Value, names)
	if hint == "" {
		if homes := homesOf(key.Value); len(homes) == 1 && homes[0] != path {
			hint = fmt.Sprintf("%q belongs in %s", key.Value, homes[0])
		}
	}
	if hint == "" && len(names) <= 12 {
		hint = "the fields are " + strings.Join(names, ", ")
	}
	where := "in " + path
	if path == "" {
		where = "at the top of the document"
	}
	d.faultAt(key, 0, join(path, key.Value), hint, "unknown field %s %s", strconv.Quote(shorten(key.Value)), where)
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// didYouMean returns the question, or "" if no name is near.
func didYouMean(wrong string, names []string) string {
	best, distance := "", min(len(wrong), (len(wrong)+2)/3+1)
	if len(wrong) > 64 {
		return ""
	}
	for _, name := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(wrong), strings.ToLower(name)); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, f *field) bool {
	items := n.Content
	switch {
	case n.Kind == yaml.SequenceNode:
	case f.list && n.Kind == yaml.ScalarNode:
		items = []*yaml.Node{n}
	default:
		return d.expected(n, path, "a list")
	}
	if len(items) > maxItems {
		d.fault(n, path, "", "%s: there are %d entries, at most %d are allowed", path, len(items), maxItems)
		return false
	}
	ok := true
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	element := *f
	element.list = false
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.given[at] = given{value: item}
		if isNull(item) {
			ok = d.expected(item, at, "a value")
			continue
		}
		ok = d.value(item, out.Index(i), at, &element) && ok
	}
	v.Set(out)
	return ok
}

func (d *decoder) table(n *yaml.Node, v reflect.Value, path string, f *field) bool {
	entries, ok := d.entries(n, path)
	if len(entries) > maxItems {
		d.fault(n, path, "", "%s: there are %d entries, at most %d are allowed", path, len(entries), maxItems)
		return false
	}
	out := reflect.MakeMapWithSize(v.Type(), len(entries))
	for _, e := range entries {
		if e.name == "" {
			d.fault(e.key, path, "", "%s: a name must not be empty", path)
			ok = false
			continue
		}
		at := join(path, e.name)
		d.given[at] = given{key: e.key, value: e.value}
		item := reflect.New(v.Type().Elem()).Elem()
		ok = d.value(e.value, item, at, f) && ok
		out.SetMapIndex(reflect.ValueOf(e.name).Convert(v.Type().Key()), item)
	}
	v.Set(out)
	return ok
}

// text returns the scalar n with its variables replaced.
func (d *decoder) text(n *yaml.Node, path, what string) (expansion, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!binary" {
		return expansion{}, d.expected(n, path, what)
	}
	e, err := expand(n.Value, d.getenv)
	if err != nil && !d.full() {
		// An escape makes the text longer than its value, so look for the place.
		by := 0
		if n.Line >= 1 && n.Line <= len(d.src.lines) && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
			from := min(max(0, n.Column-1), len(d.src.lines[n.Line-1]))
			nth := strings.Count(n.Value[:err.offset], "${")
			rest := string(d.src.lines[n.Line-1][from:])
			for at := 0; ; nth-- {
				i := strings.Index(rest[at:], "${")
				if i < 0 {
					break
				}
				if at += i; nth == 0 {
					by = utf8.RuneCountInString(rest[:at])
					break
				}
				at += 2
			}
		}
		g := d.given[path]
		g.bad = true
		d.given[path] = g
		d.faultAt(n, by, path, err.hint, "%s: %s", subject(path), err.message)
	}
	return e, err == nil
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string, f *field) bool {
	what := d.expectation(v, f)
	e, ok := d.text(n, path, what)
	if !ok {
		return false
	}
	wrong := func(what string) bool {
		hint := ""
		if _, err := strconv.ParseFloat(n.Value, 64); n.Tag == "!!str" && (err == nil || n.Value == "true" || n.Value == "false") {
			hint = "write it without quotes"
		}
		return d.expectedHint(n, path, what, hint)
	}
	// A quoted number is a text, unless it comes from the environment, where
	// there is nothing but text.
	literal := n.Tag != "!!str" || len(e.names) > 0
	isText := v.Kind() == reflect.String || v.Kind() == reflect.Interface || v.Type() == reflect.TypeFor[secret.String]()
	if e.text == "" && len(e.names) > 0 && !isText {
		delete(d.given, path) // ${NAME:-}: as if it were not there
		return true
	}
	switch target := v.Addr().Interface().(type) {
	case *secret.String:
		if n.Tag == "!!bool" {
			return wrong("text")
		}
		if len(e.names) == 0 && e.text != "" && len(d.warnings) < maxFaults {
			d.warnings = append(d.warnings, fmt.Sprintf("%s:%d: %s is written in the file itself: take it from the environment with ${NAME}", d.src.name, n.Line, path))
		}
		*target = secret.New(e.text)
		return true
	case *time.Duration:
		one := map[string]time.Duration{"s": d.one, "ms": time.Millisecond}[f.unit]
		parsed, err := parseDuration(e.text, one)
		if err != nil {
			return wrong(err.Error())
		}
		*target = parsed
		return d.within(n, float64(parsed), path, "a duration", f)
	case *MicroUSD:
		if !literal {
			return wrong(what)
		}
		parsed, err := parseMoney(e.text)
		if err != nil {
			return wrong(err.Error())
		}
		*target = parsed
		return d.within(n, float64(parsed)/microPerUSD, path, "an amount", f)
	}
	switch v.Kind() {
	case reflect.String:
		return d.string(n, v, e, path, f)
	case reflect.Bool:
		switch {
		case literal && slices.Contains([]string{"true", "True", "TRUE"}, e.text):
			v.SetBool(true)
		case literal && slices.Contains([]string{"false", "False", "FALSE"}, e.text):
			v.SetBool(false)
		default:
			return wrong(what)
		}
		return true
	case reflect.Float64:
		parsed, err := strconv.ParseFloat(e.text, 64)
		switch {
		case f.unit == "ratio":
			if parsed, err = parseRatio(e.text); err != nil {
				return wrong(err.Error())
			}
		case err != nil || !literal || math.IsNaN(parsed) || math.IsInf(parsed, 0):
			return wrong(what)
		}
		v.SetFloat(parsed)
		return d.within(n, parsed, path, "a number", f)
	case reflect.Int, reflect.Int64:
		parsed, err := strconv.ParseInt(e.text, 10, 64)
		if err != nil || !literal || v.OverflowInt(parsed) {
			return wrong(what)
		}
		v.SetInt(parsed)
		return d.within(n, float64(parsed), path, "a whole number", f)
	case reflect.Uint64:
		parsed, err := strconv.ParseUint(e.text, 0, 64)
		if err != nil || !literal {
			return wrong(what)
		}
		v.SetUint(parsed)
		return true
	case reflect.Interface:
		v.Set(reflect.ValueOf(plain(n, e.text)))
		return true
	}
	panic(fmt.Sprintf("config: %s has a type that cannot be decoded: %s", path, v.Type()))
}

// plain is a scalar of any type.
func plain(n *yaml.Node, text string) any {
	switch n.Tag {
	case "!!bool":
		return strings.EqualFold(text, "true")
	case "!!int", "!!float":
		if number, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
			return number
		}
	}
	return text
}

// expectation says what a scalar should be.
func (d *decoder) expectation(v reflect.Value, f *field) string {
	switch v.Interface().(type) {
	case time.Duration:
		return map[string]error{"": errNoTime, "s": errNotSec, "ms": errNotMillis}[f.unit].Error()
	case MicroUSD:
		return errNotMoney.Error()
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		if f.unit == "ratio" {
			return errNotRatio.Error()
		}
		return "a number" + f.bounds()
	case reflect.Int, reflect.Int64:
		return "a whole number" + f.bounds()
	case reflect.Uint64:
		return "a whole number from 0 up"
	}
	if len(f.enum) > 0 {
		return "one of " + strings.Join(f.choices(), ", ")
	}
	return "text"
}

// bounds says what range a number has.
func (f *field) bounds() string {
	number := func(p *float64) string { return strconv.FormatFloat(*p, 'f', -1, 64) }
	switch {
	case f.min != nil && f.max != nil:
		return " from " + number(f.min) + " to " + number(f.max)
	case f.above != nil && f.max != nil:
		return " above " + number(f.above) + " and up to " + number(f.max)
	case f.min != nil:
		return " of at least " + number(f.min)
	case f.above != nil:
		return " above " + number(f.above)
	case f.max != nil:
		return " of at most " + number(f.max)
	}
	return ""
}

func (d *decoder) within(n *yaml.Node, x float64, path, noun string, f *field) bool {
	if f.min != nil && x < *f.min || f.max != nil && x > *f.max || f.above != nil && x <= *f.above {
		return d.expected(n, path, noun+f.bounds())
	}
	return true
}

func (d *decoder) string(n *yaml.Node, v reflect.Value, e expansion, path string, f *field) bool {
	text := e.text
	if n.Tag == "!!bool" {
		return d.expected(n, path, d.expectation(v, f))
	}
	if len(f.enum) > 0 {
		for _, c := range f.enum {
			if text == c.synonym && c.synonym != "" || text == c.value && c.value != "" {
				v.SetString(c.value)
				return true
			}
		}
		hint := ""
		if len(e.names) == 0 && len(d.faults.List) < maxFaults {
			hint = didYouMean(text, f.choices())
		}
		return d.expectedHint(n, path, d.expectation(v, f), hint)
	}
	if f.required && text == "" {
		return d.expected(n, path, "text that is not empty")
	}
	switch f.kind {
	case "url":
		if problem := urlProblem(text); problem != "" {
			d.fault(n, path, "", "%s: %s", path, problem)
			return false
		}
		text = strings.TrimSuffix(text, "/")
	case "path":
		if text != "" && d.dir != "" && !filepath.IsAbs(text) {
			text = filepath.Join(d.dir, text)
		}
	case "bare":
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`/\`, r) }) {
			return d.expected(n, path, "text without spaces and slashes")
		}
	}
	v.SetString(text)
	return true
}
