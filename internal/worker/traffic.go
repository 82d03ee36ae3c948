package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/documents"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// longType is the test type whose questions are about documents although it
// does not say so.
const longType = "long"

// traffic makes the sources of questions of a scenario.
type traffic struct {
	ctx       context.Context // of the preparation
	cache     string          // where documents from buckets are kept
	spec      *config.Spec
	templates []questions.Template
	warn      func(topic, text string) // says something once a topic
	libraries map[string]questions.Texts
}

func newTraffic(ctx context.Context, o Options, warn func(topic, text string)) *traffic {
	t := &traffic{
		ctx: ctx, cache: filepath.Join(cmp.Or(o.Cache, o.Folder), "documents"),
		spec: &o.Scenario.Spec, warn: warn, libraries: map[string]questions.Texts{},
	}
	for _, q := range t.spec.Advanced.QuestionTemplates {
		t.templates = append(t.templates, questions.Template{Name: q.Name, Text: q.Template, Variables: q.Variables, Complex: q.Complex})
	}
	return t
}

// general is the source of questions that belong to no test type.
func (t *traffic) general() (questions.Source, error) {
	var weights []questions.Weight
	for _, q := range t.spec.UserBehavior.QuestionStrategies {
		weights = append(weights, questions.Weight{Strategy: q.Name, Weight: q.Weight})
	}
	return questions.New(weights, t.templates...)
}

// types are the test types of the scenario. general asks for those that do not
// say how.
func (t *traffic) types(general questions.Source) ([]simulator.Type, error) {
	var out []simulator.Type
	for i := range t.spec.TestTypes {
		c := &t.spec.TestTypes[i]
		source, err := t.source(c, general)
		if err != nil {
			return nil, err
		}
		kind := simulator.Type{
			Name: c.Name, Weight: c.Weight, Source: source, Endpoint: platform.Endpoint(c.Endpoint), Single: c.CacheBehavior == config.AvoidCache,
			Models: models(c.ModelPreferences), Targets: targets(c.ModelTargeting),
		}
		if c.CacheSalt != "" {
			kind.Salt = simulator.Salt{Strategy: simulator.SaltCustom, Custom: c.CacheSalt}
		}
		if stream := c.StreamingResponse; stream != nil {
			ratio := 0.0
			if *stream {
				ratio = 1
			}
			kind.StreamingRatio = &ratio
		}
		out = append(out, kind)
	}
	return out, nil
}

// source makes the questions of one test type.
func (t *traffic) source(c *config.TestType, general questions.Source) (questions.Source, error) {
	source, own := general, questions.Source(nil)
	if c.QuestionStrategy != "" {
		mix, err := questions.New([]questions.Weight{{Strategy: c.QuestionStrategy, Weight: 1}}, t.templates...)
		if err != nil {
			return nil, err
		}
		source, own = mix, mix
	}
	library := c.DocumentLibrary
	if c.Name == longType && !library.Enabled {
		library = t.spec.DocumentLibrary
	}
	if library.Enabled {
		texts, err := t.texts(&library)
		if err != nil {
			return nil, fmt.Errorf("the test type %s: %w", c.Name, err)
		}
		source = questions.About(texts, own)
	} else if c.Name == longType {
		source = questions.About(questions.Generated{}, own)
	}
	switch c.CacheBehavior {
	case config.AvoidCache:
		source = questions.Fresh(source)
	case config.PreferCache:
		h := fnv.New64a()
		_, _ = h.Write(strconv.AppendUint([]byte(c.Name+"/"), *t.spec.Seed, 10)) // cannot fail
		source = questions.Repeated(source, h.Sum64())
	case config.MixedCache:
	}
	return source, nil
}

// texts opens a document library, or replaces one that is not there by
// generated texts, which it says once. The error is that of a bucket that
// refuses, or has not what it should.
func (t *traffic) texts(l *config.DocumentLibrary) (questions.Texts, error) {
	name := fmt.Sprint(l.Storage.Type, " ", l.Storage.Endpoint, " ", l.Storage.Bucket, " ", l.Storage.Folder, " ",
		l.DocumentPaths, " ", l.DocumentCount, " ", l.SelectionStrategy)
	if open := t.libraries[name]; open != nil {
		return open, nil
	}
	var open *documents.Library
	var err error
	if l.Storage.Type == "file" {
		open, err = documents.Open(l.Storage.Folder, l.DocumentCount, documents.Selection(l.SelectionStrategy))
	} else if open, err = t.fromBucket(l, name); err != nil && !errors.Is(err, blob.ErrAway) {
		return nil, err
	}
	texts := questions.Texts(questions.Generated{})
	if err != nil {
		t.warn(name, err.Error()+": long questions are about generated texts instead")
	} else {
		texts = &library{documents: open, failed: func(err error) {
			t.warn(name, err.Error()+": questions about it, or about others that cannot be read, are about generated texts instead")
		}}
	}
	t.libraries[name] = texts
	return texts, nil
}

// fromBucket opens a document library in a bucket, or what the cache has of it
// if the bucket is away, which it says.
func (t *traffic) fromBucket(l *config.DocumentLibrary, name string) (*documents.Library, error) {
	bucket, err := blob.Open(blob.Location{
		Endpoint: l.Storage.Endpoint, Bucket: l.Storage.Bucket, AccessKey: l.Storage.AccessKey, SecretKey: l.Storage.SecretKey,
	}.Or(os.LookupEnv))
	if err != nil {
		return nil, err
	}
	folders := []string{l.Storage.Folder}
	if len(l.DocumentPaths) > 0 {
		folders = slices.Clone(l.DocumentPaths)
		for i := range folders {
			folders[i] = path.Join(l.Storage.Folder, folders[i])
		}
	}
	for i, folder := range folders {
		if folder = strings.Trim(folder, "/"); folder != "" {
			folder += "/"
		}
		folders[i] = folder
	}
	files, stale, err := blob.Cache{Folder: t.cache}.Fetch(t.ctx, bucket, folders, func(keys [][]string) ([]string, error) {
		return documents.Choose(strings.TrimSuffix("the document library "+strings.Join(folders, " and "), " ")+" in "+bucket.String(), keys, l.DocumentCount)
	})
	if err != nil {
		return nil, err
	}
	if stale != nil {
		t.warn(name+" is stale", stale.Error()+": the documents are those of the cache, from when the bucket was last there")
	}
	return documents.New(files, documents.Selection(l.SelectionStrategy))
}

// library is a document library with generated texts to fall back on.
type library struct {
	documents *documents.Library
	failed    func(error)
}

// Text implements [questions.Texts].
func (l *library) Text(rng *rand.Rand) string {
	text, err := l.documents.Next(rng)
	if err != nil {
		l.failed(err)
		return questions.Generated{}.Text(rng)
	}
	return text
}

// targets translates the rules for models. Every question fits one of them.
func targets(m config.ModelTargeting) []simulator.Target {
	if !m.Enabled {
		return nil
	}
	alike := func(names []string) (out []simulator.Model) {
		for _, name := range names {
			out = append(out, simulator.Model{Name: name, Weight: 1})
		}
		return out
	}
	small, medium := alike(m.SLMModels), alike(m.MediumModels)
	rules := m.Rules
	if len(rules) == 0 && len(small) > 0 && len(medium) > 0 {
		rules = []config.TargetRule{{QueryComplexity: "simple", Target: "slm"}}
	}
	var out []simulator.Target
	for _, r := range rules {
		t := simulator.Target{Fits: condition(r), Models: small}
		if r.Target != "slm" {
			t.Models = medium
		}
		out = append(out, t)
	}
	rest := medium
	if len(rest) == 0 {
		rest = small
	}
	return append(out, simulator.Target{Models: rest})
}

// condition translates when a rule applies.
func condition(r config.TargetRule) func(questions.Question) bool {
	if r.QueryComplexity != "" {
		complicated := r.QueryComplexity == "complex"
		return func(q questions.Question) bool { return q.Complex == complicated }
	}
	rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(r.Condition), "query_length"))
	operator := rest[:len(rest)-len(strings.TrimLeft(rest, "<=>"))]
	bound, _ := strconv.Atoi(strings.TrimSpace(rest[len(operator):])) // the scenario was checked
	return func(q questions.Question) bool {
		switch length := utf8.RuneCountInString(q.Text); operator {
		case "<":
			return length < bound
		case "<=":
			return length <= bound
		case ">":
			return length > bound
		default:
			return length >= bound
		}
	}
}
