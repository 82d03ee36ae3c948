//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// serve is the platform of one cell: it reads the cell from standard input,
// says where it is, and serves until the input ends.
func serve(ctx context.Context) error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var c cell
	if err := json.Unmarshal(line, &c); err != nil {
		return err
	}
	log, err := os.OpenFile(c.Truth, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// A question of the tool's is about 45 tokens long.
	engine := llm.Config{MaxRunning: 1 << 16, MaxBatchedTokens: 1 << 20, DecodeStep: c.ITL / time.Duration(max(1, c.PerChunk)), CacheBlocks: -1}
	if c.TTFT > 0 {
		engine.PrefillPerSecond = 45 / c.TTFT.Seconds()
	}
	var names []string
	var models []platformsim.Model
	for i := range max(1, c.Models) {
		name := fmt.Sprintf("truth-%d", i)
		names = append(names, name)
		models = append(models, platformsim.Model{Name: name, Backend: engine, TokensPerChunk: c.PerChunk, FirstAlone: c.FirstAlone, OutputTokens: platformsim.Lengths{Min: c.Tokens, Max: c.Tokens}})
	}
	p, err := platformsim.New(platformsim.Options{
		Seed: 1, Quirks: c.Quirks, Truth: log, Models: models,
	})
	if err != nil {
		return err
	}
	var listen platformsim.Listen
	if c.TLS {
		lent := httptest.NewTLSServer(http.NotFoundHandler()) // a certificate to show
		defer lent.Close()
		listen.TLS, listen.HTTP1 = &tls.Config{Certificates: lent.TLS.Certificates, MinVersion: tls.VersionTLS12}, !c.HTTP2
	}
	if err := p.Start(listen); err != nil {
		return err
	}
	where := server{Router: p.RouterURL(), UserOrg: p.UserOrgURL(), AdminKey: p.AdminKey().Reveal(), Models: names, Truth: c.Truth}
	if err := json.NewEncoder(os.Stdout).Encode(where); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, in) // until the other end closes it
	grace, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return errors.Join(p.Close(grace), log.Close())
}
