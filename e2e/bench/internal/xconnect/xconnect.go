// Package xconnect lets x/net/http2's server, and net/http's, accept extended
// CONNECT (RFC 8441), by which streams over plain HTTP/2 begin. Import it for its
// effect.
//
// Both have this off and look once, when they are initialised, at the environment
// variable GODEBUG for the setting http2xconnect=1; a //go:debug directive does
// not reach that variable. Go initialises packages in the order of their import
// paths as soon as what they import is initialised ("Package initialization" in
// the language's specification). This package imports only what those packages
// need too, and its path sorts before theirs: so it is always first. Child
// processes inherit the setting.
package xconnect

import (
	"os"
	"strings"
)

func init() {
	const setting = "http2xconnect=1"
	switch now := os.Getenv("GODEBUG"); {
	case now == "":
		_ = os.Setenv("GODEBUG", setting)
	case !strings.Contains(now, setting):
		_ = os.Setenv("GODEBUG", now+","+setting)
	}
}
