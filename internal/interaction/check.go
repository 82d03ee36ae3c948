package interaction

import (
	"fmt"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/theory/jsonpath"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// The types of check.
const (
	StatusCode   = "status_code"
	JSONPath     = "json_path"
	ResponseTime = "response_time"
)

// Check is something an answer must be like.
type Check struct {
	Type      string
	Expected  []int  // statuses
	Path      string // RFC 9535
	Condition string // not_empty, equals, greater_than, min_length, is_array
	Value     any    // a string, a float64 or a bool
	Max       time.Duration
}

// check is a compiled one.
type check struct {
	Check
	name string
	path *jsonpath.Path
}

func (c Check) compile() (out check, err error) {
	out = check{Check: c}
	switch c.Type {
	case StatusCode:
		out.name = fmt.Sprintf("status is %d", c.Expected[0])
		if len(c.Expected) > 1 {
			out.name = fmt.Sprintf("status is one of %v", c.Expected)
		}
	case ResponseTime:
		out.name = fmt.Sprintf("answered within %v", c.Max)
	case JSONPath:
		switch c.Condition {
		case "not_empty":
			out.name = c.Path + " is not empty"
		case "is_array":
			out.name = c.Path + " is a list"
		case "equals":
			out.name = fmt.Sprintf("%s is %v", c.Path, c.Value)
		case "greater_than":
			out.name = fmt.Sprintf("%s is above %v", c.Path, c.Value)
		case "min_length":
			out.name = fmt.Sprintf("%s has a length of at least %v", c.Path, c.Value)
		default:
			return out, fmt.Errorf("the condition %q is unknown", c.Condition)
		}
		if out.path, err = jsonpath.Parse(c.Path); err != nil {
			return out, fmt.Errorf("the path %s: %w", c.Path, err)
		}
	default:
		return out, fmt.Errorf("the type of check %q is unknown", c.Type)
	}
	return out, nil
}

// problem says why the check fails, or nothing.
func (c *check) problem(status int, took time.Duration, answer any) string {
	switch c.Type {
	case StatusCode:
		if !slices.Contains(c.Expected, status) {
			return fmt.Sprintf("it is %d", status)
		}
		return ""
	case ResponseTime:
		if took > c.Max {
			return fmt.Sprintf("it took %v", took.Round(time.Millisecond))
		}
		return ""
	}
	nodes := c.path.Select(answer)
	if len(nodes) == 0 {
		return "there is nothing at this path"
	}
	for _, v := range nodes {
		if p := c.about(v); p != "" {
			return p
		}
	}
	return ""
}

func (c *check) about(v any) string {
	length, hasLength := lengthOf(v)
	switch c.Condition {
	case "not_empty":
		if v == nil || hasLength && length == 0 {
			return "it is empty"
		}
	case "is_array":
		if _, ok := v.([]any); !ok {
			return fmt.Sprintf("it is %s", sort(v))
		}
	case "equals":
		if !reflect.DeepEqual(v, c.Value) {
			return fmt.Sprintf("it is %.60v", v)
		}
	case "greater_than":
		if n, ok := v.(float64); !ok || n <= c.Value.(float64) {
			return fmt.Sprintf("it is %.60v", v)
		}
	case "min_length":
		if !hasLength {
			return fmt.Sprintf("%s has no length", sort(v))
		}
		if float64(length) < c.Value.(float64) {
			return fmt.Sprintf("it has a length of %d", length)
		}
	}
	return ""
}

// lengthOf is the characters of a text, or the entries of a list or an object.
func lengthOf(v any) (n int, ok bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case []any:
		return len(v), true
	case map[string]any:
		return len(v), true
	default:
		return 0, false
	}
}

func sort(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a text"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

// The sources of metrics.
const (
	FromResponse    = "response"
	FromLatency     = "latency" // in milliseconds
	FromVariable    = "variable"
	FromDepth       = "conversation_depth" // the number of the turn, from 1
	FromAccumulated = "accumulated"        // the sum over the dialog until now
)

// Metric is a number taken from each answer.
type Metric struct {
	Name, Source   string
	Path, Variable string
	Transform      string // length or array_length; empty for the number itself
}

type metric struct {
	Metric
	path *jsonpath.Path
}

func (m Metric) compile() (out metric, err error) {
	out = metric{Metric: m}
	if m.Source == FromResponse || m.Source == FromAccumulated {
		if out.path, err = jsonpath.Parse(m.Path); err != nil {
			return out, fmt.Errorf("the metric %s: %w", m.Name, err)
		}
	}
	return out, nil
}

// measure takes the numbers. What is not there, or is no number, is left out.
func (d *Dialog) measure(answer any, took time.Duration) []record.Value {
	var out []record.Value
	for i := range d.p.metrics {
		m := &d.p.metrics[i]
		var v any
		switch m.Source {
		case FromLatency:
			v = float64(took) / float64(time.Millisecond)
		case FromDepth:
			v = float64(d.turn)
		case FromVariable:
			v = number(d.value(m.Variable), m.Transform)
		default:
			if nodes := m.path.Select(answer); len(nodes) > 0 {
				v = nodes[0]
			}
		}
		if m.Transform != "" {
			n, ok := lengthOf(v)
			if !ok {
				continue
			}
			v = float64(n)
		}
		n, ok := v.(float64)
		if !ok {
			continue
		}
		if m.Source == FromAccumulated {
			d.sums[m.Name] += n
			n = d.sums[m.Name]
		}
		out = append(out, record.Value{Name: m.Name, Value: n})
	}
	return out
}

// number reads the value of a variable, unless its length is wanted.
func number(s, transform string) any {
	var n float64
	if transform == "" {
		if _, err := fmt.Sscanf(s, "%g", &n); err == nil {
			return n
		}
	}
	return s
}
