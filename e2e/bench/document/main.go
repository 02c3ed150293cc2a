// Command document puts the results of a benchmark into docs/performance.md: the
// tables between its markers, made of docs/performance/results.json.
//
//	go run -C e2e ./bench/document          says whether something would change, with status 1
//	go run -C e2e ./bench/document -write   changes it
//
// A file that -json has written is taken into docs/performance first if it is
// named; -write is needed then. Its path must be absolute, as go run -C changes
// the directory.
//
//	go run -C e2e ./bench/document -write "$PWD"/results.json
package main

import "github.com/towpath-go/towpath/e2e/bench/internal/report"

func main() { report.Document.Main() }
