package cli

import (
	"encoding/json"
	"errors"
	"io"
	"runtime/debug"
	"strings"
)

// bom is a bill of materials in CycloneDX's format, as far as a Go program has
// something to say.
type bom struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    bomMetadata `json:"metadata"`
	Components  []component `json:"components"`
}

type bomMetadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

func newComponent(kind, name, version string) component {
	purl := "pkg:golang/" + strings.ToLower(name) + "@" + strings.ReplaceAll(version, "+", "%2B")
	return component{Type: kind, Ref: purl, Name: name, Version: version, PURL: purl}
}

// writeSBOM writes what the running program is made of, which the compiler has
// put into it: Go's standard library, and modules as they were replaced.
func writeSBOM(to io.Writer, version string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this program does not say what it is made of: build it with modules")
	}
	b := bom{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata:   bomMetadata{newComponent("application", info.Main.Path, version)},
		Components: []component{newComponent("library", "std", strings.TrimPrefix(info.GoVersion, "go"))},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, newComponent("library", m.Path, m.Version))
	}
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	return out.Encode(b)
}
