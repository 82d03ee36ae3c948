package metrics_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus/push"
	dto "github.com/prometheus/client_model/go"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

var _ push.HTTPDoer = (*http.Client)(nil)

// target is one in which everything can be set.
type target struct {
	mu     sync.Mutex
	err    error
	pushes int
	last   float64 // requests, at the last push
	hang   bool
}

func (x *target) Target() metrics.Target {
	return metrics.Target{Name: "otlp", URL: "http://x", Push: func(ctx context.Context, families []*dto.MetricFamily) error {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.pushes++
		if x.hang {
			<-ctx.Done()
			return ctx.Err()
		}
		if x.err == nil {
			for _, f := range families {
				if f.GetName() == "loadtest_user_requests_total" {
					x.last = sum(f)
				}
			}
		}
		if errors.Is(x.err, errFault) {
			panic(x.err)
		}
		return x.err
	}}
}

var errFault = errors.New("a fault of this tool")

func (x *target) set(err error, hang bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err, x.hang = err, hang
}

func TestExporter(t *testing.T) {
	down := errors.New("connection refused")
	for name, test := range map[string]struct {
		at      func(x *target, second int)
		problem []string // empty: none
		last    float64
	}{
		"well": {at: func(*target, int) {}, last: 61},
		"always down": {at: func(x *target, second int) { x.set(down, false) },
			problem: []string{"no metrics reached otlp at http://x", "connection refused"}},
		"down for a while": {at: func(x *target, second int) {
			if x.set(nil, false); second >= 20 && second < 30 {
				x.set(down, false)
			}
		}, problem: []string{"attempts; it has the last ones"}, last: 61},
		"dies": {at: func(x *target, second int) {
			if second >= 30 {
				x.set(down, false)
			}
		}, problem: []string{"not complete", "the last one too: connection refused"}, last: 29},
		"crashes for a while": {at: func(x *target, second int) {
			if x.set(nil, false); second >= 20 && second < 30 {
				x.set(errFault, false)
			}
		}, problem: []string{"attempts; it has the last ones"}, last: 61},
		"hangs": {at: func(x *target, second int) {
			if second == 30 {
				x.set(nil, true)
			}
		}, problem: []string{"not complete", "did not take them within 10s"}, last: 29},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, reg := fresh(t, 1, metrics.Options{})
				x := &target{}
				test.at(x, 0)
				e := m.Export(x.Target(), 4*time.Second)
				began := time.Now()
				for second := range 61 {
					test.at(x, second)
					m.Add(&record.Record{Org: "o", User: "u", Done: time.Duration(second)})
					time.Sleep(time.Second) // in the bubble
				}
				if took := time.Since(began); took != 61*time.Second {
					t.Errorf("requests were held up: %v", took)
				}
				problem := e.Stop(t.Context())
				for _, want := range test.problem {
					if !strings.Contains(problem, want) {
						t.Errorf("%q does not say %q", problem, want)
					}
				}
				if len(test.problem) == 0 && problem != "" {
					t.Error(problem)
				}
				if math.Abs(x.last-test.last) > 4 || test.problem == nil && x.last != test.last {
					t.Errorf("the last push had %v requests, want %v", x.last, test.last)
				}
				all := gathered(t, reg)
				// One that was broken off by the end of the run is no fault of the target's.
				if got := sum(all["worker_export_attempts_total"], "exporter=otlp"); got > float64(x.pushes) || got < float64(x.pushes-1) {
					t.Errorf("%v attempts are counted of %d", got, x.pushes)
				}
				if took := time.Since(began); took > 61*time.Second+40*time.Second {
					t.Errorf("the end took %v", took)
				}
			})
		})
	}
}

// message is a decoded protobuf message: the values of its fields.
func message(t *testing.T, data []byte) map[protowire.Number][]any {
	t.Helper()
	out := map[protowire.Number][]any{}
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		data = data[max(0, n):]
		var v any
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(data)
		default:
			v, n = protowire.ConsumeBytes(data)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		out[field] = append(out[field], v)
		data = data[n:]
	}
	return out
}

func TestRemoteWrite(t *testing.T) {
	var series []string
	values := map[string]float64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "sesame" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body, err = snappy.Decode(nil, body)
		}
		if err != nil || r.Header.Get("Content-Encoding") != "snappy" {
			t.Errorf("%v, %v", err, r.Header)
		}
		for _, s := range message(t, body)[1] {
			one := message(t, s.([]byte))
			name := ""
			for _, l := range one[1] {
				pair := message(t, l.([]byte))
				name += string(pair[1][0].([]byte)) + "=" + string(pair[2][0].([]byte)) + ","
			}
			series = append(series, name)
			if len(one[2]) == 1 {
				sample := message(t, one[2][0].([]byte))
				values[name] = math.Float64frombits(sample[1][0].(uint64))
			} else if h := message(t, one[4][0].([]byte)); h[1][0].(uint64) > 0 {
				values[name] = float64(h[1][0].(uint64))
			}
		}
	}))
	defer server.Close()
	m, reg := fresh(t, 1, metrics.Options{})
	for _, r := range traffic(1, 1, 5) {
		m.Add(r)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := func(login string) metrics.Target {
		x, err := metrics.RemoteWrite(strings.Replace(server.URL, "://", "://"+login, 1))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if err := at("me:sesame@").Push(t.Context(), families); err != nil {
		t.Fatal(err)
	}
	if len(series) < 300 {
		t.Errorf("%d series", len(series))
	}
	for name, want := range map[string]float64{
		"__name__=loadtest_user_requests_total,model=sim-small,org_id=org-0,status=success,test_run_id=run,test_type=random_short,user_id=user-0,worker_id=0,": 1,
		"__name__=loadtest_llm_generation_total_seconds_count,backend_id=b-0,model=sim-small,org_id=org-0,test_run_id=run,worker_id=0,":                        2,
		"__name__=loadtest_llm_generation_total_seconds_bucket,backend_id=b-0,le=+Inf,model=sim-small,org_id=org-0,test_run_id=run,worker_id=0,":               2,
		"__name__=loadtest_llm_generation_seconds,backend_id=b-0,model=sim-small,org_id=org-0,test_run_id=run,worker_id=0,":                                    2,
	} {
		if got, there := values[name]; got != want || !there {
			t.Errorf("%s is %v (%v), want %v", name, got, there, want)
		}
	}
	x := at("me:wrong@")
	if err := x.Push(t.Context(), families); err == nil || err.Error() != "401 Unauthorized: who are you?" || strings.Contains(x.URL, "wrong") {
		t.Errorf("%v from %s", err, x.URL)
	}
}

// otlpServer takes OTLP by gRPC and over HTTP.
type otlpServer struct {
	collector.UnimplementedMetricsServiceServer
	got map[string]int // points, by metric
}

func (s *otlpServer) Export(_ context.Context, in *collector.ExportMetricsServiceRequest) (*collector.ExportMetricsServiceResponse, error) {
	for _, resource := range in.ResourceMetrics {
		for _, scope := range resource.ScopeMetrics {
			for _, m := range scope.Metrics {
				s.got[m.Name] += len(m.GetSum().GetDataPoints()) + len(m.GetExponentialHistogram().GetDataPoints()) + len(m.GetHistogram().GetDataPoints())
			}
		}
	}
	return &collector.ExportMetricsServiceResponse{}, nil
}

func (s *otlpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in collector.ExportMetricsServiceRequest
	unzipped, err := gzip.NewReader(r.Body)
	if err == nil {
		var body []byte
		if body, err = io.ReadAll(unzipped); err == nil {
			err = proto.Unmarshal(body, &in)
		}
	}
	if err != nil || r.URL.Path != "/v1/metrics" || r.Header.Get("Authorization") != "Basic bWU6c2VzYW1l" {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	_, _ = s.Export(r.Context(), &in)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func TestOTLP(t *testing.T) {
	m, reg := fresh(t, 1, metrics.Options{})
	for _, r := range traffic(1, 1, 5) {
		m.Add(r)
	}
	check := func(t *testing.T, s *otlpServer, address string) {
		x, err := metrics.OTLP(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(x.URL, "sesame") {
			t.Error("the password is shown: " + x.URL)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(x.Push(t.Context(), families), x.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"loadtest_user_requests_total", "loadtest_llm_generation_total_seconds", "loadtest_llm_generation_seconds"} {
			if s.got[name] == 0 {
				t.Errorf("no %s in %v", name, s.got)
			}
		}
	}
	t.Run("http", func(t *testing.T) {
		s := &otlpServer{got: map[string]int{}}
		server := httptest.NewServer(s)
		defer server.Close()
		check(t, s, strings.Replace(server.URL, "://", "://me:sesame@", 1))
	})
	t.Run("grpc", func(t *testing.T) {
		s := &otlpServer{got: map[string]int{}}
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing is waited for
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		collector.RegisterMetricsServiceServer(server, s)
		go func() { _ = server.Serve(l) }() // ends with Stop
		defer server.Stop()
		check(t, s, l.Addr().String())
	})
	if _, err := metrics.OTLP(t.Context(), "ftp://x"); err == nil || !strings.Contains(err.Error(), "ftp") {
		t.Errorf("ftp: %v", err)
	}
}

func TestPage(t *testing.T) {
	m, reg := fresh(t, 1, metrics.Options{})
	m.Add(traffic(1, 1, 1)[0])
	s := metrics.NewPage(reg)
	server := httptest.NewServer(s)
	defer server.Close()
	scrape := func() string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // only read from
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if !strings.Contains(scrape(), `loadtest_user_requests_total{model="sim-small",org_id="org-0",status="success",`) {
		t.Error("the request is not there")
	}
	if s.Patience() != 0 {
		t.Errorf("somebody who looked once is waited for: %v", s.Patience())
	}
	scrape()
	if p := s.Patience(); p < time.Second {
		t.Errorf("somebody who looks regularly is waited for %v", p)
	}
	came := make(chan bool)
	go func() { came <- s.Linger(t.Context()) }()
	for done := false; !done; {
		scrape() // until one came after it began to wait
		select {
		case ok := <-came:
			if done = true; !ok {
				t.Error("no scrape was seen")
			}
		default:
		}
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	if s.Linger(gone) {
		t.Error("a scrape was seen where none was")
	}
}

// TestServerSide reads what vLLM and DCGM say of themselves, and makes nothing
// of what they do not.
func TestServerSide(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m"} 6
vllm:num_requests_running{model_name="says nothing of waiting"} 6
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="m"} 2
# TYPE vllm:request_queue_time_seconds histogram
vllm:request_queue_time_seconds_bucket{model_name="m",le="+Inf"} 4
vllm:request_queue_time_seconds_sum{model_name="m"} 0.2
vllm:request_queue_time_seconds_count{model_name="m"} 4
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0"} 60
DCGM_FI_DEV_FB_USED{gpu="says nothing of free"} 60
# TYPE DCGM_FI_DEV_FB_FREE gauge
DCGM_FI_DEV_FB_FREE{gpu="0"} 20
`)
	}))
	defer server.Close()
	m, reg := fresh(t, 1, metrics.Options{})
	watch := m.WatchServer(server.URL, time.Hour)
	defer watch.Stop()
	all := gathered(t, reg)
	for all["llm_backend_saturation_ratio"] == nil { // until it has been read
		all = gathered(t, reg)
	}
	for name, want := range map[string]float64{"llm_backend_saturation_ratio": 0.25, "llm_backend_queue_time_milliseconds": 50, "llm_gpu_memory_utilization_percent": 75} {
		if got := sum(all[name]); got != want || len(all[name].Metric) != 1 {
			t.Errorf("%s is %v, want %v", name, all[name], want)
		}
	}
}
