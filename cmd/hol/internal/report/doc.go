// Package report shows a lab.Study: as tables for a terminal, as JSON and CSV
// for programs, as one HTML page with plots for people, and as the generated
// parts of docs/hol.md.
//
//	scenario.go, transports.go, numbers.go, columns.go   what is shown, in which order and units
//	table.go                                             terminal
//	files.go                                             JSON, CSV
//	svg.go, axis.go, plot_*.go                           plots, themed by CSS classes
//	page.go, page.html, style.css                        HTML
//	document.go, document/                               docs/hol.md and its pictures
//
// It computes nothing that a study does not have, and needs neither network nor
// clock: equal studies give equal bytes.
package report
