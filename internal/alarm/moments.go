package alarm

import "time"

// moments is a binary heap, the earliest first. It is written out because
// container/heap would allocate for every moment.
type moments []time.Duration

func (m *moments) push(d time.Duration) {
	h := append(*m, d)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= d {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = d
	*m = h
}

// pop takes the earliest away. There must be one.
func (m *moments) pop() {
	h := *m
	last := len(h) - 1
	d := h[last] // sinks from the top to where it belongs
	h = h[:last]
	*m = h
	if last == 0 {
		return
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h[child+1] < h[child] {
			child++
		}
		if d <= h[child] {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = d
}
