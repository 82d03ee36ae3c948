package interaction

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

var action = regexp.MustCompile(`\{\{\s*\.(\w+)\s*\}\}`)

// template is literals and what stands between them.
type template []piece

// piece is a literal, followed by the value of a name unless that is empty.
type piece struct {
	literal string
	name    string
	quoted  bool // the value stands within a JSON string
	listed  bool // it is an entry of a list
}

// parse splits a text into pieces. Where a value stands decides how it is
// written: within a JSON string it is escaped, elsewhere it is JSON itself.
func parse(text string) template {
	var t template
	inString, escaped, last := false, false, byte(0)
	at := 0
	for _, m := range action.FindAllStringSubmatchIndex(text, -1) {
		literal := text[at:m[0]]
		for i := range len(literal) {
			switch c := literal[i]; {
			case escaped:
				escaped = false
			case inString && c == '\\':
				escaped = true
			case c == '"':
				inString, last = !inString, c
			case c > ' ':
				last = c
			}
		}
		t = append(t, piece{literal: literal, name: text[m[2]:m[3]], quoted: inString, listed: last == '[' || last == ','})
		at = m[1]
		last = 0
	}
	return append(t, piece{literal: text[at:]})
}

// plain writes a template that is no JSON.
func (d *Dialog) plain(text string) string {
	return action.ReplaceAllStringFunc(text, func(m string) string { return d.value(action.FindStringSubmatch(m)[1]) })
}

func (d *Dialog) render(t template) []byte {
	var b []byte
	for _, p := range t {
		b = append(b, p.literal...)
		switch {
		case p.name == "":
		case p.name == "ConversationHistory" && !p.quoted:
			b = append(b, d.history(p.listed)...)
		case p.quoted:
			quoted, _ := json.Marshal(d.value(p.name)) // cannot fail
			b = append(b, quoted[1:len(quoted)-1]...)
		default:
			v := d.value(p.name)
			if !json.Valid([]byte(v)) {
				quoted, _ := json.Marshal(v) // cannot fail
				v = string(quoted)
			}
			b = append(b, v...)
		}
	}
	return b
}

// history is the messages of the conversation. As a list of its own it ends
// with the next question; among other entries of a list those add one.
func (d *Dialog) history(entries bool) string {
	list := d.messages
	if !entries {
		for name, v := range d.p.variables {
			if v.followUp {
				d.value(name)
			}
		}
		if d.question == "" {
			d.value("Generated")
		}
		list = append(list[:len(list):len(list)], message("user", d.question))
	}
	parts := make([]string, len(list))
	for i, m := range list {
		parts[i] = string(m)
	}
	joined := strings.Join(parts, ",")
	switch {
	case !entries:
		return "[" + joined + "]"
	case joined == "":
		return `{"role":"system","content":"Answer briefly."}` // an empty entry would be no JSON
	default:
		return joined
	}
}

// value is what a name stands for. In one request a name has one value.
func (d *Dialog) value(name string) string {
	if v, have := d.values[name]; have {
		return v
	}
	d.values[name] = "" // should it refer to itself
	var s string
	if v, own := d.p.variables[name]; own {
		s = v.make(d)
		if v.asks {
			d.question = s
		}
	} else {
		s = d.given(name)
	}
	d.values[name] = s
	return s
}

// given is the value of a name that every template knows.
func (d *Dialog) given(name string) string {
	switch name {
	case "OrgID":
		return d.who.Org
	case "UserID":
		return d.who.User
	case "UserSeed":
		return fmt.Sprint(d.who.Seed)
	case "TestRunID":
		return d.who.Run
	case "RequestID":
		return d.id
	case "Timestamp":
		return time.Now().UTC().Format(time.RFC3339)
	case "Model":
		return d.p.Models(d.rng)
	case "MaxTokens":
		return fmt.Sprint(d.p.MaxTokens(d.rng))
	case "Temperature":
		return fmt.Sprintf("%.2f", d.p.Temperature(d.rng))
	case "Generated", "GeneratedQuestion":
		if d.turn > 1 {
			d.question = questions.FollowUp(d.rng, questions.Question{}).Text
		} else {
			d.question = d.p.Questions.Next(d.rng).Text
		}
		return d.question
	case "ConversationHistory":
		return d.history(false)
	case "PreviousResponse":
		return d.previous
	case "ExtractedTopic":
		return topic(d.previous)
	default:
		return ""
	}
}
