package trial

import (
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

// A meter counts processor time between two marks.
type meter struct {
	link   *link.Link
	begun  time.Time
	before lab.CPU
	cpu    lab.CPU // the result
	err    error
}

// read is the time used since the process began.
func (m *meter) read() lab.CPU {
	router := m.link.Report().RouterCPU
	process, err := processTime()
	if err != nil && m.err == nil {
		m.err = err
	}
	return lab.CPU{Ends: process - router, Router: router}
}

func (m *meter) begin() {
	m.begun = time.Now()
	m.before = m.read()
}

func (m *meter) end() {
	after := m.read()
	m.cpu = lab.CPU{
		Ends:   after.Ends - m.before.Ends,
		Router: after.Router - m.before.Router,
		Wall:   time.Since(m.begun),
	}
}
