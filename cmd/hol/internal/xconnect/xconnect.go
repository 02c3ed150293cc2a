// Package xconnect lets net/http's HTTP/2 server accept extended CONNECT
// (RFC 8441), by which WebSockets begin. Import it for its effect.
//
// net/http has this off and looks once, when it is initialised, at the
// environment variable GODEBUG for the setting http2xconnect=1; a //go:debug
// directive does not reach that variable. Go initialises packages in the order
// of their import paths as soon as what they import is initialised ("Package
// initialization" in the language's specification). This package imports only
// packages that net/http needs too, and its path sorts before "net/http": so it
// is always first, and no program has to be started again with another
// environment. Child processes inherit the setting.
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
