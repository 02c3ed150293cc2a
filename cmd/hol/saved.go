package main

import (
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
		return usagef("--from measures nothing: it goes with --out, --html, --json and --csv alone")
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
	return report.ReadJSON(f)
}
