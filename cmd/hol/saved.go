package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/report"
)

// report makes the reports of a study that was saved. It needs no Linux.
func (c *cli) report(io streams) error {
	rest := *c
	rest.From, rest.Out, rest.HTML, rest.JSON, rest.CSV, rest.Quiet = "", "", "", target{}, "", false
	if !reflect.DeepEqual(rest, cli{}) {
		return usagef("--from measures nothing: it goes with --out, --html, --json, --csv and --quiet alone")
	}
	if c.From == "-" {
		return usagef("--from is a file: --from /dev/stdin is standard input")
	}
	directory, err := fromHere()
	if err != nil {
		return err
	}
	study, err := readStudy(fromCaller(directory, c.From))
	if err != nil {
		return usagef("--from: %w", err)
	}
	out, err := c.outputs(directory)
	if err != nil {
		return err
	}
	if err := out.write(study, nil, io); err != nil {
		return err
	}
	return validity(study)
}

func readStudy(path string) (lab.Study, error) {
	f, err := os.Open(path)
	if err != nil {
		return lab.Study{}, err
	}
	defer f.Close()
	study, err := report.ReadJSON(f)
	if _, ok := errors.AsType[*fs.PathError](err); err != nil && !ok { // which would have the name
		return study, fmt.Errorf("%s is not a study that --json has written: %w", path, err)
	}
	return study, err
}
