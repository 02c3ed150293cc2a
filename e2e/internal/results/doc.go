// Package results is what the commands that measure have in common: where a result
// was made, its JSON, and the documents whose tables are made of it.
package results
