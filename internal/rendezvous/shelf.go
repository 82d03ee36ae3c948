package rendezvous

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
)

// Shelf keeps documents until they are safe elsewhere. It is safe for concurrent use.
type Shelf struct {
	mu        sync.Mutex
	documents map[string]document
}

type document struct {
	data      []byte
	sum       string // SHA-256, in hex
	collected bool
}

// NewShelf is empty.
func NewShelf() *Shelf { return &Shelf{documents: map[string]document{}} }

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Put keeps a document. The same one may come twice.
func (s *Shelf) Put(name string, data []byte) {
	d := document{data: data, sum: checksum(data)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.documents[name].sum != d.sum {
		s.documents[name] = d
	}
}

// Names are those of all documents, in order.
func (s *Shelf) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, slices.Sorted(maps.Keys(s.documents))...)
}

// Waiting are the names of those that nobody has collected, in order.
func (s *Shelf) Waiting() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(s.documents)) {
		if !s.documents[name].collected {
			names = append(names, name)
		}
	}
	return names
}

// Collected says which are safe elsewhere; those that are not here are ignored.
func (s *Shelf) Collected(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if d, here := s.documents[name]; here {
			d.collected = true
			s.documents[name] = d
		}
	}
}

func (s *Shelf) get(name string) (document, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, here := s.documents[name]
	return d, here
}
