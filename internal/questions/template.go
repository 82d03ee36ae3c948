package questions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
)

// bufferSize holds any built-in question; longer ones allocate.
const bufferSize = 640

// maxSlots bounds the variables of one template, so that its picks fit on the stack.
const maxSlots = 16

// text is a compiled template: what to append, in order.
type text struct {
	parts []part
	slots []slot
	topic int // the slot that names what the text is about, or −1
}

// part is a literal, followed by the value of a slot unless slot is −1.
type part struct {
	literal string
	slot    int
}

// slot is a value to be drawn: an entry of a list or a number.
type slot struct {
	list         []string // nil for a number
	siblings     []int    // earlier slots of the same list, which must differ
	lo, n, step  int      // the number is lo + step·[0,n)
	isGivenTopic bool     // {topic}: not drawn, but handed in
}

var errBraces = errors.New("a { has no } after it: close the variable, or write {{ for a brace")

// compile parses s. lookup returns a variable's values.
func compile(s string, lookup func(name string) []string) (*text, error) {
	t := &text{topic: -1}
	seen := map[string]int{}
	var literal strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			literal.WriteString(s)
			break
		}
		literal.WriteString(s[:i])
		brace := s[i]
		s = s[i+1:]
		if s != "" && s[0] == brace {
			literal.WriteByte(brace)
			s = s[1:]
			continue
		}
		end := strings.IndexByte(s, '}')
		switch {
		case brace == '}':
			return nil, errors.New("a } has no { before it: write }} for a brace")
		case end < 0:
			return nil, errBraces
		}
		name := s[:end]
		s = s[end+1:]
		at, again := seen[name]
		isNumber := strings.Contains(name, "..")
		if !again || isNumber { // every range is a number of its own
			var err error
			if at, err = t.addSlot(name, isNumber, seen, lookup); err != nil {
				return nil, err
			}
			seen[name] = at
		}
		t.parts = append(t.parts, part{literal.String(), at})
		literal.Reset()
	}
	if literal.Len() > 0 {
		t.parts = append(t.parts, part{literal.String(), -1})
	}
	return t, nil
}

func (t *text) addSlot(name string, isNumber bool, seen map[string]int, lookup func(string) []string) (int, error) {
	at := len(t.slots)
	if at == maxSlots {
		return 0, fmt.Errorf("there are more than %d variables in one text", maxSlots)
	}
	if isNumber {
		s, err := parseRange(name)
		t.slots = append(t.slots, s)
		return at, err
	}
	if name == "topic" && lookup(name) == nil {
		t.slots = append(t.slots, slot{isGivenTopic: true})
		return at, nil
	}
	base := name
	values := lookup(name)
	if values == nil {
		base = strings.TrimRight(name, "0123456789")
		values = lookup(base)
	}
	if len(values) == 0 {
		return 0, fmt.Errorf("the variable {%s} has no values: list them under variables, or use one of %s, or a range such as {2..9}",
			name, strings.Join(Lists(), ", "))
	}
	s := slot{list: values}
	for other, i := range seen {
		if strings.TrimRight(other, "0123456789") == base && len(t.slots[i].list) > 0 && &t.slots[i].list[0] == &values[0] {
			s.siblings = append(s.siblings, i)
		}
	}
	if len(s.siblings) >= len(values) {
		return 0, fmt.Errorf("{%s} needs a value of its own, and %s has only %d", name, base, len(values))
	}
	if t.topic < 0 {
		t.topic = at
	}
	t.slots = append(t.slots, s)
	return at, nil
}

// largest bounds the numbers of a range, so that no arithmetic on them can
// overflow on any machine.
const largest = 1_000_000_000

// parseRange reads lo..hi or lo..hi/step.
func parseRange(s string) (slot, error) {
	bounds, stepText, hasStep := strings.Cut(s, "/")
	loText, hiText, _ := strings.Cut(bounds, "..")
	lo, err1 := strconv.Atoi(loText)
	hi, err2 := strconv.Atoi(hiText)
	step := 1
	var err3 error
	if hasStep {
		step, err3 = strconv.Atoi(stepText)
	}
	if errors.Join(err1, err2, err3) != nil || hi < lo || step < 1 || lo < -largest || hi > largest {
		return slot{}, fmt.Errorf("the range {%s} cannot be read: write it like {2..9} or {10..90/10}, within ±%d", s, largest)
	}
	return slot{lo: lo, n: (hi-lo)/step + 1, step: step}, nil
}

// fill appends the text with freshly drawn values to b, and returns what it
// is about. topic stands in for {topic}.
func (t *text) fill(b []byte, rng *rand.Rand, topic string) ([]byte, string) {
	var picks [maxSlots]int
	for i := range t.slots {
		picks[i] = t.slots[i].draw(rng, &picks)
	}
	for i := range t.parts {
		p := &t.parts[i]
		b = append(b, p.literal...)
		if p.slot < 0 {
			continue
		}
		switch s := &t.slots[p.slot]; {
		case s.isGivenTopic:
			b = append(b, topic...)
		case s.list != nil:
			b = append(b, s.list[picks[p.slot]]...)
		default:
			b = strconv.AppendInt(b, int64(picks[p.slot]), 10)
		}
	}
	if t.topic >= 0 {
		topic = t.slots[t.topic].list[picks[t.topic]]
	}
	return b, topic
}

// draw returns an index into the list, or the number.
func (s *slot) draw(rng *rand.Rand, picks *[maxSlots]int) int {
	switch {
	case s.isGivenTopic:
		return 0
	case s.list == nil:
		return s.lo + s.step*rng.IntN(s.n)
	}
	// Draw among the entries that no sibling has taken: the r-th of those is
	// r, moved up by one for every taken entry at or below it.
	r := rng.IntN(len(s.list) - len(s.siblings))
	for moved := 0; ; {
		below := 0
		for _, i := range s.siblings {
			if picks[i] <= r+moved {
				below++
			}
		}
		if below == moved {
			return r + moved
		}
		moved = below
	}
}

// compiled is a strategy ready to ask.
type compiled struct {
	name   string
	bodies []body
}

type body struct {
	*text
	complex  bool
	closings []*text // may be empty
}

func (s *compiled) next(rng *rand.Rand) Question {
	var buf [bufferSize]byte
	b := &s.bodies[0]
	if n := len(s.bodies); n > 1 {
		b = &s.bodies[rng.IntN(n)]
	}
	out, topic := b.fill(buf[:0], rng, "")
	if n := len(b.closings); n > 0 {
		out = append(out, ' ')
		out, _ = b.closings[rng.IntN(n)].fill(out, rng, "")
	}
	return Question{Text: string(out), Strategy: s.name, Complex: b.complex, topic: topic}
}

func builtinList(name string) []string { return lists[name] }

// mustCompile compiles built-in texts; the tests compile all of them.
func mustCompile(texts []string) []*text {
	out := make([]*text, len(texts))
	for i, s := range texts {
		t, err := compile(s, builtinList)
		if err != nil {
			panic(fmt.Sprintf("questions: built-in text %q: %v", s, err))
		}
		out[i] = t
	}
	return out
}

// standard compiles the built-in strategies when they are first needed.
var standard = sync.OnceValue(func() map[string]*compiled {
	short := mustCompile(brief)
	out := map[string]*compiled{}
	for _, name := range names {
		s := builtin[name]
		c := &compiled{name: name}
		for _, t := range mustCompile(s.simple) {
			c.bodies = append(c.bodies, body{text: t, closings: short})
		}
		long := mustCompile(s.closings)
		for _, t := range mustCompile(s.complex) {
			c.bodies = append(c.bodies, body{text: t, complex: true, closings: long})
		}
		out[name] = c
	}
	return out
})

type continuationTexts struct{ withTopic, without []*text }

var continuations = sync.OnceValue(func() continuationTexts {
	return continuationTexts{mustCompile(followUps), mustCompile(followUpsAnyway)}
})

// compileTemplates compiles the user's own strategies, and lists what is
// wrong with them.
func compileTemplates(templates []Template) (own map[string]*compiled, faults []string) {
	own = map[string]*compiled{}
	for _, tpl := range templates {
		t, err := compile(tpl.Text, func(name string) []string {
			if values, ok := tpl.Variables[name]; ok {
				return values
			}
			return lists[name]
		})
		switch {
		case tpl.Name == "":
			faults = append(faults, fmt.Sprintf("the template %q has no name, by which a strategy could use it", tpl.Text))
			continue
		case err != nil:
			faults = append(faults, fmt.Sprintf("template %s: %v", tpl.Name, err))
			continue
		case strings.TrimSpace(tpl.Text) == "":
			faults = append(faults, fmt.Sprintf("template %s is empty", tpl.Name))
			continue
		}
		c := own[tpl.Name]
		if c == nil {
			c = &compiled{name: tpl.Name}
			own[tpl.Name] = c
		}
		c.bodies = append(c.bodies, body{text: t, complex: tpl.Complex})
	}
	return own, faults
}
