package config

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v4"
)

// A source is the text of a file, for showing lines of it.
type source struct {
	name    string
	lines   [][]rune
	secrets []span
}

// span is a stretch of the text; the end is not included. Lines and columns
// count from 1, columns in characters.
type span struct{ line, column, endLine, endColumn int }

// newSource splits text into lines as the YAML library does, since positions
// and thereby the masking of secrets are by its count: not only \n ends a line,
// but also a lone \r and the line ends of Unicode. There is at least one line.
func newSource(name, text string) *source {
	s := &source{name: name}
	var line []rune
	runes := []rune(text)
	for i, r := range runes {
		switch r {
		case '\r':
			if i+1 < len(runes) && runes[i+1] == '\n' {
				continue
			}
			fallthrough
		case '\n', '\u0085', '\u2028', '\u2029':
			s.lines = append(s.lines, line)
			line = nil
		default:
			line = append(line, r)
		}
	}
	if len(line) > 0 || len(s.lines) == 0 {
		s.lines = append(s.lines, line)
	}
	return s
}

const masked = "[redacted]"

// excerpt returns a line for printing, and where in it the column is: secrets
// are masked, what cannot be printed becomes a dot, and of a long line only
// the part around the column is left.
func (s *source) excerpt(line, column int) (text string, caret int) {
	if line < 1 || line > len(s.lines) {
		return "", 1
	}
	const around = 60
	raw := s.lines[line-1]
	from, to := 0, len(raw)
	if len(raw) > 2*around {
		from = max(0, min(column-1, len(raw))-around)
		to = min(len(raw), from+2*around)
	}
	var out []rune
	if from > 0 {
		out = append(out, '…')
	}
	hidden := s.hidden(line, from, to)
	maskAt := 0
	for i, r := range raw[from:to] {
		if hidden[i] && (i == 0 || !hidden[i-1]) {
			maskAt = len(out) + 1
		}
		switch {
		case from+i+1 == column && hidden[i]:
			caret = maskAt
		case from+i+1 == column:
			caret = len(out) + 1
		}
		switch {
		case hidden[i] && (i == 0 || !hidden[i-1]):
			out = append(out, []rune(masked)...)
		case hidden[i]:
		case r == '\t':
			out = append(out, ' ')
		case !unicode.IsPrint(r):
			out = append(out, '·')
		default:
			out = append(out, r)
		}
	}
	if caret == 0 {
		caret = len(out) + 1
	}
	if to < len(raw) {
		out = append(out, '…')
	}
	return strings.TrimRight(string(out), " "), caret
}

// hidden returns which characters of a line are part of a secret, for those
// from the index from up to the index to.
func (s *source) hidden(line, from, to int) []bool {
	raw := s.lines[line-1]
	hidden := make([]bool, to-from)
	for _, r := range s.secrets {
		if line < r.line || line > r.endLine {
			continue
		}
		first, last := 0, len(raw)
		if line == r.line {
			first = r.column - 1
		}
		if line == r.endLine {
			last = r.endColumn - 1
		}
		for i := max(first, from); i < min(last, to); i++ {
			hidden[i-from] = hidden[i-from] || i > max(first, from) && hidden[i-from-1] || !unicode.IsSpace(raw[i])
		}
	}
	return hidden
}

// isSecret reports whether the value that begins at a place in the text is one.
func (s *source) isSecret(line, column int) bool {
	if line < 1 || line > len(s.lines) || column < 1 || column > len(s.lines[line-1]) {
		return false
	}
	return s.hidden(line, column-1, column)[0]
}

// secretName matches names whose value must not be shown; names close to one
// of secretWords are taken for misspellings of it. secretGroup matches names
// under which every value is secret.
var (
	secretName  = regexp.MustCompile(`(?i)(admin|api|access|secret|private)[-_]?keys?$|^keys?$|pass(word|wd|phrase)?$|secret$|token$|authori[sz]ation$|cookie$`)
	secretWords = []string{"adminapikey", "accesskey", "secretkey", "password"}
	secretGroup = regexp.MustCompile(`(?i)^(keys?|head[a-z]{0,3}s?|envs?)$`)
)

// conceal marks the secrets of a document: the values of all keys that look
// like one. It works on the tree, so it does not matter how they are written.
func (s *source) conceal(doc *yaml.Node) {
	var order []*yaml.Node // the nodes as they follow each other in the text
	var walk func(n *yaml.Node)
	var secrets [][2]int // from this node of order up to that one
	walk = func(n *yaml.Node) {
		order = append(order, n)
		for i, child := range n.Content {
			start := len(order)
			walk(child)
			if n.Kind != yaml.MappingNode || i%2 == 0 {
				continue
			}
			key := n.Content[i-1].Value
			scalar := child.Kind == yaml.ScalarNode || child.Kind == yaml.AliasNode
			if userInfo.MatchString(child.Value) || isSecretName(key) && (scalar || !strings.EqualFold(key, "apiKeys")) || !scalar && secretGroup.MatchString(key) {
				secrets = append(secrets, [2]int{start, len(order)})
			}
		}
	}
	walk(doc)
	for _, pair := range secrets {
		from := order[pair[0]]
		if from.Value == "" && len(from.Content) == 0 {
			continue
		}
		r := span{from.Line, from.Column, len(s.lines) + 1, 1}
		if pair[1] < len(order) {
			r.endLine, r.endColumn = order[pair[1]].Line, order[pair[1]].Column
		}
		if length := s.lengthOf(from); length > 0 {
			r.endLine, r.endColumn = r.line, r.column+length
		}
		if from.Kind == yaml.MappingNode && from.Style&yaml.FlowStyle == 0 {
			// The names in a block are no secrets.
			for i := 1; i < len(from.Content); i += 2 {
				end := span{0, 0, r.endLine, r.endColumn}
				if i+1 < len(from.Content) {
					end.endLine, end.endColumn = from.Content[i+1].Line, from.Content[i+1].Column
				}
				v := from.Content[i]
				s.secrets = append(s.secrets, span{v.Line, v.Column, end.endLine, end.endColumn})
			}
			continue
		}
		s.secrets = append(s.secrets, r)
	}
}

// lengthOf returns how many characters a scalar takes in the text if it stands
// there as it is; 0 if it does not, so that its end is not known.
func (s *source) lengthOf(n *yaml.Node) int {
	if n.Kind != yaml.ScalarNode || n.Line < 1 || n.Line > len(s.lines) || n.Column < 1 || n.Column > len(s.lines[n.Line-1]) {
		return 0
	}
	written := n.Value
	switch n.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle) {
	case yaml.SingleQuotedStyle:
		written = "'" + written + "'"
	case yaml.DoubleQuotedStyle:
		written = `"` + written + `"`
	}
	value := []rune(written)
	rest := s.lines[n.Line-1][n.Column-1:]
	if len(rest) < len(value) || string(rest[:len(value)]) != written {
		return 0
	}
	return len(value)
}

// keyBefore matches a name and its colon.
var keyBefore = regexp.MustCompile(`([\w-]+)["']?\s*:`)

// concealLine does what it can for a line of a file that is not valid YAML, by
// the names on the line itself and on those it is indented under.
func (s *source) concealLine(line int) {
	if line < 1 || line > len(s.lines) {
		return
	}
	hide := func(column int) {
		s.secrets = append(s.secrets, span{line, column, line, len(s.lines[line-1]) + 1})
	}
	text := string(s.lines[line-1])
	if m := userInfo.FindStringIndex(text); m != nil {
		hide(len([]rune(text[:m[0]])) + 1)
	}
	for _, m := range keyBefore.FindAllStringSubmatchIndex(text, -1) {
		if looksSecret(text[m[2]:m[3]]) {
			hide(len([]rune(text[:m[1]])) + 1)
			return
		}
	}
	indent := func(t string) int { return len(t) - len(strings.TrimLeft(t, " \t")) }
	level := indent(text)
	if strings.HasPrefix(strings.TrimSpace(text), "-") {
		level++ // a list may stand as far left as its name
	}
	for i := line - 2; i >= 0 && level > 0; i-- {
		above := string(s.lines[i])
		if strings.TrimSpace(above) == "" || indent(above) >= level {
			continue
		}
		level = indent(above)
		if strings.HasPrefix(above[level:], "-") {
			level++
		}
		for _, m := range keyBefore.FindAllStringSubmatch(above, -1) {
			if looksSecret(m[1]) {
				hide(indent(text) + 1)
				return
			}
		}
	}
}

func looksSecret(name string) bool { return isSecretName(name) || secretGroup.MatchString(name) }

func isSecretName(name string) bool {
	if secretName.MatchString(name) {
		return true
	}
	name = strings.ToLower(name)
	return len(name) < 32 && slices.ContainsFunc(secretWords, func(w string) bool { return levenshtein.ComputeDistance(name, w) <= 2 })
}
