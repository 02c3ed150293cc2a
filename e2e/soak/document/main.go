// Command document puts the results of soaks into docs/soak.md: the tables between
// its markers, made of docs/soak/run.json and docs/soak/attacks.json.
//
//	go run -C e2e ./soak/document          says whether something would change, with status 1
//	go run -C e2e ./soak/document -write   changes it
//
// Files that --json has written are taken into docs/soak first if they are named,
// as run.json or attacks.json by what is in them; -write is needed then. Their
// paths must be absolute, as go run -C changes the directory.
//
//	go run -C e2e ./soak/document -write "$PWD"/run.json "$PWD"/attacks.json
package main

import "github.com/towpath-go/towpath/e2e/soak/internal/report"

func main() { report.Document.Main() }
