package config

import (
	"reflect"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

// The fields whose shape the dialects disagree about, or which have one of
// their own, decode themselves.
var (
	_ hooked = (*UserCount)(nil)
	_ hooked = (*Latencies)(nil)
	_ hooked = (*Session)(nil)
	_ hooked = (*Spread)(nil)
	_ hooked = (*TestTypes)(nil)
	_ hooked = (*Credential)(nil)
)

// decodeNode reads a number, or all.
func (u *UserCount) decodeNode(d *decoder, n *yaml.Node, path string, _ *field) bool {
	const what = "a number of users, or all"
	e, ok := d.text(n, path, what)
	if !ok {
		return false
	}
	if e.text == "all" {
		*u = AllUsers
		return true
	}
	count, err := strconv.ParseInt(e.text, 10, 32)
	if err != nil || count < 0 || n.Tag == "!!str" && len(e.names) == 0 {
		return d.expected(n, path, what)
	}
	*u = UserCount(count)
	return true
}

// decodeNode reads {p95: 800ms, mean: 300ms}.
func (l *Latencies) decodeNode(d *decoder, n *yaml.Node, path string, _ *field) bool {
	entries, ok := d.entries(n, path)
	for _, e := range entries {
		at := join(path, e.name)
		d.given[at] = given{key: e.key, value: e.value}
		q, known := parseQuantile(e.name)
		if !known {
			d.fault(e.key, at, "", "%s: expected a percentile from p50 to p99.9, or mean, got %q", path, shorten(e.name))
			ok = false
			continue
		}
		o := Objective{Quantile: q}
		if !d.value(e.value, reflect.ValueOf(&o.Latency).Elem(), at, &field{above: new(float64)}) {
			ok = false
			continue
		}
		*l = append(*l, o)
	}
	l.sort()
	return ok
}

// decodeNode reads min and max in the unit that stands beside them.
func (s *Session) decodeNode(d *decoder, n *yaml.Node, path string, _ *field) bool {
	type plain Session // has the fields and not this method
	if n.Kind == yaml.MappingNode {
		rest := *n
		rest.Content = nil
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value != "unit" || isNull(n.Content[i+1]) {
				rest.Content = append(rest.Content, n.Content[i:i+2]...)
				continue
			}
			var unit string
			for _, f := range fieldsOf(reflect.TypeFor[Session]()) {
				if f.name == "unit" {
					d.value(n.Content[i+1], reflect.ValueOf(&unit).Elem(), join(path, "unit"), f)
				}
			}
			delete(d.given, join(path, "unit"))
			if one := map[string]time.Duration{"minutes": time.Minute, "hours": time.Hour}[unit]; one > 0 {
				d.one = one
				defer func() { d.one = time.Second }()
			}
		}
		n = &rest
	}
	return d.structure(n, reflect.ValueOf((*plain)(s)).Elem(), path)
}

// decodeNode reads a mapping, or a number that stands for itself.
func (s *Spread) decodeNode(d *decoder, n *yaml.Node, path string, f *field) bool {
	type plain Spread
	if n.Kind == yaml.ScalarNode {
		at := join(path, "base")
		d.given[at] = given{value: n}
		base, _ := fieldAt(reflect.TypeFor[plain](), "base")
		return d.value(n, reflect.ValueOf(&s.Base).Elem(), at, base)
	}
	return d.structure(n, reflect.ValueOf((*plain)(s)).Elem(), path)
}

// decodeNode reads a list, or {distribution: {name: weight}}.
func (t *TestTypes) decodeNode(d *decoder, n *yaml.Node, path string, f *field) bool {
	list := reflect.ValueOf((*[]TestType)(t)).Elem()
	if n.Kind == yaml.SequenceNode {
		return d.list(n, list, path, f)
	}
	entries, ok := d.entries(n, path)
	if !ok {
		return false
	}
	for _, e := range entries {
		if e.name != "distribution" {
			d.faultAt(e.key, 0, join(path, e.name), didYouMean(e.name, []string{"distribution"}), "unknown field %q in %s: expected a list, or a distribution", shorten(e.name), path)
			ok = false
			continue
		}
		shares, good := d.entries(e.value, path)
		ok = ok && good
		for i, share := range shares {
			at := path + "[" + strconv.Itoa(i) + "]"
			one := TestType{Name: share.name}
			weight, _ := fieldAt(reflect.TypeFor[TestType](), "weight")
			d.given[at] = given{key: share.key, value: share.value}
			d.given[at+".name"] = given{key: share.key, value: share.key}
			d.given[at+".weight"] = given{key: share.key, value: share.value}
			ok = d.value(share.value, reflect.ValueOf(&one.Weight).Elem(), at+".weight", weight) && ok
			*t = append(*t, one)
		}
	}
	return ok
}

// decodeNode reads a key, or {org, user, key}.
func (c *Credential) decodeNode(d *decoder, n *yaml.Node, path string, _ *field) bool {
	type plain Credential
	if n.Kind == yaml.ScalarNode {
		at := join(path, "key")
		d.given[at] = given{value: n}
		return d.value(n, reflect.ValueOf(&c.Key).Elem(), at, &field{})
	}
	if n.Kind == yaml.SequenceNode {
		return d.expected(n, path, "a key, or {org, user, key}")
	}
	return d.structure(n, reflect.ValueOf((*plain)(c)).Elem(), path)
}
