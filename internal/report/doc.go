// Package report shows the result of a run to people: a summary for the
// terminal and a page for the browser. Both are made from the bundle of the
// run alone, so that they can be made again at any time, and both call
// unknown what was not measured.
package report
