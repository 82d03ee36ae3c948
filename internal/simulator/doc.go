// Package simulator runs users: each asks questions, waits for the answers,
// thinks, and asks on. A goroutine works for a user while he asks and reads,
// and none while he thinks, so that a hundred thousand of them fit into little
// memory.
//
// A [Fleet] is the population. A small reconciler compares, at every tick,
// how many users its load pattern wants with how many are at work, and starts
// or retires the difference. What a user does is data, a [Script]; who he is,
// an [Identity]. All that is random in a user comes from generators seeded
// with (run, org, user, loop), so that a run can be repeated from its seed
// whatever the platform answered.
//
// That is closed load. Under open load requests arrive at moments of their
// own ([Stream]), and a dispatcher in place of the reconciler hands each to
// the next user, who need not have had his last answer.
//
// One question is one [Call] through a stack of [Asker]s, each of which adds
// one thing to the next:
//
//	Retry    tries again what may succeed later, each time as a new attempt
//	Breaker  holds back while the platform is down
//	Recorder turns every attempt into one record and sends it to the sinks
//	Direct   the call itself
//
// A request that never left is no request: an asker that holds a question
// back returns an error that wraps [ErrNotSent], nothing is recorded, and the
// fleet counts the question as shed.
//
// Time is the plain time package, so that tests run hours of it under
// testing/synctest; moments are offsets from an epoch shared with the client.
// An [Alarm] may see to it that timers are on time.
package simulator
