package metrics

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
	dto "github.com/prometheus/client_model/go"
)

// Job is the job label of what is pushed.
const Job = "loadtest"

// grouping are the labels by which a Pushgateway keeps workers apart.
var grouping = []string{"test_run_id", "worker_id"}

// Pushgateway is a target that replaces this worker's group at every push. If
// the metrics are not to be retained, the group is deleted at the end.
func Pushgateway(address string, runID, worker string, retain bool) (Target, error) {
	u, login, err := parse(address)
	if err != nil {
		return Target{}, err
	}
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: pushTime}
	pusher := func() *push.Pusher {
		p := push.New(u.String(), Job).Client(client).Grouping(grouping[0], runID).Grouping(grouping[1], worker)
		if login != nil {
			password, _ := login.Password()
			p.BasicAuth(login.Username(), password)
		}
		return p
	}
	return Target{
		Name: "pushgateway", URL: u.String(),
		Push: func(ctx context.Context, families []*dto.MetricFamily) error {
			return pusher().Gatherer(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return ungrouped(families), nil })).PushContext(ctx)
		},
		Close: func(context.Context) error {
			defer client.CloseIdleConnections()
			if retain {
				return nil
			}
			return pusher().Delete()
		},
	}, nil
}

// ungrouped removes the labels that the group has.
func ungrouped(families []*dto.MetricFamily) []*dto.MetricFamily {
	for _, f := range families {
		for _, m := range f.Metric {
			m.Label = slices.DeleteFunc(m.Label, func(l *dto.LabelPair) bool { return slices.Contains(grouping, l.GetName()) })
		}
	}
	return families
}

// parse separates an address from the login in it, which must not be shown.
func parse(address string) (*url.URL, *url.Userinfo, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	login := u.User
	u.User = nil
	return u, login, nil
}

func basic(login *url.Userinfo) string {
	password, _ := login.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(login.Username()+":"+password))
}
