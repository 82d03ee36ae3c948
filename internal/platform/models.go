package platform

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// ModelInfo is a model as the platform lists it.
type ModelInfo struct {
	ID string `json:"id"`
	// ContextLength is how many tokens prompt and answer may have together; 0
	// if the platform does not say.
	ContextLength float64 `json:"max_model_len"`
}

// Models lists the models that a key may use, in the platform's order. The
// error is an [*Error]; it also is [errors.ErrUnsupported] if the platform has
// no such list (404, 405 or 501), as its router has not today, which says
// nothing about whether a model can be used.
func (c *Client) Models(ctx context.Context, key secret.String) ([]ModelInfo, error) {
	const op = "GET /v1/models"
	if !headerSafe(key.Reveal()) {
		return nil, &Error{Op: op, Kind: record.Validation, Message: "the key holds a line break or another character that no header may carry"}
	}
	k := call{c: c, q: &Request{Key: key}, x: new(Exchange), op: op, parent: ctx, buffers: new(buffers)}
	cancel := k.bound()
	defer cancel(nil)
	req := c.request(k.ctx, http.MethodGet, c.targets[ModelList].url, key)
	delete(req.Header, "Content-Type")
	addHeaders(ctx, req.Header)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, k.broken(err, "no answer")
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	k.x.Status = resp.StatusCode
	if err := k.readAll(resp.Body, maxAnswer); err != nil {
		return nil, k.broken(err, "no complete answer")
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := refused(op, resp.StatusCode, resp.Header, k.whole, 0, k.hide())
		switch e.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			e.Err = errors.ErrUnsupported
		}
		return nil, e
	}
	var list struct {
		Data []ModelInfo `json:"data"`
	}
	if err := json.Unmarshal(k.whole, &list); err != nil {
		return nil, k.invalid("the list of models is not the JSON expected here: ", k.whole)
	}
	return slices.DeleteFunc(list.Data, func(m ModelInfo) bool { return m.ID == "" }), nil
}
