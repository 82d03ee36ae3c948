package metrics

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
)

// seriesPerRequest is how many series a request carries at most, as
// Prometheus' own senders have it.
const seriesPerRequest = 2000

// RemoteWrite is a target that speaks Prometheus' remote-write protocol,
// version 1, native histograms included.
func RemoteWrite(address string) (Target, error) {
	u, login, err := parse(address)
	if err != nil {
		return Target{}, err
	}
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	return Target{
		Name: "remote_write", URL: u.String(),
		Push: func(ctx context.Context, families []*dto.MetricFamily) error {
			series := timeSeries(families, time.Now().UnixMilli())
			for part := range slices.Chunk(series, seriesPerRequest) {
				if err := write(ctx, client, u, login, part); err != nil {
					return err
				}
			}
			return nil
		},
		Close: func(context.Context) error { client.CloseIdleConnections(); return nil },
	}, nil
}

func write(ctx context.Context, client *http.Client, u *url.URL, login *url.Userinfo, series [][]byte) error {
	var body []byte
	for _, s := range series {
		body = protowire.AppendTag(body, 1, protowire.BytesType) // WriteRequest.timeseries
		body = protowire.AppendBytes(body, s)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	req.Header.Set("User-Agent", "loadtest")
	if login != nil {
		password, _ := login.Password()
		req.SetBasicAuth(login.Username(), password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	if resp.StatusCode/100 != 2 {
		line, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
		return fmt.Errorf("%s: %s", resp.Status, line)
	}
	return nil
}

// label is one of a series, by name and value.
type label [2]string

// timeSeries are the encoded TimeSeries messages of all metrics at a moment,
// given in milliseconds.
func timeSeries(families []*dto.MetricFamily, at int64) (out [][]byte) {
	for _, f := range families {
		name := f.GetName()
		for _, m := range f.Metric {
			add := func(suffix string, v float64, more ...label) {
				out = append(out, protowire.AppendBytes(protowire.AppendTag(labelled(m, name+suffix, more), 2, protowire.BytesType), encodeSample(v, at)))
			}
			switch h, s := m.Histogram, m.Summary; {
			case m.Counter != nil:
				add("", m.Counter.GetValue())
			case m.Gauge != nil:
				add("", m.Gauge.GetValue())
			case s != nil:
				for _, q := range s.Quantile {
					add("", q.GetValue(), label{"quantile", number(q.GetQuantile())})
				}
				add("_sum", s.GetSampleSum())
				add("_count", float64(s.GetSampleCount()))
			case h != nil && h.Schema != nil:
				out = append(out, protowire.AppendBytes(protowire.AppendTag(labelled(m, name, nil), 4, protowire.BytesType), encodeNative(h, at)))
			case h != nil:
				for _, b := range h.Bucket {
					add("_bucket", float64(b.GetCumulativeCount()), label{"le", number(b.GetUpperBound())})
				}
				add("_bucket", float64(h.GetSampleCount()), label{"le", "+Inf"})
				add("_sum", h.GetSampleSum())
				add("_count", float64(h.GetSampleCount()))
			}
		}
	}
	return out
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// labelled begins a TimeSeries with its labels in order. An empty label is none.
func labelled(m *dto.Metric, name string, more []label) []byte {
	all := append([]label{{"__name__", name}}, more...)
	for _, l := range m.Label {
		if l.GetValue() != "" {
			all = append(all, label{l.GetName(), l.GetValue()})
		}
	}
	slices.SortFunc(all, func(a, b label) int { return cmp.Compare(a[0], b[0]) })
	var out, pair []byte
	for _, l := range all {
		pair = protowire.AppendString(protowire.AppendTag(pair[:0], 1, protowire.BytesType), l[0])
		pair = protowire.AppendString(protowire.AppendTag(pair, 2, protowire.BytesType), l[1])
		out = protowire.AppendBytes(protowire.AppendTag(out, 1, protowire.BytesType), pair)
	}
	return out
}

func encodeSample(v float64, at int64) []byte {
	b := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(v))
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(at)) //nolint:gosec // after 1970
}

// encodeNative makes a Histogram message.
func encodeNative(h *dto.Histogram, at int64) []byte {
	varint := func(b []byte, field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
	}
	double := func(b []byte, field protowire.Number, v float64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
	}
	b := varint(nil, 1, h.GetSampleCount())
	b = double(b, 3, h.GetSampleSum())
	b = varint(b, 4, protowire.EncodeZigZag(int64(h.GetSchema())))
	b = double(b, 5, h.GetZeroThreshold())
	b = varint(b, 6, h.GetZeroCount())
	for _, s := range h.PositiveSpan {
		span := varint(nil, 1, protowire.EncodeZigZag(int64(s.GetOffset())))
		span = varint(span, 2, uint64(s.GetLength()))
		b = protowire.AppendBytes(protowire.AppendTag(b, 11, protowire.BytesType), span)
	}
	var deltas []byte
	for _, d := range h.PositiveDelta {
		deltas = protowire.AppendVarint(deltas, protowire.EncodeZigZag(d))
	}
	b = protowire.AppendBytes(protowire.AppendTag(b, 12, protowire.BytesType), deltas)
	return varint(b, 15, uint64(at)) //nolint:gosec // after 1970
}
