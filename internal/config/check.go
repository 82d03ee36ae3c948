package config

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// A check is a struct of the scenario being looked at as a whole: it reports
// what is wrong between fields, and settles what one field says about another.
type check struct {
	d    *decoder
	path string
}

// checked structs have rules that involve more than one of their fields.
type checked interface{ check(c check) }

// check visits v, the innermost structs first.
func (d *decoder) check(v reflect.Value, path string) {
	each(v, path, d.check)
	if !v.CanAddr() {
		return
	}
	if rules, ok := v.Addr().Interface().(checked); ok && v.Kind() != reflect.Pointer {
		rules.check(check{d, path})
	}
}

// has reports whether the file gave a field.
func (c check) has(name string) bool {
	g, there := c.d.given[join(c.path, name)]
	return there && !g.byDefault
}

// fault reports a mistake at the first of the named fields, space-separated,
// unless one of them is known to be wrong already.
func (c check) fault(names, hint, format string, args ...any) {
	var at string
	for i, name := range strings.Fields(names) {
		path := c.path
		if name != "." {
			path = join(c.path, name)
		}
		if c.d.isBad(path) {
			return
		}
		if i == 0 {
			at = path
		}
	}
	c.d.faultAt(c.d.place(at), 0, at, hint, format, args...)
}

// isBad reports whether a path, or what it is part of, has been found wrong.
func (d *decoder) isBad(path string) bool {
	for {
		if d.given[path].bad {
			return true
		}
		if path == "" {
			return false
		}
		path = outer(path)
	}
}

// place returns the node that a fault about path is shown at: its value, or
// the name of what it should have been in.
func (d *decoder) place(path string) *yaml.Node {
	if g := d.given[path]; g.value != nil && !g.byDefault {
		return g.value
	}
	for {
		path = outer(path)
		g := d.given[path]
		switch {
		case g.byDefault:
		case g.key != nil:
			return g.key
		case g.value != nil:
			return g.value
		}
		if path == "" {
			return &yaml.Node{Line: 1, Column: 1}
		}
	}
}

// outer returns the path of what path is directly in.
func outer(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func (c check) warn(format string, args ...any) {
	c.d.warnings = append(c.d.warnings, fmt.Sprintf(format, args...))
}

// span settles a range of which the file may have given one end only.
func (c check) span(lo, hi *int) {
	switch {
	case !c.has("max") && c.has("min"):
		*hi = max(*lo, 1)
	case !c.has("min") && c.has("max"):
		*lo = min(1, *hi)
	case *hi == 0:
		c.fault(". min max", "", "%s: expected min and max", c.path)
		return
	}
	if *lo > *hi {
		c.fault("max min", "", "%s: min is %d and max is %d: max must not be smaller", c.path, *lo, *hi)
	}
}

func (u *UsersPerOrg) check(c check) { c.span(&u.Min, &u.Max) }
func (q *Questions) check(c check)   { c.span(&q.Min, &q.Max) }
func (t *Turns) check(c check)       { c.span(&t.Min, &t.Max) }

func (s *Session) check(c check) {
	switch {
	case !c.has("max"):
		s.Max = s.Min
	case !c.has("min"):
		s.Min = s.Max
	}
	if s.Min > s.Max {
		c.fault("max min", "", "%s: min is %s and max is %s: max must not be smaller", c.path, formatDuration(s.Min), formatDuration(s.Max))
	}
}

// settle derives what is missing of a random number from what there is:
// base, variance, lo and hi as the file gave them, in any unit.
func (c check) settle(dist Distribution, base, variance, lo, hi *float64) {
	known := func(name string) bool { _, there := c.d.given[join(c.path, name)]; return there } // defaults count
	hasBase, hasVariance, hasLo, hasHi := known("base"), known("variance"), known("min"), known("max")
	if hasLo && hasHi && *lo > *hi {
		c.fault("max min", "", "%s: min is %v and max is %v: max must not be smaller", c.path, *lo, *hi)
		return
	}
	if !hasBase {
		switch {
		case hasLo && hasHi:
			*base = (*lo + *hi) / 2
		case hasLo:
			*base = *lo
		case hasHi:
			*base = *hi
		default:
			c.fault(". base", "", "%s: expected base, or min and max: there is no number here", c.path)
			return
		}
	}
	if hasLo && *base < *lo || hasHi && *base > *hi {
		c.fault("base min max", "", "%s: base is %v, which is not between min and max", c.path, *base)
		return
	}
	if !hasVariance && hasLo && hasHi {
		switch dist {
		case Uniform:
			*variance = min(*base-*lo, *hi-*base)
		case Gaussian:
			*variance = (*hi - *lo) / 6
		}
	}
	reach := map[Distribution]float64{Uniform: *variance, Gaussian: 4 * *variance, Exponential: 9 * *base}[dist]
	if !hasLo {
		*lo = max(0, *base-reach)
	}
	if !hasHi {
		*hi = *base + reach
	}
}

func (s *Spread) check(c check) {
	c.settle(s.Distribution, &s.Base, &s.Variance, &s.Min, &s.Max)
}

func (t *ThinkTime) check(c check) {
	base, variance, lo, hi := t.Base.Seconds(), t.Variance.Seconds(), t.Min.Seconds(), t.Max.Seconds()
	if !slices.ContainsFunc([]string{"base", "min", "max"}, func(n string) bool { _, there := c.d.given[join(c.path, n)]; return there }) {
		lo, hi = 1, 5 // only a distribution: of the default range
		for _, name := range []string{"min", "max"} {
			c.d.given[join(c.path, name)] = given{byDefault: true}
		}
	}
	c.settle(t.Distribution, &base, &variance, &lo, &hi)
	seconds := func(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
	t.Base, t.Variance, t.Min, t.Max = seconds(base), seconds(variance), seconds(lo), seconds(hi)
}

// weights refuses shares that are all zero.
func (c check) weights(list string, weights []float64) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	if len(weights) > 0 && sum == 0 {
		c.fault(list, "give at least one of them a weight above 0", "%s: the weights sum to zero", join(c.path, list))
	}
}

func weightsOf[T any](list []T, weight func(T) float64) []float64 {
	out := make([]float64, len(list))
	for i, item := range list {
		out[i] = weight(item)
	}
	return out
}

// some lists names, not too many of them.
func some(names []string) string {
	const most = 12
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " …"
	}
	return strings.Join(names, ", ")
}

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// placeholders refuses names in braces that nothing replaces.
func (c check) placeholders(name, text string, known ...string) (ok bool) {
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, m[1]) {
			c.fault(name, didYouMean(m[1], known), "%s: nothing replaces {%s}; known are {%s}", join(c.path, name), c.part(name, m[1]), strings.Join(known, "}, {"))
			return false
		}
	}
	return true
}

// shown is the value of a field as a message may show it.
func (c check) shown(name string) string { return c.d.describe(c.d.place(join(c.path, name))) }

// part is a part of the value of a field as a message may show it.
func (c check) part(name, s string) string {
	if strings.HasPrefix(c.shown(name), "the value of ${") {
		return "…"
	}
	return shorten(s)
}

func (o *Organizations) check(c check) {
	known := c.placeholders("namingPattern", o.NamingPattern, "index", "timestamp", "random", "run")
	if known && o.Count > 1 && !strings.Contains(o.NamingPattern, "{index}") && !strings.Contains(o.NamingPattern, "{random}") {
		c.fault("namingPattern count", "write {index} into it", "%s.namingPattern: all %d organizations would have the same name", c.path, o.Count)
	}
	first := map[int]int{}
	for i, over := range o.Overrides {
		at := fmt.Sprintf("overrides[%d].index", i)
		if over.Index > o.Count {
			c.fault(at+" count", "", "%s: there is no organization %d: the count is %d", join(c.path, at), over.Index, o.Count)
		}
		if j, again := first[over.Index]; again {
			c.fault(at, "keep one of them", "%s: organization %d has an override already, overrides[%d]", join(c.path, at), over.Index, j)
			continue
		}
		first[over.Index] = i
	}
}

func (u *Users) check(c check) {
	known := c.placeholders("namingPattern", u.NamingPattern, "org", "index", "run", "random", "timestamp")
	if known && u.PerOrg.Max > 1 && !strings.Contains(u.NamingPattern, "{index}") && !strings.Contains(u.NamingPattern, "{random}") {
		c.fault("namingPattern perOrg", "write {index} into it", "%s.namingPattern: all users of an organization would have the same name", c.path)
	}
}

func (r *RateLimit) check(c check) {
	if !c.has("burst") {
		r.Burst = max(1, int(min(1e6, math.Ceil(2*r.RequestsPerSecond))))
	}
}

func (b *UserBehavior) check(c check) {
	c.weights("questionStrategies", weightsOf(b.QuestionStrategies, func(s Strategy) float64 { return s.Weight }))
	c.weights("modelPreferences", weightsOf(b.ModelPreferences, func(m ModelWeight) float64 { return m.Weight }))
	if t := b.Temperature; t != nil && t.Max > 2 {
		c.fault("temperature", "", "%s.temperature: expected at most 2, got up to %v", c.path, t.Max)
	}
	if b.MaxTokens.Max < 1 {
		c.fault("maxTokensPerRequest", "", "%s.maxTokensPerRequest: expected at least 1", c.path)
	}
}

// maxPhases bounds the phases of a pattern.
const maxPhases = 100

func (l *LoadPattern) check(c check) {
	if l.Type == "" {
		l.Type = Steady
		if len(l.Phases) > 0 {
			l.Type = Custom
		}
	}
	if len(l.Phases) == 0 && l.Type != Steady {
		c.fault("type phases", "add phases, or leave the type out", "%s: a load pattern of type %s needs phases", c.path, l.Type)
	}
	if len(l.Phases) > maxPhases {
		c.fault("phases", "", "%s.phases: there are %d, at most %d are allowed", c.path, len(l.Phases), maxPhases)
	}
	if len(l.Phases) == 0 && l.Arrival.Model == Open {
		c.fault("arrival phases", "add phases: they say for how long", "%s: open load needs phases", c.path)
	}
	ramp := map[PatternType]Ramp{RampUp: LinearRamp, Custom: LinearRamp, Wave: SmoothRamp}[l.Type]
	for i := range l.Phases {
		p := &l.Phases[i]
		at := fmt.Sprintf("phases[%d].", i)
		if p.Name == "" {
			p.Name = fmt.Sprintf("phase-%d", i+1)
		}
		if !c.has(at + "rampStrategy") {
			p.RampStrategy = ramp
		}
		if p.TargetRate != nil && l.Arrival.Model != Open {
			c.fault(at+"targetRate", "set arrival.model to open", "%s.%stargetRate: closed load has no rate of arrivals", c.path, at)
		}
		if p.Steps > 0 && p.RampStrategy != StepRamp {
			c.fault(at+"steps "+at+"rampStrategy", "set rampStrategy to step", "%s.%ssteps: only a rampStrategy of step has them", c.path, at)
		}
		if !c.has(at + "measure") {
			p.Measure = !slices.Contains([]string{"warmup", "cooldown"}, strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(p.Name)))
		}
	}
}

// Sequence is the phases as they are run, repeated as often as Repeat says.
// Those that are repeated have the number of the time behind their names.
func (l *LoadPattern) Sequence() []Phase {
	counts := func(p Phase) bool { return p.Measure }
	first := slices.IndexFunc(l.Phases, counts)
	if l.Repeat <= 1 || first < 0 {
		return l.Phases
	}
	last := len(l.Phases)
	for !l.Phases[last-1].Measure {
		last--
	}
	out := slices.Clone(l.Phases[:first])
	for n := range l.Repeat {
		for _, p := range l.Phases[first:last] {
			p.Name = fmt.Sprintf("%s-%d", p.Name, n+1)
			out = append(out, p)
		}
	}
	return append(out, l.Phases[last:]...)
}

func (o *Override) check(c check) {
	c.weights("models", weightsOf(o.Models, func(m ModelWeight) float64 { return m.Weight }))
}

func (a *Arrival) check(c check) {
	if a.Model == Open && a.Rate == 0 {
		c.fault("rate model", "", "%s.rate is required if the model is open: how many requests per second", c.path)
	}
}

func (t *TestType) check(c check) {
	if !c.has("cacheBehavior") {
		switch t.Name {
		case "random_short":
			t.CacheBehavior = AvoidCache
		case "cached":
			t.CacheBehavior = PreferCache
		}
	}
	c.weights("modelPreferences", weightsOf(t.ModelPreferences, func(m ModelWeight) float64 { return m.Weight }))
	if len(t.ModelTargeting.SLMModels)+len(t.ModelTargeting.MediumModels) > 0 && !c.has("modelTargeting.enabled") {
		t.ModelTargeting.Enabled = true
		t.ModelTargeting.check(check{c.d, join(c.path, "modelTargeting")})
	}
}

var lengthCondition = regexp.MustCompile(`^\s*query_length\s*(<|<=|>|>=)\s*\d{1,9}\s*$`)

func (r *TargetRule) check(c check) {
	if (r.QueryComplexity == "") == (r.Condition == "") {
		c.fault(". queryComplexity condition", "", "%s: expected either queryComplexity or condition", c.path)
	}
	if r.Condition != "" && !lengthCondition.MatchString(r.Condition) {
		c.fault("condition", "", "%s.condition: expected query_length, one of < <= > >=, and a number", c.path)
	}
}

func (m *ModelTargeting) check(c check) {
	if !m.Enabled {
		return
	}
	if len(m.SLMModels)+len(m.MediumModels) == 0 {
		c.fault("enabled", "name slmModels, mediumModels or both", "%s is enabled and names no models", c.path)
		return
	}
	for i, r := range m.Rules {
		list, models := "slmModels", m.SLMModels
		if r.Target == "medium_llm" {
			list, models = "mediumModels", m.MediumModels
		}
		if at := fmt.Sprintf("rules[%d].target", i); r.Target != "" && len(models) == 0 {
			c.fault(at+" "+list, "", "%s: %s names no models", join(c.path, at), list)
		}
	}
}

// check settles where the documents are. A test type's library is checked by
// the spec, as it takes from the general one what it leaves out.
func (l *DocumentLibrary) check(c check) {
	if folder := &l.Storage.Folder; l.Storage.Type == "file" && *folder != "" && c.d.dir != "" && !filepath.IsAbs(*folder) {
		*folder = filepath.Join(c.d.dir, *folder)
	}
	if c.path == "spec.documentLibrary" {
		l.complete(c)
	}
}

// complete reports what is missing of a library that is used.
func (l *DocumentLibrary) complete(c check) {
	if !l.Enabled {
		return
	}
	switch {
	case l.Storage.Type == "file" && l.Storage.Folder == "":
		c.fault("storage", "", "%s.storage.folder is required if the type is file", c.path)
	case l.Storage.Type != "file" && l.Storage.Bucket == "":
		c.fault("storage", "", "%s.storage.bucket is required if the type is %s", c.path, l.Storage.Type)
	}
	if l.DocumentCount == 0 {
		c.fault("documentCount", "", "%s.documentCount is required: the documents are numbered from 1 up to it", c.path)
	}
}

func (s *CacheSalt) check(c check) {
	if s.Strategy == "custom" && s.CustomValue == "" {
		c.fault("customValue strategy", "", "%s.customValue is required if the strategy is custom", c.path)
	}
}

// answersWanted is how many requests of the others a window of the test of
// noisy neighbours has to have.
const answersWanted = 20

func (n *NoisyNeighbour) check(c check) {
	if got := math.Floor(n.RequestsPerSecond * 0.75 * n.Window.Seconds()); n.Enabled && got < answersWanted {
		c.fault("window requestsPerSecond", "", "%s: %.0f requests of the others in three quarters of a window of %s are too few to tell a 95th percentile: let there be %d",
			c.path, got, formatDuration(n.Window), answersWanted)
	}
}

func (k *KeyLifecycle) check(c check) {
	if k.Watch <= k.Within {
		c.fault("watch within", "", "%s.watch is %s, which must be longer than within, %s: what is accepted later is what is looked for", c.path, formatDuration(k.Watch), formatDuration(k.Within))
	}
}

func (m *ScenarioMix) check(c check) {
	c.weights("scenarios", weightsOf(m.Scenarios, func(s ScenarioWeight) float64 { return s.Weight }))
}

func (s *ScenarioSource) check(c check) {
	switch {
	case s.Type == "configmap" && s.Name == "":
		c.fault("name type", "", "%s.name is required if the type is configmap", c.path)
	case s.Type == "file" && s.Path == "":
		c.fault("path type", "", "%s.path is required if the type is file", c.path)
	}
}

var quantity = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$`)

func (x *Chaos) check(c check) {
	if sum := x.FailureRate + x.Resets + x.TruncatedStreams + x.DNSFailures + x.SlowReads; sum > 1+1e-9 {
		c.fault(". failureRate resets truncatedStreams dnsFailures slowReads", "", "%s: a request suffers one fault at most, so the shares of all cannot sum to %.4g%%", c.path, sum*100)
	}
	for i, o := range x.Outages {
		for j, other := range x.Outages[:i] {
			if o.At < other.At+other.Duration && other.At < o.At+o.Duration {
				c.fault(fmt.Sprintf("outages[%d] outages[%d]", i, j), "", "%s.outages: the outage at %s and the one at %s overlap", c.path, formatDuration(other.At), formatDuration(o.At))
			}
		}
	}
}

func (q *Quantities) check(c check) {
	for name, value := range map[string]string{"cpu": q.CPU, "memory": q.Memory} {
		if value != "" && !quantity.MatchString(value) {
			c.fault(name, "", "%s.%s: expected a Kubernetes quantity, such as 500m or 512Mi", c.path, name)
		}
	}
}

// urlProblem says what is wrong with an address, or "".
func urlProblem(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "expected an address such as https://api.example.com:8080"
	case u.User != nil:
		return "a user and a password do not belong in an address: headers can carry them"
	case u.RawQuery != "" || u.Fragment != "":
		return "expected an address without ? and #"
	}
	return ""
}

func (t *Targets) check(c check) {
	admin := !t.AdminAPIKey.Empty() || t.AdminAPIKeyFrom != nil || t.AdminLogin != nil
	if c.has("adminApiKey") && c.has("adminApiKeyFrom") {
		c.fault("adminApiKeyFrom adminApiKey", "keep one of them", "%s has both adminApiKey and adminApiKeyFrom", c.path)
	}
	switch {
	case t.UserOrgURL != "" && t.APIRouterURL == "":
		c.fault(". apiRouterUrl userOrgUrl", "", "%s.apiRouterUrl is required if there is a userOrgUrl: where requests go", c.path)
	case t.Credentials != nil && t.UserOrgURL != "":
		c.fault("credentials userOrgUrl", "keep one of them", "%s has both credentials and userOrgUrl: keys are either given or created", c.path)
	case t.Credentials != nil && t.APIRouterURL == "":
		c.fault(". apiRouterUrl credentials", "", "%s.apiRouterUrl is required if there are credentials: where requests go", c.path)
	case t.APIRouterURL != "" && t.UserOrgURL == "" && t.Credentials == nil:
		c.fault("apiRouterUrl userOrgUrl credentials", `add userOrgUrl, or credentials (a server that wants no key takes any: credentials: {keys: ["none"]})`,
			"%s: there is nothing that users could get their API keys from", c.path)
	case admin && t.UserOrgURL == "":
		c.fault(". userOrgUrl adminApiKey adminApiKeyFrom adminLogin", "", "%s.userOrgUrl is required if there is an admin: the service that creates organizations", c.path)
	}
	for name := range t.Headers {
		if strings.ContainsFunc(name, func(r rune) bool {
			return !strings.ContainsRune("!#$%&'*+-.^_`|~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			c.fault("headers."+name, "", "%s.headers: this is not the name of a header", c.path)
		} else if strings.ContainsAny(t.Headers[name].Reveal(), "\r\n\x00") {
			c.fault("headers."+name, "", "%s.headers.%s: a header is one line", c.path, name)
		}
	}
}

func (l *AdminLogin) check(c check) {
	if c.has("password") == (l.PasswordFrom != nil) {
		c.fault(". password passwordFrom", "", "%s: expected either password or passwordFrom", c.path)
	}
}

func (s *SecretSource) check(c check) { c.oneOf("file", "env", "secretKeyRef") }
func (k *Credentials) check(c check) {
	c.oneOf("keys", "file", "env")
	for i, one := range k.Keys {
		if at := fmt.Sprintf("keys[%d].key", i); one.Key.Empty() && c.has(at) {
			c.fault(at, "", "%s: the key is empty", join(c.path, at))
		}
	}
	if c.has("keys") && len(k.Keys) == 0 {
		c.fault("keys", "", "%s.keys: there are none", c.path)
	}
}

// oneOf wants exactly one of the fields.
func (c check) oneOf(names ...string) {
	n := 0
	for _, name := range names {
		if c.has(name) {
			n++
		}
	}
	if n != 1 {
		c.fault(". "+strings.Join(names, " "), "", "%s: expected exactly one of %s, got %d", c.path, strings.Join(names, ", "), n)
	}
}

func (s *SLO) check(c check) {
	for name, latencies := range map[string]Latencies{"ttft": s.TTFT, "itl": s.ITL, "tpot": s.TPOT, "e2e": s.E2E} {
		for i := 1; i < len(latencies); i++ {
			lower, higher := latencies[i-1], latencies[i]
			if lower.Quantile > 0 && lower.Latency > higher.Latency {
				c.fault(name+"."+higher.Name(), "", "%s.%s: %s is %s, below %s of %s: a higher percentile cannot be lower", c.path, name,
					higher.Name(), formatDuration(higher.Latency), lower.Name(), formatDuration(lower.Latency))
			}
		}
	}
}

func (k *Cleanup) check(c check) {
	to := k.ExportResultsTo
	if to == "" {
		return
	}
	rest, isFile := strings.CutPrefix(to, "file://")
	bucket, isS3 := strings.CutPrefix(to, "s3://")
	switch {
	case isFile && strings.HasPrefix(rest, "/"), isS3 && bucket != "" && bucket[0] != '/':
	default:
		c.fault("exportResultsTo", "", "%s.exportResultsTo: expected file:///folder/ or s3://bucket/folder/", c.path)
	}
	c.placeholders("exportResultsTo", to, "testRunId", "timestamp", "name")
}

func (a *Advanced) check(check) {
	for i := range a.QuestionTemplates {
		if t := &a.QuestionTemplates[i]; t.Name == "" {
			t.Name = fmt.Sprintf("template-%d", i+1)
		}
	}
}

func (t *QuestionTemplate) check(c check) {
	for name, values := range t.Variables {
		if len(values) == 0 {
			c.fault("variables."+name, "", "%s.variables.%s: there are no values", c.path, name)
		}
	}
}

// maxUsers bounds the users of a run.
const maxUsers = 1_000_000

// check settles what parts of the spec say about each other.
func (s *Spec) check(c check) {
	c.weights("testTypes", weightsOf(s.TestTypes, func(t TestType) float64 { return t.Weight }))
	if most := int64(s.Organizations.Count) * int64(s.Users.PerOrg.Max); most > maxUsers {
		c.fault("users.perOrg.max organizations.count", "", "%s: up to %d users, more than the %d that one run may have", c.path, most, maxUsers)
	}
	strategies := slices.Clone(Strategies)
	for _, t := range s.Advanced.QuestionTemplates {
		strategies = append(strategies, t.Name)
	}
	known := func(at, name string) {
		if name != "" && !slices.Contains(strategies, name) && !c.d.full() {
			c.fault(at, didYouMean(name, strategies), "%s: there is no question strategy %s; there are %s", join(c.path, at), c.shown(at), some(strategies))
		}
	}
	for i, q := range s.UserBehavior.QuestionStrategies {
		known(fmt.Sprintf("userBehavior.questionStrategies[%d].name", i), q.Name)
	}
	for i, t := range s.TestTypes {
		known(fmt.Sprintf("testTypes[%d].questionStrategy", i), t.QuestionStrategy)
	}
	if s.Targets.Credentials != nil {
		for _, field := range []string{"organizations", "users"} {
			if c.has(field) {
				c.warn("%s: %s has no effect with targets.credentials: each key is a user", c.d.src.name, join(c.path, field))
			}
		}
	}
	if s.Targets.Credentials != nil && s.KeyLifecycle.Revoke+s.KeyLifecycle.Suspend > 0 {
		c.fault("keyLifecycle targets.credentials", "", "%s.keyLifecycle: keys that were given are not ours to withdraw: it wants targets.userOrgUrl", c.path)
	}
	for i, t := range s.TestTypes {
		if t.Manages() && s.Targets.Credentials != nil {
			at := fmt.Sprintf("testTypes[%d].endpoint", i)
			c.fault(at+" targets.credentials", "", "%s: %s is a call of the User/Org API: it wants targets.userOrgUrl", join(c.path, at), t.Endpoint)
		}
	}
	if s.LoadPattern.Arrival.Model == Open {
		for _, field := range []string{"userBehavior.thinkTimeSeconds", "userBehavior.questionsPerSession", "userBehavior.sessionDuration", "looping"} {
			if c.has(field) {
				c.warn("%s: %s has no effect under open load: requests arrive at their rate, whatever users do", c.d.src.name, join(c.path, field))
			}
		}
		if rates := slices.ContainsFunc(s.LoadPattern.Phases, func(p Phase) bool { return p.TargetRate == nil || *p.TargetRate > 0 }); !rates {
			c.fault("loadPattern.phases", "", "%s.loadPattern.phases: the rate of every phase is zero, so nothing would arrive", c.path)
		}
	}
	for i, o := range s.Organizations.Overrides {
		at := fmt.Sprintf("organizations.overrides[%d].arrivalRate", i)
		if o.ArrivalRate > 0 && s.LoadPattern.Arrival.Model != Open {
			c.fault(at, "set loadPattern.arrival.model to open", "%s: closed load has no rate of arrivals", join(c.path, at))
		}
	}
	if n := s.Isolation.NoisyNeighbour; n.Enabled && s.Targets.Credentials == nil && (s.Organizations.Count < 2 || n.Aggressor > s.Organizations.Count) {
		c.fault("isolation.noisyNeighbour.aggressor organizations.count", "", "%s: the organization %d and at least one other are wanted, and the count is %d",
			join(c.path, "isolation.noisyNeighbour.aggressor"), n.Aggressor, s.Organizations.Count)
	}
	var sum time.Duration
	sequence := s.LoadPattern.Sequence()
	if len(sequence) > maxPhases && len(s.LoadPattern.Phases) <= maxPhases {
		c.fault("loadPattern.repeat", "", "%s.loadPattern.repeat: %d phases come of it, at most %d are allowed", c.path, len(sequence), maxPhases)
	}
	for _, p := range sequence[:min(len(sequence), maxPhases)] {
		sum += p.Duration
	}
	for i, p := range s.LoadPattern.Phases[:min(len(s.LoadPattern.Phases), maxPhases)] {
		at := fmt.Sprintf("loadPattern.phases[%d].duration", i)
		if limit := s.Limits.MaxDuration; limit > 0 && p.Duration > limit {
			c.fault(at+" limits.maxDuration", "", "%s: the phase lasts %s, longer than limits.maxDuration of %s", join(c.path, at), formatDuration(p.Duration), formatDuration(limit))
		}
		if most := s.Organizations.Count * s.Users.PerOrg.Max; s.Targets.Credentials == nil && len(s.Organizations.Overrides) == 0 && int(p.Users) > most {
			c.warn("%s: phase %s wants %d active users, but there are at most %d", c.d.src.name, p.Name, p.Users, most)
		}
	}
	if limit := s.Limits.MaxDuration; limit > 0 && sum > limit {
		c.warn("%s: the phases last %s together, so limits.maxDuration ends the run after %s", c.d.src.name, formatDuration(sum), formatDuration(limit))
	}
	s.settleModels()
	s.settleTypes(c)
	s.settleIsolation(c)
}

// maxTriedRate bounds the limits that are tried, in requests per second.
const maxTriedRate = 1000

// settleIsolation finds out which promises are tested, and that there are any.
func (s *Spec) settleIsolation(c check) {
	own := s.Targets.Credentials != nil
	if r := &s.Isolation.RateLimit; r.Enabled {
		set := s.Organizations.RateLimit
		if set == nil || own {
			set = &RateLimit{}
		}
		if r.Burst == 0 { // what the platform is told, if it is told anything
			r.Burst = set.Burst
		}
		if r.RequestsPerSecond == 0 {
			r.RequestsPerSecond = set.RequestsPerSecond
		}
		if r.Burst == 0 {
			r.Burst = max(1, int(math.Ceil(2*r.RequestsPerSecond)))
		}
		switch {
		case r.RequestsPerSecond == 0:
			c.fault("isolation.rateLimit", "write organizations.rateLimit, or requestsPerSecond here", "%s.isolation.rateLimit: no rate limit is given that could be tried", c.path)
		case r.RequestsPerSecond > maxTriedRate || r.Burst > 10*maxTriedRate:
			c.fault("isolation.rateLimit organizations.rateLimit", "", "%s.isolation.rateLimit: a limit of more than %d per second, or %d at once, is not tried", c.path, maxTriedRate, 10*maxTriedRate)
		}
		if !own && r.Organization > s.Organizations.Count {
			c.fault("isolation.rateLimit.organization", "", "%s.isolation.rateLimit.organization: there are only %d organizations", c.path, s.Organizations.Count)
		}
	}
	b := &s.Isolation.Budget
	switch {
	case !b.Enabled:
	case own:
		c.fault("isolation.budget targets.credentials", "", "%s.isolation.budget: it wants organizations that the run creates with their budgets, not targets.credentials", c.path)
	case s.Organizations.Count < 2:
		c.fault("isolation.budget", "", "%s.isolation.budget: it wants another organization than the one that runs out of its budget; there is only one", c.path)
	case b.Organization > s.Organizations.Count:
		c.fault("isolation.budget.organization", "", "%s.isolation.budget.organization: there are only %d organizations", c.path, s.Organizations.Count)
	default:
		s.settleBudget(b, c)
	}
}

// Tests names the fields that ask for a test of how tenants are kept apart.
func (s *Spec) Tests() (fields []string) {
	for _, t := range []struct {
		asked bool
		field string
	}{
		{s.CacheSalt.Validation.Enabled, "cacheSalt.validation"},
		{s.Isolation.NoisyNeighbour.Enabled, "isolation.noisyNeighbour"},
		{s.Isolation.Budget.Enabled, "isolation.budget"},
		{s.Isolation.RateLimit.Enabled, "isolation.rateLimit"},
		{s.KeyLifecycle.Revoke+s.KeyLifecycle.Suspend > 0, "keyLifecycle"},
	} {
		if t.asked {
			fields = append(fields, t.field)
		}
	}
	return fields
}

// Least is the smaller of what may be spent in all and in a day; 0 is no budget.
func (b Budget) Least() MicroUSD {
	if b.Limit == 0 || b.Daily > 0 && b.Daily < b.Limit {
		return b.Daily
	}
	return b.Limit
}

func (s *Spec) settleBudget(b *BudgetTest, c check) {
	budgets := map[int]MicroUSD{}
	for _, o := range s.Organizations.Overrides {
		if o.Budget != nil {
			budgets[o.Index] = o.Budget.Least()
		}
	}
	of := func(i int) MicroUSD {
		if own, special := budgets[i]; special {
			return own
		}
		return s.Organizations.Budget.Least()
	}
	if b.Organization == 0 {
		equal := false
		for i := 1; i <= s.Organizations.Count; i++ {
			switch least := of(i); {
			case least == 0:
			case b.Organization == 0 || least < of(b.Organization):
				b.Organization, equal = i, false
			case least == of(b.Organization):
				equal = true
			}
		}
		if b.Organization == 0 || equal {
			c.fault("isolation.budget", "give one a smaller budget under organizations.overrides", "%s.isolation.budget: no organization has a smaller budget than all others", c.path)
		}
		return
	}
	if of(b.Organization) == 0 {
		c.fault("isolation.budget", "", "%s.isolation.budget: organization %d has no budget", c.path, b.Organization)
	}
}

// settleTypes fills in what a test type takes from the rest of the spec.
func (s *Spec) settleTypes(c check) {
	names, documents := map[string]bool{}, false
	for i := range s.TestTypes {
		t, at := &s.TestTypes[i], fmt.Sprintf("testTypes[%d].", i)
		if names[t.Name] {
			c.fault(at+"name", "", "%s: there is a test type %s already", join(c.path, at+"name"), c.shown(at+"name"))
		}
		names[t.Name] = true
		documents = documents || t.Name == "long" || t.DocumentLibrary.Enabled
		if l, general := &t.DocumentLibrary, &s.DocumentLibrary; l.Enabled {
			own := func(name string) bool { return c.has(at + "documentLibrary." + name) }
			if !own("storage") && !own("storage.bucket") {
				l.Storage = general.Storage
			}
			if !own("documentCount") {
				l.DocumentCount = general.DocumentCount
			}
			if !own("selectionStrategy") {
				l.SelectionStrategy = general.SelectionStrategy
			}
			l.complete(check{c.d, join(c.path, at+"documentLibrary")})
		}
		if t.ContinuousLoop && !c.has("looping.enabled") {
			s.Looping.Enabled = true
		}
		if t.Endpoint == "embeddings" && len(t.ModelPreferences) == 0 && !t.ModelTargeting.Enabled {
			if s.Targets.Embedded() {
				t.ModelPreferences = []ModelWeight{{Model: "sim-embed", Weight: 1}}
			} else {
				c.fault(at+"endpoint", "add modelPreferences to it", "%s: a test type that asks for embeddings needs models of its own", join(c.path, at+"endpoint"))
			}
		}
	}
	if s.DocumentLibrary.Enabled && !documents {
		c.warn("%s: documentLibrary is enabled and no test type asks about documents: add one named long, or one with a documentLibrary", c.d.src.name)
	}
}

// settleModels chooses models where the file prefers none.
func (s *Spec) settleModels() {
	if len(s.UserBehavior.ModelPreferences) > 0 {
		return
	}
	var models []string
	if s.Targets.Embedded() {
		models = []string{"sim-small"}
	} else {
		targeted := []ModelTargeting{s.ModelTargeting}
		for _, t := range s.TestTypes {
			targeted = append(targeted, t.ModelTargeting)
		}
		for _, m := range targeted {
			models = append(append(models, m.SLMModels...), m.MediumModels...)
		}
	}
	for i, m := range models {
		if !slices.Contains(models[:i], m) {
			s.UserBehavior.ModelPreferences = append(s.UserBehavior.ModelPreferences, ModelWeight{Model: m, Weight: 1})
		}
	}
}

// checkReferences looks at what one document says about another.
func (d *decoder) checkReferences(s *Scenario) {
	if s.Spec.ScenarioMix.ScenarioSource != nil {
		return
	}
	names := slices.Clone(BuiltInScenarios)
	for _, t := range s.TestScenarios {
		names = append(names, t.Metadata.Name)
	}
	c := check{d, "spec.scenarioMix"}
	for i, m := range s.Spec.ScenarioMix.Scenarios {
		if at := fmt.Sprintf("scenarios[%d].name", i); m.Name != "" && !slices.Contains(names, m.Name) && !d.full() {
			hint := didYouMean(m.Name, names)
			if hint == "" {
				hint = "add it to this file as a document of kind TestScenario, or say with scenarioSource where it is"
			}
			c.fault(at, hint, "%s: there is no TestScenario %s", join(c.path, at), c.shown(at))
		}
	}
}

func (t *TestScenarioSpec) check(c check) {
	if (t.RequestTemplate == "") == (t.InitialMessageTemplate == "") {
		c.fault(". requestTemplate initialMessageTemplate", "", "%s: expected either requestTemplate or initialMessageTemplate", c.path)
	}
	known := slices.Clone(TemplateNames)
	for name := range t.Variables {
		known = append(known, name)
	}
	slices.Sort(known)
	c.template("requestTemplate", t.RequestTemplate, known, true)
	c.template("initialMessageTemplate", t.InitialMessageTemplate, known, true)
	c.template("followUpMessageTemplate", t.FollowUpMessageTemplate, known, true)
	for name, v := range t.Variables {
		at := "variables." + name
		c.template(at+".value", v.Value, known, false)
		c.template(at+".seed", v.Seed, known, false)
		for i, text := range v.Templates {
			c.template(fmt.Sprintf("%s.templates[%d]", at, i), text, known, false)
		}
		if v.Type == DocumentSelector && t.DocumentSource == nil {
			c.fault(at, "add documentSource", "%s.%s: there is no documentSource to take documents from", c.path, at)
		}
	}
	for i, m := range t.Metrics {
		if _, defined := t.Variables[m.Variable]; m.Variable != "" && !defined && !slices.Contains(TemplateNames, m.Variable) {
			c.fault(fmt.Sprintf("metrics[%d].variable", i), didYouMean(m.Variable, known), "%s.metrics[%d]: there is no variable %s", c.path, i, c.shown(fmt.Sprintf("metrics[%d].variable", i)))
		}
	}
}

var (
	action     = regexp.MustCompile(`\{\{(.*?)\}\}`)
	actionName = regexp.MustCompile(`^\s*\.(\w+)\s*$`)
)

// template checks the {{.Name}} in a text, and that a body would be JSON.
func (c check) template(at, text string, known []string, isJSON bool) {
	for _, m := range action.FindAllStringSubmatch(text, -1) {
		name := actionName.FindStringSubmatch(m[1])
		if name == nil {
			c.fault(at, "write {{.Name}}", "%s: {{%s}} is not understood", join(c.path, at), c.part(at, m[1]))
			continue
		}
		if _, there := slices.BinarySearch(known, name[1]); !there && !c.d.full() {
			c.fault(at, didYouMean(name[1], known), "%s: there is no variable %s", join(c.path, at), c.part(at, name[1]))
		}
	}
	if isJSON && text != "" && !json.Valid([]byte(action.ReplaceAllString(text, "0"))) {
		c.fault(at, "", "%s: the template is not JSON, whatever the variables hold", join(c.path, at))
	}
}

// variableFields says which fields a type of variable has besides type; those
// marked with * it needs.
var variableFields = map[string]string{
	Selector:          "values* weights",
	RandomInt:         "min* max*",
	RandomFloat:       "min* max* precision",
	QuestionGenerator: "strategy seed",
	DocumentSelector:  "source strategy",
	TextGenerator:     "method min_words max_words",
	FollowUpGenerator: "based_on templates*",
	FileLoader:        "path* encoding",
	TemplateVariable:  "value*",
	TimestampVariable: "format",
	UUIDVariable:      "version",
	CounterVariable:   "start step",
}

func (v *Variable) check(c check) {
	c.fieldsOfType(reflect.TypeFor[Variable](), v.Type, variableFields[v.Type])
	switch v.Type {
	case Selector:
		if n := len(v.Weights); n > 0 && n != len(v.Values) {
			c.fault("weights values", "", "%s.weights: there are %d for %d values", c.path, n, len(v.Values))
		}
		c.weights("weights", v.Weights)
		if c.has("values") && len(v.Values) == 0 {
			c.fault("values", "", "%s.values: there are none", c.path)
		}
	case RandomInt, RandomFloat:
		if v.Min > v.Max {
			c.fault("max min", "", "%s: min is %v and max is %v: max must not be smaller", c.path, v.Min, v.Max)
		}
		if v.Type == RandomInt && (v.Min != math.Trunc(v.Min) || v.Max != math.Trunc(v.Max)) {
			c.fault(". min max", "use random_float", "%s: min and max of a random_int are whole numbers", c.path)
		}
	case QuestionGenerator:
		if v.Strategy == "" {
			v.Strategy = Strategies[0]
		}
		if !slices.Contains(Strategies, v.Strategy) {
			c.fault("strategy", didYouMean(v.Strategy, Strategies), "%s.strategy: expected one of %s", c.path, strings.Join(Strategies, ", "))
		}
	case DocumentSelector:
		ways := []string{"random", "sequential", "weighted"}
		if v.Strategy == "" {
			v.Strategy = ways[0]
		}
		if !slices.Contains(ways, v.Strategy) {
			c.fault("strategy", didYouMean(v.Strategy, ways), "%s.strategy: expected one of %s", c.path, strings.Join(ways, ", "))
		}
	case TextGenerator:
		setDefault(&v.Method, "lorem")
		setDefault(&v.MinWords, 50)
		setDefault(&v.MaxWords, max(v.MinWords, 500))
		if v.MinWords > v.MaxWords {
			c.fault("max_words min_words", "", "%s: min_words is %d and max_words is %d: max_words must not be smaller", c.path, v.MinWords, v.MaxWords)
		}
	case FollowUpGenerator:
		setDefault(&v.BasedOn, "previous_response")
	case FileLoader:
		setDefault(&v.Encoding, "utf-8")
	case TimestampVariable:
		setDefault(&v.Format, time.RFC3339)
	case UUIDVariable:
		setDefault(&v.Version, 4)
		if v.Version != 4 && v.Version != 7 {
			c.fault("version", "", "%s.version: expected 4 or 7, got %d", c.path, v.Version)
		}
	case CounterVariable:
		if !c.has("start") {
			v.Start = 1
		}
		if !c.has("step") {
			v.Step = 1
		}
	}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// fieldsOfType refuses fields that the type of a struct does not have, and
// misses those that it needs.
func (c check) fieldsOfType(t reflect.Type, kind, names string) {
	if names == "" {
		return // the type is wrong, which is reported already
	}
	var own []string
	for _, name := range strings.Fields(names) {
		name, needed := strings.CutSuffix(name, "*")
		own = append(own, name)
		if needed && !c.has(name) {
			c.fault(". "+name, "", "%s.%s is required for %s", c.path, name, kind)
		}
	}
	for _, f := range fieldsOf(t) {
		if f.name != "type" && f.name != "name" && c.has(f.name) && !slices.Contains(own, f.name) {
			c.fault(f.name, "", "%s: %s has no %s; it has %s", c.path, kind, f.name, strings.Join(own, ", "))
		}
	}
}

var jsonPath = regexp.MustCompile(`^\$(\.[A-Za-z_][\w-]*|\[(\d+|\*|-1|'[^']*')\])*$`)

func (r *ResponseCheck) check(c check) {
	c.fieldsOfType(reflect.TypeFor[ResponseCheck](), r.Type, map[string]string{
		"status_code": "expected*", "json_path": "path* condition* value", "response_time": "max_milliseconds*",
	}[r.Type])
	if r.Path != "" && !jsonPath.MatchString(r.Path) {
		c.fault("path", "", "%s.path: expected a path such as $.choices[0].message.content", c.path)
	}
	switch _, isNumber := r.Value.(float64); {
	case r.Condition == "greater_than" && !isNumber, r.Condition == "min_length" && !isNumber:
		c.fault("value condition", "", "%s.value: %s compares with a number", c.path, r.Condition)
	case r.Condition == "equals" && r.Value == nil:
		c.fault("value condition", "", "%s.value is required for equals", c.path)
	}
}

func (m *ExtractedMetric) check(c check) {
	if m.Source == "" {
		m.Source = "response"
	}
	needs := map[string]string{"response": "jsonPath", "accumulated": "jsonPath", "variable": "variable"}[m.Source]
	if needs != "" && !c.has(needs) {
		c.fault(". "+needs+" source", "", "%s.%s is required if the source is %s", c.path, needs, m.Source)
	}
	if m.JSONPath != "" && !jsonPath.MatchString(m.JSONPath) {
		c.fault("jsonPath", "", "%s.jsonPath: expected a path such as $.usage.total_tokens", c.path)
	}
}
