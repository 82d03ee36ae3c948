// Package blob keeps bytes by key in the bucket of an S3-compatible server:
// AWS, MinIO and whoever else speaks the same language.
//
// [Bucket] lists, gets and puts. [Cache] keeps on disk what was got, so that
// the same bytes are fetched once and are there when the bucket is not.
package blob

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// ErrAway marks errors of a server that cannot be reached, or that has trouble
// of its own: later, the same may work. Any other error needs a person.
var ErrAway = errors.New("the bucket cannot be reached")

const (
	attempts = 5           // of every call; the pauses between them are 3 s in all
	patience = time.Minute // with a call, all attempts together; more for large objects
	slowest  = 1 << 20     // bytes per second that a transfer is expected to make at least

	defaultEndpoint = "https://s3.amazonaws.com"
	defaultRegion   = "us-east-1" // what servers other than AWS call their only one

	// checksum is the metadata of an object that has the SHA-256 of its bytes.
	checksum = "sha256"
)

// Location is a bucket and what opens it. Without keys it is read, or written,
// as anybody may.
type Location struct {
	Endpoint     string // http:// or https://, and host; https:// if that is left out
	Region       string
	Bucket       string
	AccessKey    secret.String
	SecretKey    secret.String
	SessionToken secret.String // of keys that are lent for a while
}

// Or returns l with what it leaves out taken from the environment, from the
// variables that AWS's own tools read. Keys are taken whole or not at all.
func (l Location) Or(getenv func(string) (string, bool)) Location {
	variable := func(names ...string) string {
		for _, name := range names {
			if value, _ := getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	l.Endpoint = cmp.Or(l.Endpoint, variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), defaultEndpoint)
	l.Region = cmp.Or(l.Region, variable("AWS_REGION", "AWS_DEFAULT_REGION"))
	if l.AccessKey.Empty() && l.SecretKey.Empty() {
		l.AccessKey = secret.New(variable("AWS_ACCESS_KEY_ID"))
		l.SecretKey = secret.New(variable("AWS_SECRET_ACCESS_KEY"))
		l.SessionToken = secret.New(variable("AWS_SESSION_TOKEN"))
	}
	return l
}

// Object is what a listing says of an object.
type Object struct {
	Key  string `json:"key"`
	ETag string `json:"etag"` // changes with its bytes
	Size int64  `json:"size"`
}

// Bucket is a bucket on a server. It is safe for concurrent use.
type Bucket struct {
	name, endpoint string
	anonymous      bool
	client         *minio.Client
}

// Open prepares a bucket for use. It makes no call.
func Open(l Location) (*Bucket, error) {
	endpoint := l.Endpoint
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil: // the error would quote it, with what is secret in it
		return nil, errors.New("the endpoint of the bucket is not an address: write https://host:port")
	case u.User != nil:
		return nil, errors.New("the endpoint of the bucket has a password in it: give accessKey and secretKey instead")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", strings.Trim(u.Path, "/") != "", u.RawQuery != "":
		return nil, fmt.Errorf("the endpoint of the bucket is %s: write https://host:port, and nothing after it", u.Redacted())
	case l.AccessKey.Empty() != l.SecretKey.Empty():
		return nil, fmt.Errorf("the bucket %s has one of an access key and a secret key: give both, or neither for what anybody may read", l.Bucket)
	}
	region := l.Region
	if region == "" && u.Hostname() != "amazonaws.com" && !strings.HasSuffix(u.Hostname(), ".amazonaws.com") {
		region = defaultRegion // AWS is asked
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(l.AccessKey.Reveal(), l.SecretKey.Reveal(), l.SessionToken.Reveal()),
		Secure: u.Scheme == "https", Region: region, MaxRetries: attempts,
	})
	if err != nil {
		return nil, fmt.Errorf("the bucket %s at %s: %w", l.Bucket, u.Redacted(), err)
	}
	return &Bucket{name: l.Bucket, endpoint: u.Scheme + "://" + u.Host, anonymous: l.AccessKey.Empty(), client: client}, nil
}

// String says which bucket it is.
func (b *Bucket) String() string { return fmt.Sprintf("the bucket %s at %s", b.name, b.endpoint) }

// List returns the objects of a folder, in the order of their keys: those that
// begin with the prefix and have no further slash.
func (b *Bucket) List(ctx context.Context, prefix string) ([]Object, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel() // ends the listing
	var objects []Object
	for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix}) {
		switch {
		case o.Err != nil:
			return nil, b.explain("list "+quoted(prefix), o.Err)
		case strings.HasSuffix(o.Key, "/"): // a folder in it, or the mark of an empty one
		default:
			objects = append(objects, Object{Key: o.Key, ETag: o.ETag, Size: o.Size})
		}
	}
	if err := ctx.Err(); err != nil { // the listing was cut short, and nobody says so
		return nil, b.explain("list "+quoted(prefix), err)
	}
	return objects, nil
}

// Get returns the bytes of an object as it was listed, all of them or an
// error. An object that has been replaced since is not what was asked for, and
// one whose checksum differs from that of [Bucket.Put] is damaged.
func (b *Bucket) Get(ctx context.Context, o Object) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patienceFor(o.Size))
	defer cancel()
	doing := "read " + quoted(o.Key)
	options := minio.GetObjectOptions{}
	if o.ETag != "" {
		if err := options.SetMatchETag(o.ETag); err != nil {
			return nil, b.explain(doing, err)
		}
	}
	object, err := b.client.GetObject(ctx, b.name, o.Key, options)
	if err != nil {
		return nil, b.explain(doing, err)
	}
	defer object.Close() //nolint:errcheck // only read from
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(object, o.Size+1))
	if err != nil {
		return nil, b.explain(doing, err)
	}
	if n != o.Size {
		return nil, fmt.Errorf("%s in %s has changed since it was listed: it had %d bytes", quoted(o.Key), b, o.Size)
	}
	info, err := object.Stat()
	if err != nil {
		return nil, b.explain(doing, err)
	}
	for name, want := range info.UserMetadata {
		if sum := sha256.Sum256(data.Bytes()); strings.EqualFold(name, checksum) && want != hex.EncodeToString(sum[:]) {
			return nil, fmt.Errorf("%s in %s is damaged: its bytes do not have the checksum that it was stored with", quoted(o.Key), b)
		}
	}
	return data.Bytes(), nil
}

// Put stores an object, whole or not at all. The server checks what it receives
// against a checksum, and keeps one for [Bucket.Get].
func (b *Bucket) Put(ctx context.Context, key, contentType string, data []byte) error {
	size := int64(len(data))
	ctx, cancel := context.WithTimeout(ctx, patienceFor(size))
	defer cancel()
	sum := sha256.Sum256(data)
	// The checksum is signed, so the bytes need not be; and the client's reader
	// that signs them has a data race when a server redirects.
	_, err := b.client.PutObject(ctx, b.name, key, bytes.NewReader(data), size, minio.PutObjectOptions{
		ContentType: contentType, SendContentMd5: true, DisableContentSha256: true, DisableMultipart: true,
		UserMetadata: map[string]string{checksum: hex.EncodeToString(sum[:])},
	})
	if err != nil {
		return b.explain("write "+quoted(key), err)
	}
	return nil
}

func patienceFor(size int64) time.Duration {
	return patience + time.Duration(size/slowest)*time.Second
}

func quoted(key string) string {
	if key == "" {
		return "it"
	}
	return key
}

// explain says in our words what went wrong and what to do.
func (b *Bucket) explain(doing string, err error) error {
	what := fmt.Sprintf("cannot %s in %s", doing, b)
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, err)
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		var network net.Error // as every *url.Error is
		if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w: %w", what, ErrAway, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	said := fmt.Sprintf("%d %s", answer.StatusCode, answer.Code)
	switch {
	case answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w: it answers %s", what, ErrAway, said)
	case answer.Code == "SignatureDoesNotMatch":
		return fmt.Errorf("%s: the secret key is wrong (%s)", what, said)
	case answer.Code == "InvalidAccessKeyId":
		return fmt.Errorf("%s: the access key is not known there (%s)", what, said)
	case answer.StatusCode == http.StatusForbidden && b.anonymous:
		return fmt.Errorf("%s: without keys it may not be used (%s): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", what, said)
	case answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s: the keys do not allow it (%s)", what, said)
	case answer.Code == "NoSuchBucket":
		return fmt.Errorf("%s: there is no such bucket (%s)", what, said)
	case answer.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: it has changed since it was listed (%s): try again", what, said)
	case answer.Code == "AuthorizationHeaderMalformed", answer.Code == "PermanentRedirect":
		return fmt.Errorf("%s: it is in another region (%s): set AWS_REGION", what, said)
	default:
		return fmt.Errorf("%s: it answers %s", what, said)
	}
}
