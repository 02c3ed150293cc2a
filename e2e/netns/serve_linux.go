package netns

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// serveHost is the life of a host: it answers the requests of the test until
// their pipe breaks, and ends the process.
func serveHost(name string) {
	unusable := setUp(os.Getenv(hostsEnv))
	if unusable != nil {
		unusable = fmt.Errorf("host %s: %w", name, unusable)
	}
	in, out := os.NewFile(3, "requests"), os.NewFile(4, "responses")
	// Commands that a function starts must not hold the pipes open.
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	var mu sync.Mutex // serialises out
	dec := json.NewDecoder(in)
	for {
		var r request
		if dec.Decode(&r) != nil {
			os.Exit(0) // the test has ended, one way or another
		}
		// Ends with its function, at the latest with the process.
		go func() {
			line := respond(r, unusable)
			mu.Lock()
			defer mu.Unlock()
			out.Write(line) // fails if the test has gone; the loop above sees that
		}()
	}
}

// respond runs the function, or says why the host is unusable.
func respond(r request, unusable error) []byte {
	resp := response{ID: r.ID}
	f := registered[r.Name]
	if unusable != nil {
		resp.Err = unusable.Error()
	} else if f == nil {
		resp.Err = "netns: no function " + r.Name
	} else if result, err := f(context.Background(), r.Arg); err != nil {
		resp.Err = err.Error()
		if resp.Err == "" {
			resp.Err = fmt.Sprintf("%T", err)
		}
	} else if resp.Result, err = json.Marshal(result); err != nil {
		resp.Err = err.Error()
	}
	line, err := json.Marshal(resp)
	if err != nil {
		panic("netns: " + err.Error()) // a struct of ours, checked above
	}
	return append(line, '\n')
}

// setUp makes the lab's names resolve in this process alone: the mount
// namespace is its own, and made private before something is mounted.
func setUp(hostsFile string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount(hostsFile, "/etc/hosts", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting /etc/hosts: %w", err)
	}
	return setUpLoopback()
}
