package llm

import "unicode/utf8"

// maxPiece is the longest part of a word that is one token, in bytes and without
// the space before it. With eight, English text has about four characters a token:
// 4.4 in plain prose, 3.5 where it is full of marks and code.
const maxPiece = 8

// Tokenizer turns text into tokens by rule, without a trained vocabulary. What it
// counts is the platform's definition of a token: usage counts come from token
// ids, never from tokenising generated text a second time.
//
// A token is one of
//   - up to eight bytes of a word (letters, and all of non-ASCII text), or up to three digits, or
//     one punctuation character; each together with the single space before it;
//   - a run of up to sixteen spaces, tabs and line ends.
//
// Tokens are found from left to right, so if one text begins with another, its
// tokens begin with all tokens of the other but the last, which may go on. The texts of a [Vocabulary] strung together give its tokens back, so
// that an answer sent back as history finds its blocks in the prefix cache.
type Tokenizer struct{}

// class of a byte in text.
type class uint8

const (
	punct class = iota
	letter
	digit
	space
)

var classes = func() (t [256]class) {
	for i := range t {
		switch b := byte(i); {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', b >= utf8.RuneSelf:
			t[i] = letter
		case '0' <= b && b <= '9':
			t[i] = digit
		case b == ' ', b == '\t', b == '\n', b == '\r':
			t[i] = space
		}
	}
	return t
}()

// longest run of a class that is one token.
var longest = [...]int{punct: 1, letter: maxPiece, digit: 3, space: 16}

// Tokenize appends the tokens of text to dst.
func (Tokenizer) Tokenize(dst []Token, text string) []Token {
	for i := 0; i < len(text); {
		h := pieceSeed
		if text[i] == ' ' && i+1 < len(text) && classes[text[i+1]] != space {
			h = pieceByte(h, ' ')
			i++
		}
		c := classes[text[i]]
		for end := min(i+longest[c], len(text)); i < end && classes[text[i]] == c; i++ {
			h = pieceByte(h, text[i])
		}
		if c == letter { // do not cut a character in two
			for end := min(i+utf8.UTFMax-1, len(text)); i < end && !utf8.RuneStart(text[i]); i++ {
				h = pieceByte(h, text[i])
			}
		}
		dst = append(dst, words.token(h))
	}
	return dst
}

// A piece of text is hashed byte by byte, by FNV-1a.
const pieceSeed uint64 = 0xcbf29ce484222325

func pieceByte(h uint64, b byte) uint64 { return (h ^ uint64(b)) * 0x100000001b3 }
