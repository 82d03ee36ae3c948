//go:build linux

package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// writeImage writes an archive, as docker save does, of an image that has one
// statically linked program and nothing else, and runs it as a plain user.
func writeImage(archive, name, program string) error {
	text, err := os.ReadFile(program) // #nosec G304 -- ours
	if err != nil {
		return err
	}
	type file struct {
		name string
		mode int64
		data []byte
	}
	pack := func(files ...file) ([]byte, error) {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, f := range files {
			if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
				return nil, err
			}
			if _, err := w.Write(f.data); err != nil {
				return nil, err
			}
		}
		err := w.Close()
		return out.Bytes(), err
	}
	entry := filepath.Base(program)
	layer, err := pack(file{entry, 0o755, text})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH,
		"config": map[string]any{"Entrypoint": []string{"/" + entry}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	id := sha256.Sum256(config)
	about := hex.EncodeToString(id[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": about, "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	all, err := pack(file{"layer.tar", 0o644, layer}, file{about, 0o644, config}, file{"manifest.json", 0o644, manifest})
	if err != nil {
		return err
	}
	return os.WriteFile(archive, all, 0o600)
}
