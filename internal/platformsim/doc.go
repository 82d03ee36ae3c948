// Package platformsim is the embedded platform: the User/Org API, the router
// with its budgets and rate limits, and simulated language models behind it.
//
// It is a product feature (`loadtest platform`, and every run without targets)
// and the ground truth for accuracy tests: it writes down what it really sent,
// so that a measurement can be held against it.
//
// # Faces
//
// By default it behaves as the platform is documented. [Quirks] makes it behave,
// one named difference at a time, as the platform's services really do;
// [AsObserved] is all of them at once. [Defects] are faults of isolation that no
// error shows: they exist so that a test which should find them can be tested.
// [Faults] are failures on demand, repeatable from a seed.
//
// # Parts
//
//	platform.go   Options, Platform, listeners, the end
//	model.go      models and their backends (package llm does the timing)
//	directory.go  orgs, users and keys in memory; org.go, user.go, key.go, auth.go: their API
//	router.go     the path of an inference request: key, rate, fault, budget, backend
//	ask.go        what was asked for; chat.go, embeddings.go: how it is answered; sse.go: streams
//	ratelimit.go  token buckets; budget.go: money
//	faults.go     failures on demand; quirks.go: the other face, and defects
//	truth.go      what was sent, request by request; totals.go: sums, and the platform's own lateness
//	status.go     what is not inference; manage.go: the management API; wire.go: appending JSON
//
// # Money
//
// Amounts are whole micro-dollars. A request is refused with 402 once its
// organization has spent a limit or more, and is charged what it really cost
// when it ends; nothing is reserved. So an organization may overspend by the
// cost of what was in flight when the limit was reached, and by no more.
//
// # What a request is charged for
//
// The prompt, once a backend has taken it, and the tokens that were delivered: a
// client that leaves early pays for what it was sent. Requests that fail before
// a backend took them cost nothing.
package platformsim
