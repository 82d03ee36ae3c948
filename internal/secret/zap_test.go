package secret_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// marshaler logs itself, and a secret among its fields, in each way there is.
type marshaler struct{ key secret.String }

func (m marshaler) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("string", m.key.String())
	return errors.Join(e.AddReflected("reflected", m.key), e.AddReflected("pointer", &m.key), e.AddArray("array", m))
}

func (m marshaler) MarshalLogArray(e zapcore.ArrayEncoder) error {
	e.AppendString(fmt.Sprint(m.key))
	return e.AppendReflected(m.key)
}

// TestNoFieldOfZapLogsASecret puts a secret into a line in every way that zap
// has, in both of its encodings.
func TestNoFieldOfZapLogsASecret(t *testing.T) {
	const value = "sk-very-secret"
	s, m := secret.New(value), marshaler{secret.New(value)}
	p := &s
	type holder struct {
		Key  secret.String
		Ptr  **secret.String
		Map  map[secret.String]secret.String
		List []secret.String
		Any  any
		key  secret.String
	}
	h := holder{s, &p, map[secret.String]secret.String{s: s}, []secret.String{s}, s, s}
	fields := map[string]zap.Field{
		"Any":             zap.Any("f", s),
		"Any, pointer":    zap.Any("f", &s),
		"Any, struct":     zap.Any("f", h),
		"Any, hidden":     zap.Any("f", hidden{key: s}),
		"Any, slice":      zap.Any("f", []secret.String{s}),
		"Any, map":        zap.Any("f", map[string]any{"a": s, "b": &h}),
		"Any, error":      zap.Any("f", fmt.Errorf("with %v and %+v", s, hidden{key: s})),
		"Array":           zap.Array("f", m),
		"ByteString":      zap.ByteString("f", fmt.Append(nil, s)),
		"Binary":          zap.Binary("f", fmt.Append(nil, s)),
		"Dict":            zap.Dict("f", zap.Any("key", s), zap.Stringer("stringer", s)),
		"Error":           zap.Error(fmt.Errorf("with %v", s)),
		"Errors":          zap.Errors("f", []error{fmt.Errorf("with %#v", s), errors.Join(fmt.Errorf("with %x", s))}),
		"NamedError":      zap.NamedError("f", fmt.Errorf("with %q", &s)),
		"Inline":          zap.Inline(m),
		"Object":          zap.Object("f", m),
		"ObjectValues":    zap.Objects("f", []marshaler{m}),
		"Reflect":         zap.Reflect("f", s),
		"Reflect, struct": zap.Reflect("f", &h),
		"Stack":           zap.Stack("f"),
		"String":          zap.String("f", s.String()),
		"Stringer":        zap.Stringer("f", s),
		"Stringers":       zap.Stringers("f", []secret.String{s}),
	}
	for encoding, encoder := range map[string]zapcore.Encoder{
		"json":    zapcore.NewJSONEncoder(zap.NewDevelopmentEncoderConfig()),
		"console": zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		check := func(way string, log func(*zap.Logger)) {
			t.Helper()
			var out strings.Builder
			log(zap.New(zapcore.NewCore(encoder.Clone(), zapcore.AddSync(&out), zapcore.DebugLevel)))
			text := strings.ToLower(out.String())
			// As it is, in hexadecimal, and in base 64 without its last group.
			for _, form := range []string{value, fmt.Sprintf("%x", value), "c2stdmvyes1zzwny"} {
				if strings.Contains(text, form) {
					t.Errorf("%s, %s: %s", encoding, way, text)
				}
			}
			if !strings.Contains(text, "message") {
				t.Errorf("%s, %s: nothing was logged: %q", encoding, way, text)
			}
		}
		for way, field := range fields {
			check(way, func(l *zap.Logger) { l.Info("message", field) })
			check("With "+way, func(l *zap.Logger) { l.With(zap.Namespace("n"), field).WithLazy(field).Error("message") })
		}
		check("sugar", func(l *zap.Logger) {
			sugar := l.Sugar().With("key", s, "holder", h)
			sugar.Infow("message", "key", s, "ptr", &s, "hidden", hidden{key: s})
			sugar.Infof("message %v %+v %#v %s %x %v", s, &s, h, s, s, hidden{key: s})
			sugar.Info("message", s, h)
			sugar.Infoln("message", s, &h)
		})
	}
}
