// Package llm models an LLM inference server with continuous batching: how long
// a request waits, when each of its tokens appears, and which part of its prompt
// is served from the prefix cache. It generates no language; it generates time
// and cache hits, exactly, so that a measurement can be held against the truth.
//
// # The model
//
// The engine works in steps, as a GPU does. A step has a budget of
// MaxBatchedTokens, spent in order of admission: a sequence whose prompt is
// computed takes one token of it to decode, one whose prompt is not takes as much
// as is left for the next chunk of its prefill. What remains admits sequences
// from the waiting queue, first come first served, up to MaxRunning (see Fairness). A sequence
// whose last known token is computed in a step yields one new token at the end of
// that step; so the first token appears at the end of the step that completes the
// prefill. A step lasts
//
//	prefillTokens / PrefillPerSecond  +  DecodeStep + DecodePerSequence × (yielding − 1)
//
// the second term only if any sequence yields a token. The sum stands for a GPU
// that computes a prompt chunk and reads the weights and caches of the decoding
// sequences in the same pass: a prefill delays everyone's next token (the reason
// for chunks), and decoding slows as the batch grows. Hence for a lone request
//
//	TTFT     = Queued + uncached prompt tokens / PrefillPerSecond + DecodeStep
//	ITL      = DecodeStep
//	duration = TTFT + (MaxTokens − 1) × DecodeStep
//
// and for n that decode together ITL = DecodeStep + DecodePerSequence × (n − 1).
//
// # Fairness
//
// Places in the batch are shared evenly between tenants who want them: the next
// one goes to the tenant with the fewest, and in a full batch a tenant who waits
// takes the place of one who has at least two more, whose last admitted sequence
// is suspended. It goes on before others of its tenant, computing again what the
// cache has not kept. So the places become max-min fair within a step, none stands
// empty while anybody waits, and requests of one tenant, or of none named, are
// served first come first served. The token budget is not divided: a step
// lasts as long as what is in it takes.
//
// # Time
//
// Steps follow an absolute schedule: a step starts where the previous one ended,
// or, after an idle spell, when the first request arrived. A late wake-up of the
// process is made good in the next steps and never accumulates; and a step admits
// only what had arrived by its scheduled start, so that a late process changes
// when tokens are seen but not when they are due. [Stats].MaxLate tells how late
// the worst step was seen. Only a process that falls more than a second behind
// gives that time up, as a stalled GPU would.
//
// A Config without any duration or speed is instant: a sequence is complete when
// Submit returns, queues do not exist, and only the cache has a state.
//
// # Prefix cache
//
// Full blocks of BlockSize tokens are known by the hash of their tokens and of the
// block before them; the salt stands before the first one, so different salts
// share nothing. A sequence looks its prompt up when it is admitted and uses the
// longest run of known blocks, leaving at least one prompt token to compute. Its
// own blocks enter the cache in the step that computes their last token, outputs
// included if the caller told them; the very last output token is never computed,
// only sampled. Blocks of running sequences are pinned; the others are evicted
// least recently used first, and of one sequence the tail before the head. When
// everything is pinned, new blocks are not cached for the time being.
//
// # Sources and simplifications
//
// The scheduler is that of vLLM's V1 engine (vllm/v1/core/sched/scheduler.py: one
// token budget, no distinction of phases, running before waiting); the cache is its
// automatic prefix caching (design document "Automatic Prefix Caching", over the
// blocks of PagedAttention, Kwon et al., SOSP 2023). Left out:
//
//   - Memory bounds the prefix cache only. Sequences are never preempted for want of
//     blocks; MaxRunning alone limits the batch. vLLM preempts by priority, and by
//     computing again, which is how tenants make room for each other here.
//   - vLLM makes a block known when it is scheduled, so that requests of the same step
//     can share it; here it is known when it is computed. Blocks of equal content exist once.
//   - Attention does not grow with context length, and the speed of prefill is constant.
//   - No speculative decoding, priorities, multi-modal inputs or several GPUs.
package llm
