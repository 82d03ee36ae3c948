package platformsim

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// endpoint is one of the router's inference calls.
type endpoint int

const (
	chat endpoint = iota
	completions
	embeddings
	responses
	inference
)

var endpointNames = [...]string{chat: "chat", completions: "completions", embeddings: "embeddings", responses: "responses", inference: "inference"}

const (
	maxBody      = 16 << 20
	maxSmallBody = 65_535 // of the quirk small-bodies
)

// route serves one request of the router.
func (p *Platform) route(w http.ResponseWriter, r *http.Request) {
	if !p.inflight.enter() {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer p.inflight.leave()
	switch path := r.URL.Path; {
	case path == "/v1/chat/completions":
		p.infer(w, r, chat)
	case path == "/v1/completions":
		p.infer(w, r, completions)
	case path == "/v1/embeddings" && !p.quirks.FewEndpoints:
		p.infer(w, r, embeddings)
	case path == "/v1/responses" && !p.quirks.FewEndpoints:
		p.infer(w, r, responses)
	case path == "/v1/inference":
		p.infer(w, r, inference)
	default:
		p.routeOther(w, r)
	}
}

// call is one request of the router on its way. It is used again.
type call struct {
	p        *Platform
	w        http.ResponseWriter
	r        *http.Request
	endpoint endpoint
	arrived  time.Time
	trace    string // 32 hexadecimal digits
	entry    Entry
	key      *apiKey
	ask      ask
	backend  *backend
	strike   strike

	body, out      []byte
	prompt, answer []llm.Token
	chunks         []time.Duration
	finish         string // finish_reason
	events         int    // of a stream of the Responses API, so far
	taken          bool   // a backend has the prompt
	charged        bool
	cut            bool // reset the connection in the end

	writes             int64
	emitted            int // writes of events that were cut in two
	writeSum, writeMax time.Duration
}

var calls = sync.Pool{New: func() any { return new(call) }}

func (p *Platform) begin(w http.ResponseWriter, r *http.Request, e endpoint) *call {
	c := calls.Get().(*call)
	*c = call{
		p: p, w: w, r: r, endpoint: e, arrived: time.Now(),
		body: c.body[:0], out: c.out[:0], prompt: c.prompt[:0], answer: c.answer[:0], chunks: c.chunks[:0],
	}
	n := scramble(p.seed ^ scramble(p.requests.Add(1)))
	c.trace = string(appendHex(appendHex(make([]byte, 0, 32), n), scramble(n)))
	arrived := c.arrived
	if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		arrived = arrivedAt(conn, arrived)
	}
	c.entry = Entry{Endpoint: endpointNames[e], Arrived: max(1, arrived.Sub(p.started))}
	c.entry.Traceparent = r.Header.Get("Traceparent")
	if c.entry.ID = r.Header.Get("X-Request-Id"); c.entry.ID == "" {
		c.entry.ID = "req-" + c.trace[:16]
	}
	if !p.quirks.NoRequestID {
		w.Header()["X-Request-Id"] = []string{c.entry.ID}
	}
	return c
}

// release gives the call back. Buffers that one huge request has blown up are
// left to the garbage collector.
func (c *call) release() {
	const keep = 1 << 20
	if cap(c.body)+cap(c.out)+4*cap(c.prompt)+4*cap(c.answer)+8*cap(c.chunks) > keep {
		return
	}
	c.w, c.r, c.key, c.ask = nil, nil, nil, ask{}
	calls.Put(c)
}

// infer serves one inference request, from its body to its place in the truth.
func (p *Platform) infer(w http.ResponseWriter, r *http.Request, e endpoint) {
	if r.Method != http.MethodPost {
		p.wrongMethod(w, http.MethodPost)
		return
	}
	c := p.begin(w, r, e)
	defer c.release()
	c.serve()
	c.charge()
	c.enter()
	if c.cut {
		c.reset()
	}
}

// serve takes the request through its stages until one of them answers it.
func (c *call) serve() {
	switch {
	case !c.read():
	case !c.authenticate():
	case !c.limit():
	case c.p.quirks.HeadRefusesAll:
		c.fail(http.StatusUnauthorized, "AUTH_INVALID", "authentication required")
	case c.strikeEarly():
	case !c.understand():
	case !c.afford():
	default:
		c.infer()
	}
}

// read reads the body.
func (c *call) read() bool {
	limit := int64(maxBody)
	if c.p.quirks.SmallBodies {
		limit = maxSmallBody
	}
	size := c.r.ContentLength
	if size <= limit {
		if int64(cap(c.body)) <= size {
			c.body = make([]byte, 0, size+1) // one more, to see the end
		}
		for int64(len(c.body)) <= limit {
			if len(c.body) == cap(c.body) {
				c.body = append(c.body, 0)[:len(c.body)]
			}
			n, err := c.r.Body.Read(c.body[len(c.body):cap(c.body)])
			c.body = c.body[:len(c.body)+n]
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				c.entry.Aborted = true
				c.fail(http.StatusBadRequest, codeInvalid, "the body could not be read")
				return false
			}
		}
	}
	if size > limit || int64(len(c.body)) > limit {
		c.w.Header()["Connection"] = []string{"close"} // the rest is not read
		if c.p.quirks.SmallBodies {
			c.entry.Code = ""
			c.send(http.StatusRequestEntityTooLarge, plainText, []byte("request body too large\n"))
		} else {
			c.fail(http.StatusRequestEntityTooLarge, "REQUEST_TOO_LARGE", "the body is larger than "+strconv.Itoa(maxBody)+" bytes")
		}
		return false
	}
	return true
}

// authenticate finds the key.
func (c *call) authenticate() bool {
	p, h := c.p, c.r.Header
	secret, inHeader := h.Get("X-API-Key"), true
	if secret == "" {
		secret, inHeader = bearer(h), false
	}
	if secret == "" {
		c.fail(http.StatusUnauthorized, "AUTH_INVALID", "missing X-API-Key header")
		return false
	}
	if p.quirks.HMACStub && h.Get("X-HMAC-Signature") != "" {
		c.fail(http.StatusUnauthorized, "AUTH_INVALID", "invalid HMAC signature")
		return false
	}
	if p.quirks.DevKeys || p.quirks.MagicKeys {
		c.key = p.devKey(secret, inHeader)
	}
	if c.key == nil {
		var status int
		var why string
		if c.key, status, why = p.lookUp(printOf(secret), c.arrived); why != "" {
			code := "AUTH_INVALID"
			switch status {
			case http.StatusForbidden:
				code = "FORBIDDEN"
			case http.StatusServiceUnavailable:
				code = "SERVICE_UNAVAILABLE"
			}
			c.key = nil
			c.fail(status, code, why)
			return false
		}
	}
	c.key.used.Store(int64(c.entry.Arrived))
	c.entry.Org, c.entry.User, c.entry.Key = c.key.user.org.slug, c.key.user.id, c.key.fingerprint()
	if c.key.magic != "" {
		code, amount := "BUDGET_EXCEEDED", "10000"
		if c.key.magic == "daily_quota" {
			code, amount = "QUOTA_EXCEEDED", "1000"
		}
		c.fail(http.StatusPaymentRequired, code, "the "+c.key.magic+" is exceeded",
			`"limit_context":{"current_usage":`, amount, `,"limit":`, amount, `,"quota_type":"`, c.key.magic, `"}`)
		return false
	}
	return true
}

// lookUp returns the key of a secret, or the status to refuse it with and why.
func (p *Platform) lookUp(f fingerprint, now time.Time) (k *apiKey, status int, why string) {
	d := p.dir.Load()
	d.mu.RLock()
	defer d.mu.RUnlock()
	k = d.keys[f]
	offset := int64(now.Sub(p.started))
	if p.quirks.KeyCache && k != nil && offset < k.goodUntil.Load() {
		return k, 0, ""
	}
	if p.Outages().UserOrg {
		if p.quirks.OutageIsUnauth {
			return nil, http.StatusUnauthorized, "failed to validate API key: user-org-service unavailable: connection refused"
		}
		return nil, http.StatusServiceUnavailable, "keys cannot be checked: the User/Org service is unavailable"
	}
	if k == nil {
		return nil, http.StatusUnauthorized, "invalid API key: API key not found"
	}
	if status, why = p.usable(k, now); why != "" {
		if status == http.StatusUnauthorized {
			why = "invalid API key: " + why
		}
		return nil, status, why
	}
	if cold := k.goodUntil.Swap(offset+int64(p.keyMemory)) == 0; cold && p.quirks.ColdKeyCrash {
		p.cold.seen(now)
	}
	return k, 0, ""
}

// maxDevKeys bounds how many made-up keys are kept.
const maxDevKeys = 100_000

// devKey returns the key for a secret that needs no check, or nil.
func (p *Platform) devKey(secret string, inHeader bool) *apiKey {
	magic := ""
	if p.quirks.MagicKeys && inHeader {
		switch secret {
		case "dev-exhausted-budget-key":
			magic = "budget"
		case "dev-exhausted-quota-key":
			magic = "daily_quota"
		}
	}
	unchecked := p.quirks.DevKeys && (strings.HasPrefix(secret, "dev-") || strings.HasPrefix(secret, "test-"))
	if magic == "" && !unchecked {
		return nil
	}
	print := printOf(magic + secret)
	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.keys[print]; k != nil {
		return k
	}
	if len(d.keys) >= maxDevKeys {
		return nil
	}
	slug := "dev"
	if parts := strings.Split(secret, "-"); len(parts) == 3 {
		slug = parts[1]
	}
	o := d.slugs[slug]
	if o == nil {
		o = newOrg(slug, slug, time.Now())
		p.apply(o, orgChange{})
		d.addOrg(o)
	}
	u := &user{id: newID(), org: o, service: true, status: active, displayName: "dev", created: time.Now(), updated: time.Now()}
	d.addUser(u)
	k := &apiKey{id: newID(), print: print, user: u, status: active, created: time.Now(), magic: magic}
	d.addKey(k)
	return k
}

// limit takes a token of the rate limiter.
func (c *call) limit() bool {
	q := &c.p.quirks
	r := c.key.rule(c.p.sinceStart(), q.LimiterLosesFractions)
	if !r.limited {
		return true
	}
	h := c.w.Header()
	shown := strconv.FormatFloat(r.rate.rps, 'f', -1, 64)
	if q.LimitHeaderBurst {
		shown = strconv.FormatInt(r.rate.burst, 10)
	}
	left := strconv.FormatInt(r.left, 10)
	h["X-Ratelimit-Limit"], h["X-Ratelimit-Remaining"] = []string{shown}, []string{left}
	if r.ok {
		return true
	}
	wait := (r.wait + int64(time.Second) - 1) / int64(time.Second) // the header holds whole seconds
	exact := strconv.FormatFloat(float64((r.wait+999_999)/1_000_000)/1e3, 'f', -1, 64)
	if q.RetryAfterOne {
		if r.rate.rps >= 1 {
			wait = 1
		}
		exact = strconv.FormatInt(wait, 10)
	}
	h["Retry-After"] = []string{strconv.FormatInt(wait, 10)}
	burst := strconv.FormatInt(r.rate.burst, 10)
	c.fail(http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED", "the rate limit of "+strconv.FormatFloat(r.rate.rps, 'f', -1, 64)+" requests a second is exceeded",
		`"limit_context":{"current_usage":`, strconv.FormatInt(r.rate.burst-r.left, 10), `,"limit":`, burst, `,"remaining":`, left, `},"retry_after_seconds":`, exact)
	return false
}

// strikeEarly lets the fault of this request, if it has one, happen that
// comes before any backend; true means that it has answered.
func (c *call) strikeEarly() bool {
	plan := c.p.faults.Load()
	c.strike = plan.next()
	c.entry.Fault = c.strike.fault
	switch c.strike.fault {
	case InternalError:
		c.backendFails(http.StatusInternalServerError, "INTERNAL_ERROR", "internal error")
	case BadGateway:
		c.backendFails(http.StatusBadGateway, "BACKEND_ERROR", "bad gateway")
	case Unavailable:
		c.backendFails(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "service unavailable")
	case Storm:
		c.backendFails(http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED", "too many requests")
	case Reset:
		c.cut = true
	case SlowStart:
		if !pause(c.r.Context(), plan.SlowFor) {
			c.entry.Aborted = true
			return true
		}
		return false
	case WrongJSON:
		body := `{"id":"` + c.trace + `","object":"chat.comp`
		if c.strike.coin {
			body = `{"id":17,"choices":"none","usage":[]}`
		}
		c.send(http.StatusOK, asJSON, []byte(body))
	default:
		return false
	}
	return true
}

// understand parses the body and finds the model.
func (c *call) understand() bool {
	q := &c.p.quirks
	if wrong := c.ask.parse(c.body, c.endpoint, q); wrong != nil {
		c.fail(http.StatusBadRequest, wrong.code, wrong.text)
		return false
	}
	c.entry.Model, c.entry.Stream = c.ask.Model, c.ask.Stream && c.endpoint != embeddings && c.endpoint != inference
	if c.backend = c.p.backends[c.ask.Model]; c.backend == nil {
		if q.UnknownModel500 {
			c.fail(http.StatusInternalServerError, "ROUTING_ERROR", "no routing policy for model "+c.ask.Model)
		} else {
			c.fail(http.StatusNotFound, "NOT_FOUND", "there is no model "+c.ask.Model)
		}
		return false
	}
	if embeds := c.backend.Dimensions > 0; embeds != (c.endpoint == embeddings) {
		c.backendFails(http.StatusBadRequest, codeValidation, "the model "+c.ask.Model+" does not serve this endpoint")
		return false
	}
	c.prompt = c.ask.appendPrompt(c.prompt, c.endpoint)
	if wrong := c.ask.fits(&c.backend.Model, len(c.prompt)); wrong != nil {
		c.backendFails(http.StatusBadRequest, wrong.code, wrong.text)
		return false
	}
	if q.NoStreaming && c.entry.Stream {
		c.fail(http.StatusBadGateway, "BACKEND_ERROR", "backend request failed: failed to parse response: invalid character 'd' looking for beginning of value")
		return false
	}
	return true
}

// afford checks the organization's budget.
func (c *call) afford() bool {
	o := c.key.user.org
	o.mu.Lock()
	over := o.budget.check(c.p.account(o), c.arrived)
	o.mu.Unlock()
	if over == nil {
		return true
	}
	used, limit := string(appendUSD(nil, over.used)), string(appendUSD(nil, over.limit))
	c.fail(http.StatusPaymentRequired, "BUDGET_EXCEEDED", "the organization's "+over.field+" of "+limit+" USD is spent",
		`"limit_context":{"current_usage":`, used, `,"limit":`, limit, `,"quota_type":"`, over.quota, `"}`)
	return false
}

// submit hands the prompt to the model. On false the request is answered.
func (c *call) submit(r llm.Request) (*llm.Sequence, bool) {
	if c.p.Outages().Backends {
		c.backendFails(http.StatusServiceUnavailable, "BACKEND_UNAVAILABLE", "no backend of the model is up")
		return nil, false
	}
	r.Prompt, r.Salt = c.prompt, c.ask.CacheSalt
	if !c.p.defects.UnfairScheduler {
		r.Tenant = c.key.user.org.id
	}
	seq, err := c.backend.engine.Load().Submit(c.r.Context(), r)
	switch {
	case err == nil:
		c.taken = true
		return seq, true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		c.entry.Aborted = true
	case errors.Is(err, llm.ErrOverloaded):
		c.backendFails(http.StatusServiceUnavailable, "BACKEND_OVERLOADED", "the model's queue is full")
	case errors.Is(err, llm.ErrInvalid):
		c.backendFails(http.StatusBadRequest, codeValidation, "the input is empty")
	default:
		c.backendFails(http.StatusServiceUnavailable, "BACKEND_UNAVAILABLE", "the model is restarting")
	}
	return nil, false
}

// gaveUp deals with a sequence that ended early, before the head was sent.
func (c *call) gaveUp(err error) {
	if errors.Is(err, llm.ErrClosed) {
		c.backendFails(http.StatusServiceUnavailable, "BACKEND_UNAVAILABLE", "the model is restarting")
		return
	}
	c.entry.Aborted = true
}

// usage is what the request is charged for, so far.
func (c *call) usage() platform.Usage {
	return platform.Usage{PromptTokens: c.entry.PromptTokens, CompletionTokens: c.entry.CompletionTokens, CachedTokens: c.entry.CachedTokens}
}

// charge books the request on the organization's account, once; before the
// end of the answer leaves, so that its client finds it booked.
func (c *call) charge() {
	if c.charged || !c.taken {
		return
	}
	c.charged = true
	c.entry.PromptTokens = len(c.prompt)
	u := c.usage()
	c.entry.CostMicroUSD, _ = c.p.cost(c.ask.Model, u)
	now := time.Now()
	o := c.key.user.org
	o.mu.Lock()
	o.spent.spend(now, c.entry.CostMicroUSD)
	o.usage.Requests++
	o.usage.PromptTokens += int64(u.PromptTokens)
	o.usage.CompletionTokens += int64(u.CompletionTokens)
	o.usage.CachedTokens += int64(u.CachedTokens)
	o.mu.Unlock()
	if c.p.defects.SharedBudget {
		c.p.shared.mu.Lock()
		c.p.shared.spend(now, c.entry.CostMicroUSD)
		c.p.shared.mu.Unlock()
	}
}

// enter writes the request into the truth.
func (c *call) enter() {
	c.entry.Done = time.Since(c.p.started)
	c.entry.Chunks = c.chunks
	c.p.tally.add(&c.entry, c.writes, c.writeSum, c.writeMax)
	c.p.ring.add(&c.entry)
	if c.p.truth != nil {
		c.out = c.entry.append(c.out[:0])
		c.p.truth.add(c.out)
	}
}

// backendFails answers that a backend refused or failed. The real router
// turns whatever that was into one error.
func (c *call) backendFails(status int, code, text string) {
	if c.p.quirks.BackendFaults502 {
		status, code, text = http.StatusBadGateway, "BACKEND_ERROR", "backend request failed: backend returned status "+strconv.Itoa(status)+": "+text
	} else if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		c.w.Header()["Retry-After"] = []string{"1"}
	}
	c.fail(status, code, text)
}

// fail answers with an error. more is what follows the usual fields, as JSON.
func (c *call) fail(status int, code, text string, more ...string) {
	c.entry.Code = code
	b := append(c.out[:0], `{"error":`...)
	b = jsonstring.Append(b, text)
	b = append(b, `,"code":`...)
	b = jsonstring.Append(b, code)
	b = append(append(append(b, `,"trace_id":"`...), c.trace...), '"')
	for i, m := range more {
		if i == 0 {
			b = append(b, ',')
		}
		b = append(b, m...)
	}
	c.out = append(b, '}', '\n')
	c.send(status, asJSON, c.out)
}

// Values of Content-Type.
var (
	asJSON    = []string{"application/json"}
	asEvents  = []string{"text/event-stream; charset=utf-8"}
	plainText = []string{"text/plain; charset=utf-8"}
	asHTML    = []string{"text/html; charset=utf-8"}
)

// send sends a whole answer.
func (c *call) send(status int, contentType []string, body []byte) {
	h := c.w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.head(status)
	c.write(body)
}

func (c *call) head(status int) {
	if c.backend != nil && status == http.StatusOK {
		h := c.w.Header()
		h["X-Routing-Backend"], h["X-Routing-Decision"] = c.backend.routing, routedPrimary
	}
	c.entry.Status = status
	c.w.WriteHeader(status)
	c.entry.FirstByte = time.Since(c.p.started)
}

var routedPrimary = []string{"PRIMARY"}

// write writes a part of the body; false means that the client is gone.
func (c *call) write(b []byte) bool {
	n, err := c.w.Write(b)
	c.entry.Bytes += int64(n)
	if err != nil {
		c.entry.Aborted = true
	}
	return err == nil
}

// flush sends what was written on its way; false means that the client is gone.
func (c *call) flush() bool {
	var err error
	switch f := c.w.(type) {
	case interface{ FlushError() error }:
		err = f.FlushError()
	case http.Flusher:
		f.Flush()
	}
	if err != nil {
		c.entry.Aborted = true
	}
	return err == nil
}

// reset breaks the connection.
func (c *call) reset() {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http closes the connection for it
	}
	resetConn(conn)
}
