package platformsim

import "strconv"

// The answers of the router are written by appending, without reflection:
// this program shares its CPUs with the one that measures it.

// appendHex appends v as 16 hexadecimal digits.
func appendHex(b []byte, v uint64) []byte {
	const hexDigits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

// appendUnit appends a number from -1 to 1 with six decimals.
func appendUnit(b []byte, v float64) []byte {
	if v < 0 {
		b, v = append(b, '-'), -v
	}
	n := int64(v*1e6 + 0.5)
	b = append(b, byte('0'+n/1e6), '.')
	n %= 1e6
	for place := int64(1e5); place > 0; place /= 10 {
		b = append(b, byte('0'+n/place%10))
	}
	return b
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// scramble spreads a counter over 64 bits (the finalizer of SplitMix64).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
