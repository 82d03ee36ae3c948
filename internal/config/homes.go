package config

import (
	"reflect"
	"slices"
	"sync"
)

// homesOf returns where in a LoadTestScenario a field of this name exists, for
// those who put it in the wrong place.
func homesOf(name string) []string { return homes()[name] }

var homes = sync.OnceValue(func() map[string][]string {
	found := map[string][]string{}
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(t.Elem(), path)
		case reflect.Struct:
			for _, f := range fieldsOf(t) {
				for _, name := range f.names() {
					if !slices.Contains(found[name], path) && path != "" {
						found[name] = append(found[name], path)
					}
				}
				if f.index >= 0 {
					walk(t.Field(f.index).Type, join(path, f.name))
				}
			}
		}
	}
	walk(reflect.TypeFor[Scenario](), "")
	return found
})
