package platform

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over one JSON document without decoding it: the caller steps
// into what it wants and skips the rest, which is checked all the same, so
// that a document accepted here is one that encoding/json accepts (and the
// other way round; a fuzz test holds the two against each other). It makes no
// allocation, since it runs on every chunk of every stream.
//
// A value of another type than asked for is skipped, not an error: servers
// write null where they have nothing to say.
type scanner struct {
	doc     []byte
	pos     int
	depth   int
	bad     bool // the document is not JSON; everything returns zero from here on
	scratch [32]byte
}

const maxDepth = 10_000 // the limit of encoding/json

func (s *scanner) fail() bool {
	s.bad = true
	return false
}

// peek skips white space and returns the next byte; 0 at the end, which is no
// start of anything.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.doc); s.pos++ {
		switch c := s.doc[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// end reports whether the document was JSON and nothing follows it.
func (s *scanner) end() bool {
	s.peek()
	return !s.bad && s.pos == len(s.doc)
}

// open steps into an object ('{') or array ('['), and more to its next
// member; both return false when there is none:
//
//	for ok := s.open('['); ok; ok = s.more('[') { one value must be consumed }
func (s *scanner) open(bracket byte) bool {
	if s.bad {
		return false
	}
	if s.peek() != bracket {
		s.skip()
		return false
	}
	s.pos++
	if s.depth++; s.depth > maxDepth {
		return s.fail()
	}
	if s.peek() == bracket+2 { // as ASCII has it: {|} and [\]
		s.pos++
		s.depth--
		return false
	}
	return true
}

func (s *scanner) more(bracket byte) bool {
	if s.bad {
		return false
	}
	switch s.peek() {
	case ',':
		s.pos++
		return true
	case bracket + 2:
		s.pos++
		s.depth--
		return false
	}
	return s.fail()
}

// key consumes a member's name and colon. The name is good until the next call.
func (s *scanner) key() []byte {
	raw := s.quoted()
	if s.peek() != ':' {
		s.bad = true
	}
	if s.bad {
		return nil
	}
	s.pos++
	if bytes.IndexByte(raw, '\\') >= 0 {
		return appendUnquoted(s.scratch[:0], raw)
	}
	return raw[1 : len(raw)-1]
}

// text consumes a value. If it is a string, it returns its raw form, quotes
// included; if not, nil.
func (s *scanner) text() []byte {
	if s.bad {
		return nil
	}
	if s.peek() != '"' {
		s.skip()
		return nil
	}
	return s.quoted()
}

// count consumes a value and returns it if it is a whole number that is not
// negative and small enough to be a count of tokens.
func (s *scanner) count() (int, bool) {
	if s.bad {
		return 0, false
	}
	c := s.peek()
	start := s.pos
	s.skip()
	if s.bad || c < '0' || c > '9' {
		return 0, false
	}
	raw := s.doc[start:s.pos]
	const most = 1 << 50
	n := 0
	for _, c := range raw {
		if c < '0' || c > '9' || n > most {
			f, err := strconv.ParseFloat(string(raw), 64) // 12.0 is a whole number too
			if err != nil || f > most || f != float64(int(f)) {
				return 0, false
			}
			return int(f), true
		}
		n = n*10 + int(c-'0')
	}
	if n > most {
		return 0, false
	}
	return n, true
}

// null consumes a value and reports whether it is null.
func (s *scanner) null() bool {
	c := s.peek()
	s.skip()
	return c == 'n' && !s.bad
}

// skip consumes any value.
func (s *scanner) skip() {
	if s.bad {
		return
	}
	switch c := s.peek(); c {
	case '{':
		for ok := s.open('{'); ok; ok = s.more('{') {
			s.key()
			s.skip()
		}
	case '[':
		for ok := s.open('['); ok; ok = s.more('[') {
			s.skip()
		}
	case '"':
		s.quoted()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

func (s *scanner) literal(word string) {
	if end := s.pos + len(word); end <= len(s.doc) && string(s.doc[s.pos:end]) == word {
		s.pos = end
		return
	}
	s.fail()
}

func (s *scanner) number() {
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if !s.digits() {
		return
	}
	if s.at('.') {
		s.pos++
		if !s.digits() {
			return
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		s.digits()
	}
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.doc) && s.doc[s.pos] == c }

// digits consumes at least one.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.doc) && '0' <= s.doc[s.pos] && s.doc[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start || s.fail()
}

// quoted consumes a string and returns its raw form.
func (s *scanner) quoted() []byte {
	if s.bad || s.peek() != '"' {
		s.bad = true
		return nil
	}
	start := s.pos
	for i := start + 1; i < len(s.doc); i++ {
		switch c := s.doc[i]; {
		case c == '"':
			s.pos = i + 1
			return s.doc[start:s.pos]
		case c < ' ':
			s.bad = true
			return nil
		case c == '\\':
			i++
			if i == len(s.doc) {
				break
			}
			switch s.doc[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(s.doc[i+1:]); !ok {
					s.bad = true
					return nil
				}
				i += 4
			default:
				s.bad = true
				return nil
			}
		}
	}
	s.bad = true
	return nil
}

// appendUnquoted appends the text of a string that the scanner has passed.
// What is not UTF-8, or half a surrogate pair, becomes U+FFFD, as in
// encoding/json.
func appendUnquoted(dst, raw []byte) []byte {
	if len(raw) < 2 {
		return dst
	}
	raw = raw[1 : len(raw)-1]
	for len(raw) > 0 {
		plain := raw
		i := bytes.IndexByte(raw, '\\')
		if i >= 0 {
			plain = raw[:i]
		}
		dst = appendValid(dst, plain)
		if i < 0 {
			break
		}
		c := raw[i+1]
		raw = raw[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(raw)
			raw = raw[4:]
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
					low, _ := hex4(raw[2:])
					pair = utf16.DecodeRune(r, low)
				}
				if r = pair; r != utf8.RuneError {
					raw = raw[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// appendValid appends text, each byte that is not UTF-8 as U+FFFD.
func appendValid(dst, text []byte) []byte {
	if utf8.Valid(text) {
		return append(dst, text...)
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
	return dst
}

// hex4 reads the digits of \uXXXX.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
