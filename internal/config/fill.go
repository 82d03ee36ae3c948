package config

import (
	"fmt"
	"reflect"
	"sync"

	"go.yaml.in/yaml/v4"
)

// fill gives every field that the file left out its default.
func (d *decoder) fill(v reflect.Value, path string) {
	each(v, path, d.fill)
	if v.Kind() != reflect.Struct {
		return
	}
	for _, f := range fieldsOf(v.Type()) {
		at := join(path, f.name)
		if _, there := d.given[at]; there || f.def == "" || f.index < 0 {
			continue
		}
		// A default is not the file's, so it does not count towards its bounds.
		own := newDecoder("default", nil, nil)
		own.given = map[string]given{at: {}}
		if !own.value(parsedDefault(f.def), v.Field(f.index), at, f) {
			panic(fmt.Sprintf("config: the default of %s is wrong: %v", at, own.faults.List))
		}
		for p := range own.given {
			d.given[p] = given{byDefault: true}
		}
		d.fill(v.Field(f.index), at)
	}
}

// each calls do for every struct directly inside v that the decoder may have
// filled, with its path.
func each(v reflect.Value, path string, do func(v reflect.Value, path string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			do(v.Elem(), path)
		}
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			if f.index < 0 {
				continue
			}
			switch field := v.Field(f.index); field.Kind() {
			case reflect.Struct, reflect.Pointer, reflect.Slice, reflect.Map:
				do(field, join(path, f.name))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				do(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.Struct {
			for _, k := range v.MapKeys() {
				item := reflect.New(v.Type().Elem()).Elem()
				item.Set(v.MapIndex(k))
				do(item, join(path, k.String()))
				v.SetMapIndex(k, item)
			}
		}
	}
}

var defaultCache sync.Map // the YAML of a default → *yaml.Node

func parsedDefault(s string) *yaml.Node {
	if known, ok := defaultCache.Load(s); ok {
		return known.(*yaml.Node)
	}
	var doc yaml.Node
	if err := yaml.Load([]byte(s), &doc); err != nil {
		panic(fmt.Sprintf("config: the default %q is not YAML: %v", s, err))
	}
	known, _ := defaultCache.LoadOrStore(s, doc.Content[0])
	return known.(*yaml.Node)
}
