package interaction

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

// Variable is a value that is made anew for every request. Its fields are
// those of the scenario format, by type.
type Variable struct {
	Type               string
	Values             []string
	Weights            []float64
	Min, Max           float64
	Precision          int
	Strategy, Seed     string
	Method             string
	MinWords, MaxWords int
	Templates          []string
	Path, Encoding     string
	Value              string
	Format             string
	Version            int
	Start, Step        int64
}

// Document is one that document_selector may choose.
type Document struct {
	Content string
	Weight  float64
}

// variable is a compiled one.
type variable struct {
	make     func(d *Dialog) string
	asks     bool // its value is a question
	followUp bool
}

// largestFile bounds what file_loader reads: the platform's router takes
// bodies below 64 KiB.
const largestFile = 32 << 10

func (p *Program) compile(v Variable) (variable, error) {
	plain := func(f func(rng *rand.Rand) string) (variable, error) {
		return variable{make: func(d *Dialog) string { return f(d.rng) }}, nil
	}
	switch v.Type {
	case "selector":
		if len(v.Values) == 0 {
			return variable{}, errors.New("there are no values to select from")
		}
		upTo := running(len(v.Values), func(i int) float64 {
			if len(v.Weights) == 0 {
				return 1
			}
			return v.Weights[i]
		})
		return plain(func(rng *rand.Rand) string { return v.Values[pick(upTo, rng)] })
	case "random_int":
		lo, n := int64(v.Min), int64(v.Max)-int64(v.Min)+1
		if n < 1 {
			return variable{}, errors.New("max is below min")
		}
		return plain(func(rng *rand.Rand) string { return strconv.FormatInt(lo+rng.Int64N(n), 10) })
	case "random_float":
		precision := v.Precision
		if precision == 0 {
			precision = -1
		}
		return plain(func(rng *rand.Rand) string {
			return strconv.FormatFloat(v.Min+rng.Float64()*(v.Max-v.Min), 'f', precision, 64)
		})
	case "question_generator":
		source := p.Strategies[v.Strategy]
		if source == nil {
			return variable{}, fmt.Errorf("there is no question strategy %q", v.Strategy)
		}
		return variable{asks: true, make: func(d *Dialog) string {
			rng := d.rng
			if v.Seed != "" {
				h := fnv.New64a()
				_, _ = io.WriteString(h, d.plain(v.Seed)) // cannot fail
				rng = rand.New(rand.NewPCG(h.Sum64(), d.rng.Uint64N(1<<16)))
			}
			return source.Next(rng).Text
		}}, nil
	case "document_selector":
		if len(p.Documents) == 0 {
			return variable{}, errors.New("there are no documents to select from")
		}
		upTo := running(len(p.Documents), func(i int) float64 {
			if v.Strategy == "weighted" {
				return p.Documents[i].Weight
			}
			return 1
		})
		if v.Strategy == "sequential" {
			return plain(func(*rand.Rand) string {
				return p.Documents[int((p.document.Add(1)-1)%uint64(len(p.Documents)))].Content
			})
		}
		return plain(func(rng *rand.Rand) string { return p.Documents[pick(upTo, rng)].Content })
	case "text_generator":
		return plain(func(rng *rand.Rand) string {
			return questions.Text(rng, questions.Prose(v.Method), v.MinWords+rng.IntN(max(0, v.MaxWords-v.MinWords)+1))
		})
	case "follow_up_generator":
		if len(v.Templates) == 0 {
			return variable{}, errors.New("there are no templates")
		}
		return variable{asks: true, followUp: true, make: func(d *Dialog) string { return d.plain(v.Templates[d.rng.IntN(len(v.Templates))]) }}, nil
	case "file_loader":
		data, err := os.ReadFile(v.Path)
		if err != nil {
			return variable{}, err
		}
		text := strings.ToValidUTF8(string(data), "\ufffd")
		if v.Encoding == "base64" {
			text = base64.StdEncoding.EncodeToString(data)
		}
		if len(text) > largestFile {
			return variable{}, fmt.Errorf("%s is %d bytes long, and no request may be longer than %d", v.Path, len(text), largestFile)
		}
		return plain(func(*rand.Rand) string { return text })
	case "template":
		return variable{make: func(d *Dialog) string { return d.plain(v.Value) }}, nil
	case "timestamp":
		return plain(func(*rand.Rand) string { return time.Now().UTC().Format(v.Format) })
	case "uuid":
		return plain(func(rng *rand.Rand) string { return uuid(rng, v.Version) })
	case "counter":
		var n atomic.Int64 // counts over all users of this process
		return plain(func(*rand.Rand) string { return strconv.FormatInt(v.Start+(n.Add(1)-1)*v.Step, 10) })
	default:
		return variable{}, fmt.Errorf("the type %q is unknown", v.Type)
	}
}

// running returns the running sum of weights.
func running(n int, weight func(i int) float64) []float64 {
	out, sum := make([]float64, n), 0.0
	for i := range out {
		sum += weight(i)
		out[i] = sum
	}
	return out
}

func pick(upTo []float64, rng *rand.Rand) int {
	x := rng.Float64() * upTo[len(upTo)-1]
	i, _ := slices.BinarySearch(upTo, math.Nextafter(x, math.Inf(1)))
	return min(i, len(upTo)-1)
}

// uuid makes one of version 4, all random, or 7, which begins with the time (RFC 9562).
func uuid(rng *rand.Rand, version int) string {
	hi, lo := rng.Uint64(), rng.Uint64()
	if version == 7 {
		hi = uint64(time.Now().UnixMilli())<<16 | hi&0xffff //nolint:gosec // a time after 1970
	}
	hi = hi&^0xf000 | uint64(version)<<12 //nolint:gosec // 4 or 7
	lo = lo&^(3<<62) | 2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}
