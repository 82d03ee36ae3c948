package metrics

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

// OTLP is an OpenTelemetry collector: http://host:4318 or https://… takes
// OTLP over HTTP, at /v1/metrics unless the address has a path; grpc://host:4317,
// or host:4317 alone, takes it by gRPC in the clear, grpcs:// by gRPC with TLS.
func OTLP(ctx context.Context, address string) (Target, error) {
	if !strings.Contains(address, "://") {
		address = "grpc://" + address
	}
	u, login, err := parse(address)
	if err != nil {
		return Target{}, err
	}
	exporter, err := otlpExporter(ctx, u, login)
	if err != nil {
		return Target{}, err
	}
	of := resource.NewSchemaless(attribute.String("service.name", Job))
	return Target{
		Name: "otlp", URL: u.String(),
		Push: func(ctx context.Context, families []*dto.MetricFamily) error {
			taken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
			scopes, err := bridge.NewMetricProducer(bridge.WithGatherer(taken)).Produce(ctx)
			if err != nil {
				return err
			}
			return exporter.Export(ctx, &metricdata.ResourceMetrics{Resource: of, ScopeMetrics: scopes})
		},
		Close: exporter.Shutdown,
	}, nil
}

func otlpExporter(ctx context.Context, u *url.URL, login *url.Userinfo) (sdk.Exporter, error) {
	headers := map[string]string{}
	if login != nil {
		headers["Authorization"] = basic(login)
	}
	// Retries are ours, with fresh numbers.
	switch u.Scheme {
	case "http", "https":
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/metrics"
		}
		return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(u.String()), otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithTimeout(pushTime),
			otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}), otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	case "grpc", "grpcs":
		options := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(u.Host), otlpmetricgrpc.WithHeaders(headers), otlpmetricgrpc.WithTimeout(pushTime),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{}), otlpmetricgrpc.WithCompressor("gzip")}
		if u.Scheme == "grpc" {
			options = append(options, otlpmetricgrpc.WithInsecure())
		}
		return otlpmetricgrpc.New(ctx, options...)
	}
	return nil, fmt.Errorf("an OpenTelemetry collector is reached by http, https, grpc or grpcs, not by %q", u.Scheme)
}
