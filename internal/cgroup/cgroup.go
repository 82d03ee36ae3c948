// Package cgroup finds the control groups of this process, of either version.
package cgroup

import (
	"io/fs"
	"iter"
	"path"
	"strconv"
	"strings"
)

// Folders are those of the group of this process that a controller, such as cpu
// or memory, has under it, and of the groups around that, with the version of
// their files: 1 or 2. Any of them may not be there: in a container the paths of
// the host are not, and what is mounted is the container's own. fsys is the root
// of the file system; where it has no groups, there are none.
func Folders(fsys fs.FS, controller string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		data, err := fs.ReadFile(fsys, "proc/self/cgroup")
		if err != nil {
			return
		}
		for line := range strings.Lines(string(data)) { // hierarchy:controllers:path
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(parts) != 3 {
				continue
			}
			var bases []string
			version := 1
			switch {
			case parts[0] == "0" && parts[1] == "":
				bases, version = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}, 2
			case strings.Contains(","+parts[1]+",", ","+controller+","):
				bases = []string{"sys/fs/cgroup/" + controller, "sys/fs/cgroup/" + parts[1]}
			}
			for _, base := range bases {
				for dir := path.Join("/", parts[2]); ; dir = path.Dir(dir) {
					if !yield(path.Join(base, dir), version) {
						return
					}
					if dir == "/" {
						break
					}
				}
			}
		}
	}
}

// Number is what a file holds: 0 if it is not there, or holds no number.
func Number(fsys fs.FS, file string) int64 {
	data, _ := fs.ReadFile(fsys, file)
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
