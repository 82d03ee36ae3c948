// Package blobtest is the part of an S3-compatible server that this project
// uses, in memory, for tests without a network. It believes everybody.
package blobtest

import (
	"crypto/md5" //nolint:gosec // what S3 checks transfers with
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Server is a server with one bucket. Set its fields before it is called, or
// between calls.
type Server struct {
	URL    string
	Bucket string
	// Code and Status are the answer to every call, if they are set.
	Code   string
	Status int
	// Damages says which objects do not keep the bytes that they are stored with.
	Damages func(key string) bool

	mu      sync.Mutex
	written []string
	objects map[string]object
	calls   map[string]int
	http    *httptest.Server
}

type object struct {
	data     []byte
	metadata http.Header
}

func (o object) etag() string {
	sum := md5.Sum(o.data) //nolint:gosec // as above
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// New starts a server, which ends with the test.
func New(t testing.TB, bucket string) *Server {
	s := &Server{Bucket: bucket, objects: map[string]object{}, calls: map[string]int{}}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.http.URL
	t.Cleanup(s.http.Close)
	return s
}

// Close makes the server unreachable.
func (s *Server) Close() { s.http.Close() }

// Put stores an object without a checksum.
func (s *Server) Put(key, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = object{data: []byte(data)}
}

// Damage changes the bytes of an object and not its metadata.
func (s *Server) Damage(key, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = object{data: []byte(data), metadata: s.objects[key].metadata}
}

// Keys are the keys of all objects.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Written are the keys of objects in the order in which they came over the network.
func (s *Server) Written() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.written)
}

// Object is the data of an object.
func (s *Server) Object(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.objects[key].data)
}

// Calls is how many calls there were of a method on objects; LIST of the bucket.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if key == "" {
		s.calls["LIST"]++
	} else {
		s.calls[r.Method]++
	}
	stored, exists := s.objects[key]
	switch {
	case s.Status != 0:
		refuse(w, s.Status, s.Code)
	case bucket != s.Bucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "":
		s.list(w, r.URL.Query().Get("prefix"), r.URL.Query().Get("delimiter"))
	case r.Method == http.MethodPut:
		sum := md5.Sum(body) //nolint:gosec // as above
		if want := r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum[:]) {
			refuse(w, http.StatusBadRequest, "BadDigest")
			return
		}
		o := object{data: body, metadata: http.Header{}}
		for name, values := range r.Header {
			if strings.HasPrefix(name, "X-Amz-Meta-") || name == "Content-Type" {
				o.metadata[name] = values
			}
		}
		if s.Damages != nil && s.Damages(key) {
			o.data = slices.Repeat([]byte("?"), len(body))
		}
		s.objects[key], s.written = o, append(s.written, key)
		w.Header().Set("ETag", o.etag())
	case !exists:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != stored.etag():
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		maps.Copy(w.Header(), stored.metadata)
		w.Header().Set("ETag", stored.etag())
		w.Header().Set("Content-Length", strconv.Itoa(len(stored.data)))
		w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		_, _ = w.Write(stored.data) // a client that has left misses nothing
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: "a message from the server"})
}

func (s *Server) list(w http.ResponseWriter, prefix, delimiter string) {
	type entry struct {
		Key, ETag, LastModified string
		Size                    int
	}
	type folder struct{ Prefix string }
	answer := struct {
		XMLName        xml.Name `xml:"ListBucketResult"`
		Name, Prefix   string
		Contents       []entry
		CommonPrefixes []folder
	}{Name: s.Bucket, Prefix: prefix}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		rest, inside := strings.CutPrefix(key, prefix)
		if !inside {
			continue
		}
		if dir, _, deeper := strings.Cut(rest, "/"); deeper && delimiter == "/" {
			if f := (folder{prefix + dir + "/"}); !slices.Contains(answer.CommonPrefixes, f) {
				answer.CommonPrefixes = append(answer.CommonPrefixes, f)
			}
			continue
		}
		o := s.objects[key]
		answer.Contents = append(answer.Contents, entry{key, o.etag(), "2026-01-01T00:00:00.000Z", len(o.data)})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(answer) // as above
}
