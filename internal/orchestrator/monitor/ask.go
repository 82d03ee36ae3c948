package monitor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// askTime is how long a worker may take to answer, fetchTime to hand over a
// document, which may have megabytes.
const (
	askTime   = 5 * time.Second
	fetchTime = 2 * time.Minute
)

// Workers speaks to the workers of a run, through the API server's proxy.
type Workers struct {
	Client    kubernetes.Interface
	Namespace string
	Token     secret.String
}

// Run returns the run as the leader in a pod sees it.
func (w Workers) Run(ctx context.Context, pod string) (*rendezvous.View, error) {
	var view rendezvous.View
	if err := w.get(ctx, pod, "/run", &view); err != nil {
		return nil, err
	}
	return &view, nil
}

// Documents returns the names of what a worker keeps.
func (w Workers) Documents(ctx context.Context, pod string) (names []string, err error) {
	return names, w.get(ctx, pod, "/documents", &names)
}

// Document fetches one of them, whole or not at all.
func (w Workers) Document(ctx context.Context, pod, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	var sum string
	data, err := w.request(ctx, http.MethodGet, pod, "/documents/"+name, nil, func(h http.Header) { sum = h.Get(rendezvous.ChecksumHeader) })
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("the document %s of the pod %s was damaged on the way: its bytes do not have its checksum", name, pod)
	}
	return data, nil
}

// Collected tells a worker which documents are safe here.
func (w Workers) Collected(ctx context.Context, pod string, names []string) error {
	return w.post(ctx, pod, "/collected", names)
}

// Stop tells a worker to end, and why. It may be told more than once.
func (w Workers) Stop(ctx context.Context, pod, reason string) error {
	return w.post(ctx, pod, "/stop", map[string]string{"reason": reason})
}

func (w Workers) get(ctx context.Context, pod, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	data, err := w.request(ctx, http.MethodGet, pod, path, nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("ask the pod %s: GET %s: its answer is not understood: %w", pod, path, err)
	}
	return nil
}

func (w Workers) post(ctx context.Context, pod, path string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	data, err := json.Marshal(body)
	if err == nil {
		_, err = w.request(ctx, http.MethodPost, pod, path, data, nil)
	}
	return err
}

// request sends one request by the proxy. It is written with net/http and not
// with the request type of client-go, which keeps the headers of answers to itself.
func (w Workers) request(ctx context.Context, verb, pod, path string, body []byte, header func(http.Header)) ([]byte, error) {
	client, ok := w.Client.CoreV1().RESTClient().(*rest.RESTClient)
	if !ok {
		return nil, fmt.Errorf("ask the pod %s: there is no way to it", pod)
	}
	url := client.Verb(verb).Namespace(w.Namespace).Resource("pods").SubResource("proxy").Name(pod + ":" + strconv.Itoa(jobs.Port)).Suffix(path).URL()
	req, err := http.NewRequestWithContext(ctx, verb, url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set(rendezvous.TokenHeader, w.Token.Reveal())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the pod %s: %w", pod, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	var data bytes.Buffer
	if _, err := data.ReadFrom(resp.Body); err != nil {
		return nil, fmt.Errorf("ask the pod %s: %w", pod, err)
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("ask the pod %s: %s %s: it answers %s: %.200s", pod, verb, path, resp.Status, bytes.TrimSpace(data.Bytes()))
	}
	if header != nil {
		header(resp.Header)
	}
	return data.Bytes(), nil
}

// Answers reports whether a pod is there to be asked.
func Answers(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != ""
}
