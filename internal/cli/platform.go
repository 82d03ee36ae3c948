package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// keptTruth is how many entries GET /truth of the management API shows.
const keptTruth = 10_000

// platformFlags are the flags of `loadtest platform`.
type platformFlags struct {
	listen       platformsim.Listen
	observed     bool
	quirks       []string
	defects      []string
	faults       string
	rateLimit    string
	seed         uint64
	adminKeyFile string
	truth        string
	instant      bool
	speed        float64
	places       int
}

func platformCommand() *cobra.Command {
	var f platformFlags
	cmd := &cobra.Command{
		Use:   "platform",
		Short: "Run the simulated platform by itself",
		Long: `Platform serves a simulated AI platform until it is interrupted: the User/Org
API, the router with its budgets and rate limits, and language models that take
their time as real ones do. It behaves as the platform is documented;
--as-observed, --quirk, --faults and --defect make it behave worse.

Administrator: the key is read from --admin-key-file, or from the environment
variable ` + adminKeyEnv + `. If there is neither, a random one is made
and written to --admin-key-file, or without that printed, once, if standard
output is a terminal. The same secret is the password of ` + defaultAdmin + `,
unless ` + adminEmailEnv + ` and ` + adminPasswordEnv + ` say otherwise.

` + wrapped("Quirks:", platformsim.QuirkNames()) + `
` + wrapped("Defects:", platformsim.DefectNames()) + `
` + wrapped("Faults:", platformsim.FaultNames()) + `

The management API, on loopback only, shows and changes what happens:
GET /state, GET and PUT /faults and /outages, GET and DELETE /truth,
GET /truth/totals, POST /reset.`,
		Example: `  loadtest platform --admin-key-file admin.key
  loadtest platform --as-observed --quirk no-streaming=off
  loadtest platform --faults reset-midway=0.01,stall=0.02,stall-for=5s --seed 7
  curl -X PUT -d '{"http-503":0.1}' http://127.0.0.1:8082/faults`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen.Router, "router-addr", "127.0.0.1:8080", "`ADDRESS` on which the router listens")
	flags.StringVar(&f.listen.UserOrg, "user-org-addr", "127.0.0.1:8081", "`ADDRESS` on which the User/Org API listens")
	flags.StringVar(&f.listen.Management, "management-addr", "127.0.0.1:8082", "`ADDRESS` on which the management API listens; loopback only")
	flags.StringVar(&f.adminKeyFile, "admin-key-file", "", "`FILE` with the administrator's key; made if it does not exist")
	flags.BoolVar(&f.observed, "as-observed", false, "behave as the real platform does today, not as documented")
	flags.StringArrayVar(&f.quirks, "quirk", nil, "switch the quirk `NAME` on, or off with NAME=off; repeatable")
	flags.StringArrayVar(&f.defects, "defect", nil, "break isolation by the defect `NAME`, which no error shows; repeatable")
	flags.StringVar(&f.faults, "faults", "", "failures on demand, as `NAME=RATE,…`")
	flags.StringVar(&f.rateLimit, "rate-limit", "", "requests a second per organization and per key, as `RPS[:BURST]` (default none; 100:200 with --as-observed)")
	flags.Uint64Var(&f.seed, "seed", 0, "`NUMBER` that repeats the answers and faults of an earlier platform (default random)")
	flags.Float64Var(&f.speed, "speed", 1, "make the models `N` times as fast")
	flags.IntVar(&f.places, "places", 256, "let a model work on at most `N` requests at a time; the others wait")
	flags.BoolVar(&f.instant, "instant", false, "let the models take no time")
	flags.StringVar(&f.truth, "truth", "", "write what really happened to every request to `FILE`, as lines of JSON")
	cmd.MarkFlagsMutuallyExclusive("instant", "speed")
	return cmd
}

// wrapped lists names in lines that fit a terminal.
func wrapped(what string, names []string) string {
	line := what
	var b strings.Builder
	for i, name := range names {
		name += []string{",", "."}[i/(len(names)-1)]
		if len(line)+1+len(name) > 80 {
			b.WriteString(line + "\n")
			line = name
		} else {
			line += " " + name
		}
	}
	return b.String() + line
}

// options turns the flags into options, but for the administrator and files.
func (f *platformFlags) options() (o platformsim.Options, err error) {
	if f.observed {
		o.Quirks, o.RateLimit = platformsim.AsObserved(), platformsim.ObservedRateLimit
	}
	for _, q := range f.quirks {
		name, state, _ := strings.Cut(q, "=")
		if state != "" && state != "on" && state != "off" {
			return o, fmt.Errorf("--quirk %s: write NAME, NAME=on or NAME=off", q)
		}
		if err := o.Quirks.Set(name, state != "off"); err != nil {
			return o, err
		}
	}
	for _, d := range f.defects {
		if err := o.Defects.Set(d, true); err != nil {
			return o, err
		}
	}
	if o.Faults, err = platformsim.ParseFaults(f.faults); err != nil {
		return o, fmt.Errorf("--faults: %w", err)
	}
	if f.rateLimit != "" {
		if o.RateLimit, err = parseRateLimit(f.rateLimit); err != nil {
			return o, err
		}
	}
	if f.places < 1 {
		return o, fmt.Errorf("--places must be at least 1, not %d", f.places)
	}
	o.Models = platformsim.WithPlaces(platformsim.DefaultModels(), f.places)
	switch {
	case f.instant:
		o.Models = platformsim.Instant(o.Models)
	case !(f.speed > 0 && f.speed <= 1e6):
		return o, fmt.Errorf("--speed must be more than 0 and at most a million, not %v", f.speed)
	default:
		o.Models = platformsim.AtSpeed(o.Models, f.speed)
	}
	if o.Seed = f.seed; o.Seed == 0 {
		o.Seed = randomSeed()
	}
	o.KeepTruth = keptTruth
	return o, nil
}

func parseRateLimit(text string) (l platformsim.RateLimit, err error) {
	rps, burst, hasBurst := strings.Cut(text, ":")
	l.RequestsPerSecond, err = strconv.ParseFloat(rps, 64)
	if err == nil && hasBurst {
		l.Burst, err = strconv.Atoi(burst)
	}
	if err != nil || !(l.RequestsPerSecond > 0 && l.RequestsPerSecond <= 1e9) || l.Burst < 0 || hasBurst && l.Burst == 0 {
		return l, fmt.Errorf("--rate-limit %s: write it like 100 or 100:200, the rate and the burst", text)
	}
	return l, nil
}

const defaultAdmin = "admin@platform.invalid"

// administrator sets who may do what, and returns a line that says where the
// secret is to be found.
func (f *platformFlags) administrator(o *platformsim.Options, terminal bool) (where string, err error) {
	given := adminFromEnv()
	switch {
	case f.adminKeyFile != "":
		if o.AdminKey, err = keyFile(f.adminKeyFile, given.Key); err != nil {
			return "", err
		}
		where = "its key is in " + f.adminKeyFile
	case !given.Key.Empty():
		o.AdminKey, where = given.Key, "its key is that of "+adminKeyEnv
	case terminal:
		o.AdminKey = platformsim.NewSecret()
		where = "its key, shown only here: " + o.AdminKey.Reveal()
	default:
		return "", fmt.Errorf("the administrator needs a key: say --admin-key-file FILE or set %s, since a new one would end up in whatever keeps this output", adminKeyEnv)
	}
	if o.AdminEmail = given.Email; o.AdminEmail == "" {
		o.AdminEmail = defaultAdmin
	}
	if o.AdminPassword = given.Password; o.AdminPassword.Empty() {
		o.AdminPassword = o.AdminKey
	}
	return where, nil
}

// keyFile returns the secret in the file. If there is no such file, it is
// made, for its owner's eyes only, with the given secret or else a random one.
func keyFile(path string, given secret.String) (secret.String, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the user names it
	if err == nil {
		if key := bytes.TrimSpace(b); len(key) > 0 {
			return secret.New(string(key)), nil
		}
		return secret.String{}, fmt.Errorf("the admin key file %s is empty: put a key into it, or remove it to have one made", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return secret.String{}, fmt.Errorf("read the admin key file: %w", err)
	}
	if given.Empty() {
		given = platformsim.NewSecret()
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the user names it
	if err != nil {
		return secret.String{}, fmt.Errorf("make the admin key file: %w", err)
	}
	_, err = w.WriteString(given.Reveal() + "\n")
	if err := errors.Join(err, w.Close()); err != nil {
		return secret.String{}, fmt.Errorf("write the admin key file: %w", err)
	}
	return given, nil
}

// run serves until ctx is done, which is a platform's usual end and no error.
func (f *platformFlags) run(ctx context.Context, out io.Writer) (err error) {
	o, err := f.options()
	if err != nil {
		return usageError{err}
	}
	file, isFile := out.(*os.File)
	where, err := f.administrator(&o, isFile && term.IsTerminal(int(file.Fd())))
	if err != nil {
		return usageError{err}
	}
	if f.truth != "" {
		w, err := os.OpenFile(f.truth, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return usageError{fmt.Errorf("make the truth file: %w", err)}
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		o.Truth = w
	}
	p, err := platformsim.New(o)
	if err != nil {
		return usageError{err}
	}
	if err := p.Start(f.listen); err != nil {
		_ = p.Close(context.WithoutCancel(ctx)) // it has done nothing yet
		return fmt.Errorf("%w; choose other addresses with --router-addr, --user-org-addr and --management-addr", err)
	}
	f.greet(out, p, o, where)
	<-ctx.Done()

	// What is being answered gets a moment to end.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = p.Close(grace)
	sayTotals(out, p.Totals())
	return err
}

func (f *platformFlags) greet(out io.Writer, p *platformsim.Platform, o platformsim.Options, where string) {
	var b strings.Builder
	fmt.Fprintf(&b, "router         %s\nuser/org API   %s\nmanagement     %s\n", p.RouterURL(), p.UserOrgURL(), p.ManagementURL())
	fmt.Fprintf(&b, "administrator  %s; %s\n", p.AdminEmail(), where)
	fmt.Fprintf(&b, "seed           %d\n", p.Seed())
	if names := o.Quirks.Names(); f.observed && len(names) == len(platformsim.AsObserved().Names()) && o.Quirks == platformsim.AsObserved() {
		fmt.Fprintf(&b, "quirks         as observed (%d)\n", len(names))
	} else if len(names) > 0 {
		fmt.Fprintf(&b, "quirks         %s\n", strings.Join(names, ", "))
	}
	if len(f.defects) > 0 {
		fmt.Fprintf(&b, "defects        %s\n", strings.Join(f.defects, ", "))
	}
	if text := o.Faults.String(); text != "" {
		fmt.Fprintf(&b, "faults         %s\n", text)
	}
	if o.RateLimit.RequestsPerSecond > 0 {
		fmt.Fprintf(&b, "rate limit     %v/s per organization and key\n", o.RateLimit.RequestsPerSecond)
	}
	b.WriteString("\nReady. Interrupt to stop.\n")
	_, _ = io.WriteString(out, b.String()) // a platform serves on without its output
}

// count writes a number for a person; counts are never negative.
func count(n int64) string { return human.Count(uint64(n)) }

func sayTotals(out io.Writer, t platformsim.Totals) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nserved %s", human.Plural(int(t.Requests), "request"))
	for i, status := range slices.Sorted(maps.Keys(t.ByStatus)) {
		b.WriteString([]string{": ", ", "}[min(i, 1)])
		if status == 0 {
			fmt.Fprintf(&b, "%s without an answer", count(t.ByStatus[status]))
		} else {
			fmt.Fprintf(&b, "%s × %d", count(t.ByStatus[status]), status)
		}
	}
	fmt.Fprintf(&b, "\n%s prompt tokens (%s cached), %s completion tokens, %s\n",
		count(t.PromptTokens), count(t.CachedTokens), count(t.CompletionTokens), human.Money(t.CostMicroUSD))
	if len(t.Faults) > 0 {
		var parts []string
		for fault, n := range t.Faults {
			parts = append(parts, fmt.Sprintf("%s × %s", count(n), fault))
		}
		slices.Sort(parts)
		fmt.Fprintf(&b, "faults: %s\n", strings.Join(parts, ", "))
	}
	l := t.Lateness
	fmt.Fprintf(&b, "lateness: model steps up to %s, stream writes up to %s, clock up to %s\n",
		human.Duration(l.Step), human.Duration(l.WriteMax), human.Duration(l.BeatMax))
	if l.Saturated {
		fmt.Fprintf(&b, "The platform was saturated: %s of %s beats of its clock were late, so what was measured against it is in doubt.\n",
			count(l.LateBeats), count(l.Beats))
	}
	_, _ = io.WriteString(out, b.String()) // as above
}
