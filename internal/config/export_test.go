package config

// UnsupportedRows is the length of the list of what does nothing yet.
func UnsupportedRows() int { return len(unsupported) }
