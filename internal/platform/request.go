package platform

import (
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Endpoint names one of the router's calls, or an operation of the User/Org API.
type Endpoint string

// The endpoints, as records and metrics name them.
const (
	Chat        Endpoint = "chat"        // POST /v1/chat/completions
	Completions Endpoint = "completions" // POST /v1/completions
	Embeddings  Endpoint = "embeddings"  // POST /v1/embeddings
	Responses   Endpoint = "responses"   // POST /v1/responses
	ModelList   Endpoint = "models"      // GET /v1/models; it has no body, no model and no tokens
)

// The operations of the User/Org API that can be load; a [Tenancy] does them.
// Where the platform needs several calls for one, it is all of them.
const (
	CreateOrg   Endpoint = "org-create"
	ReadOrg     Endpoint = "org-read"
	PatchOrg    Endpoint = "org-patch"
	ListOrgs    Endpoint = "org-list"
	InviteUser  Endpoint = "user-invite"
	SuspendUser Endpoint = "user-suspend"
	IssueKey    Endpoint = "key-issue"
	RotateKey   Endpoint = "key-rotate"
	RevokeKey   Endpoint = "key-revoke"
)

// Manages reports whether the endpoint is an operation of the User/Org API.
func (e Endpoint) Manages() bool {
	switch e {
	case CreateOrg, ReadOrg, PatchOrg, ListOrgs, InviteUser, SuspendUser, IssueKey, RotateKey, RevokeKey:
		return true
	default:
		return false
	}
}

// Infers reports whether the endpoint asks a model, which has tokens and a
// price.
func (e Endpoint) Infers() bool { return e != ModelList && !e.Manages() }

// Generates reports whether the endpoint generates text, which can be streamed.
func (e Endpoint) Generates() bool { return e == Chat || e == Completions || e == Responses }

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// Request is one inference call.
type Request struct {
	Endpoint       Endpoint
	Model          string
	Messages       []Message // Chat: the whole conversation, the question last
	Input          string    // Completions and Responses: the prompt; Embeddings: the text
	MaxTokens      int       // 0: not sent
	Temperature    float64   // sent if HasTemperature
	HasTemperature bool
	Stream         bool   // if the endpoint generates; asks for usage in the last chunk
	CacheSalt      string // vLLM's cache_salt; empty: not sent
	Key            secret.String
	ID             string       // sent as X-Request-Id; empty: not sent
	Trace          record.Trace // sent as traceparent; zero: not sent

	// Body, if there is one, is sent as it is, in place of one made of the
	// fields above, but for CacheSalt, which is added to an object without one;
	// Model, Stream and MaxTokens must be what it says. The answer is kept in Exchange.Whole.
	Body []byte
}

// Usage is the platform's own count of tokens.
type Usage struct {
	PromptTokens     int
	CompletionTokens int
	CachedTokens     int // the part of PromptTokens served from the prefix cache
}

// Exchange is what one call looked like from here. Moments are offsets from
// the client's epoch on the monotonic clock; zero means it never came.
// An Exchange may be used again; Do resets it and keeps its buffers.
type Exchange struct {
	Sent       time.Duration // request handed to the transport
	FirstByte  time.Duration // first byte of the response head
	FirstToken time.Duration // first chunk with content; streams only
	LastToken  time.Duration // last chunk with content; streams only
	Done       time.Duration // complete, or known to have failed; always set

	DNS, Connect, TLS time.Duration // zero on a reused connection
	Reused            bool

	Gaps             []time.Duration // between consecutive content chunks
	Chunks           int             // chunks with content
	FirstChunkTokens int             // tokens in the first of them; estimated if the platform does not say
	Unstreamed       bool            // a stream was asked for, and one whole document came
	Injected         bool            // this side broke or delayed it on purpose; Do never sets it

	Usage       Usage
	UsageKnown  bool
	CachedKnown bool // the usage spoke of cached tokens; without that, none may have been cached or nobody says

	Status       int    // HTTP status; 0 if none arrived
	Backend      string // the platform's X-Routing-Backend, which names who answered; empty if it does not say
	FinishReason string
	Answer       []byte // the text of the answer, for the next turn; reused by the next Do
	Whole        []byte // the JSON of an answer in one piece to a request with a Body; reused likewise

	RequestBytes, ResponseBytes int64 // of the bodies
}
