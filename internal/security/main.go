// Command security keeps docs/security.md true. The document has two generated
// parts, between markers: the table of limits, whose defaults are those of the
// packages, and the table of attacks, which the tests named TestHostile measure
// with package internal/hostile.
//
//	go run ./internal/security -write            make both parts anew, the attacks from docs/security/attacks.json
//	go run ./internal/security -measure          run the tests, write attacks.json, and then as -write
//	go run ./internal/security -ran run.json     check that every attack of the document was tested, and its bounds held
//
// A run is the output of go test -json. The tests of this package check that the
// document is up to date and that no limit is without a row.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	write := flag.Bool("write", false, "write docs/security.md")
	measure := flag.Bool("measure", false, "measure the attacks, and write docs/security.md")
	ran := flag.String("ran", "", "`file` with the output of go test -json to check the attacks against")
	flag.Parse()
	if err := run(*write, *measure, *ran); err != nil {
		fmt.Fprintln(os.Stderr, "security:", err)
		os.Exit(1)
	}
}

func run(write, measure bool, ran string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	switch {
	case ran != "":
		f, err := os.Open(ran)
		if err != nil {
			return err
		}
		defer f.Close()
		known, err := readAttacks(root)
		if err != nil {
			return err
		}
		return checkRan(os.Stdout, known, f)
	case measure:
		if err := measureAll(root); err != nil {
			return err
		}
		return writeDocument(root)
	case write:
		return writeDocument(root)
	}
	return errors.New("say -write, -measure or -ran FILE")
}

// moduleRoot is the directory of the go.mod that counts here.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	mod := string(bytes.TrimSpace(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("not in the module")
	}
	return filepath.Dir(mod), nil
}

// measureAll runs the tests of attacks, one package after the other so that
// none disturbs another, and keeps what they measured.
func measureAll(root string) error {
	cmd := exec.Command("go", "test", "-json", "-count=1", "-p=1", "-run=^TestHostile", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	found, readErr := rows(io.TeeReader(out, failures(os.Stdout)))
	if err := errors.Join(readErr, cmd.Wait()); err != nil {
		return err
	}
	return writeAttacks(root, found)
}

func writeDocument(root string) error {
	old, err := os.ReadFile(documentFile(root))
	if err != nil {
		return err
	}
	attacks, err := readAttacks(root)
	if err != nil {
		return err
	}
	doc, err := generate(old, attacks)
	if err != nil {
		return err
	}
	return os.WriteFile(documentFile(root), doc, 0o644)
}
