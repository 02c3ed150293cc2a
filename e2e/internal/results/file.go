package results

import (
	"encoding/json"
	"fmt"
	"os"
)

// Read reads a file of results. Their field "schema" must be the given one.
func Read[T any](path string, schema int) (r T, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	var version struct{ Schema int }
	if err := json.Unmarshal(b, &version); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	if version.Schema != schema {
		return r, fmt.Errorf("%s has schema %d, not %d: make it again", path, version.Schema, schema)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
