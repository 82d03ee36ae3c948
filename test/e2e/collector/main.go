// Command collector is the OpenTelemetry Collector with the least in it: its own
// OTLP receiver, and an exporter that appends what arrives to files, as
// length-delimited messages of OTLP. It is a module of its own, so that what it
// needs is not needed by the tool.
//
//	collector --config file:config.yaml
package main

import (
	"context"
	"encoding/binary"
	"log"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry"
)

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "e2e"},
		Factories: func() (f otelcol.Factories, err error) {
			if f.Receivers, err = otelcol.MakeFactoryMap(otlpreceiver.NewFactory()); err != nil {
				return f, err
			}
			f.Exporters, err = otelcol.MakeFactoryMap(files())
			f.Telemetry = telemetry.NewFactory(func() component.Config { return &struct{}{} })
			return f, err
		},
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			DefaultScheme: "file", ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
		}},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		log.Fatal(err)
	}
}

// config names the file of an exporter.
type config struct {
	Path string `mapstructure:"path"`
}

func files() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("file"), func() component.Config { return &config{} },
		exporter.WithMetrics(func(_ context.Context, _ exporter.Settings, c component.Config) (exporter.Metrics, error) {
			var encoder pmetric.ProtoMarshaler
			f := &file{path: c.(*config).Path}
			take, err := consumer.NewMetrics(func(_ context.Context, m pmetric.Metrics) error { return f.append(encoder.MarshalMetrics(m)) })
			return struct {
				component.Component
				consumer.Metrics
			}{f, take}, err
		}, component.StabilityLevelDevelopment),
		exporter.WithTraces(func(_ context.Context, _ exporter.Settings, c component.Config) (exporter.Traces, error) {
			var encoder ptrace.ProtoMarshaler
			f := &file{path: c.(*config).Path}
			take, err := consumer.NewTraces(func(_ context.Context, t ptrace.Traces) error { return f.append(encoder.MarshalTraces(t)) })
			return struct {
				component.Component
				consumer.Traces
			}{f, take}, err
		}, component.StabilityLevelDevelopment))
}

// file is appended to, a message at a time.
type file struct {
	path string
	mu   sync.Mutex
	to   *os.File
}

func (f *file) Start(context.Context, component.Host) (err error) {
	f.to, err = os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return err
}

func (f *file) Shutdown(context.Context) error { return f.to.Close() }

func (f *file) append(message []byte, err error) error {
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err = f.to.Write(append(binary.AppendUvarint(nil, uint64(len(message))), message...))
	return err
}
