package cli

import (
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLog returns a structured log in a file of its own: a line of JSON an
// event, with constant messages and fields. Errors in a storm are sampled.
func newLog(path string, debug bool, runID string) (*zap.Logger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // in the run's own folder
	if err != nil {
		return nil, err
	}
	level := zapcore.InfoLevel
	if debug {
		level = zapcore.DebugLevel
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder.EncodeDuration = zapcore.StringDurationEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.Lock(f), level)
	return zap.New(core).With(zap.String("run", runID)), nil
}
