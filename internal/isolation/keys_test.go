package isolation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
)

// answers makes a key of answers a second apart, the first at once: + is an
// accepted request, - a refused one.
func answers(s string) (k isolation.Key) {
	for i, c := range s {
		k.Add(time.Duration(i)*time.Second, c == '+')
	}
	return k
}

func TestKeys(t *testing.T) {
	const never = -1
	for _, c := range []struct {
		keys                string
		verdict             isolation.Verdict
		late, endless       int
		median, max         time.Duration // in seconds
		unseen              int
		reasonSays, seldoms string
	}{
		{"- --- -----", isolation.InTime, 0, 0, 0, 0, 0, "none of 3 keys", ""},
		{"+- ++- ---", isolation.InTime, 0, 0, 1, 2, 0, "none of 3 keys", ""},
		{"+++- - -", isolation.InTime, 0, 0, 0, 3, 0, "", ""}, // accepted at 2 s, which is not later than 2 s
		{"++++- - -", isolation.Outlived, 1, 0, 0, 4, 0, "1 of 3 keys were accepted later than 2s after the platform had confirmed, the last after 3s", "never"},
		{"++++++ ++++ -", isolation.Outlived, 2, 2, never, never, 0, "2 never stopped working while watched, for up to 5s", ""},
		{"++++++ - -", isolation.Outlived, 1, 1, 0, never, 0, "", ""},
		{"-++++-- -", isolation.Outlived, 1, 0, 0, 5, 0, "the last after 4s", ""}, // by turns
		{"++ - -", isolation.Undecided, 0, 0, 0, never, 1, "1 of 3 keys were not tried for long enough", ""},
		{"", isolation.Undecided, 0, 0, never, never, 0, "0 of 0", ""},
	} {
		var keys []isolation.Key
		for _, k := range strings.Fields(c.keys) {
			keys = append(keys, answers(k))
		}
		r := isolation.Keys(keys, 2*time.Second)
		median, maximum := time.Duration(never), time.Duration(never)
		if r.MedianKnown {
			median = r.Median / time.Second
		}
		if r.MaxKnown {
			maximum = r.Max / time.Second
		}
		if r.Verdict != c.verdict || r.Late != c.late || r.Endless != c.endless || r.Unseen != c.unseen || median != c.median || maximum != c.max ||
			!strings.Contains(r.Reason, c.reasonSays) || c.seldoms != "" && strings.Contains(r.Reason, c.seldoms) {
			t.Errorf("%q: %+v, median %v, max %v", c.keys, r, median, maximum)
		}
	}
}

func TestAKeyNotesItsAnswers(t *testing.T) {
	k := answers("-++--")
	want := isolation.Key{
		Accepted: 2, Refused: 3, LastAccepted: 2 * time.Second, FirstRefused: 0, Effective: 3 * time.Second, Ended: true, Watched: 4 * time.Second,
	}
	if k != want {
		t.Errorf("%+v", k)
	}
}
