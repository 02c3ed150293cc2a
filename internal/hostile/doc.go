// Package hostile measures what a scripted peer makes its victim hold and do.
// It is for tests, which have names that begin with TestHostile: each describes
// an [Attack], carries it out against a victim in the same process, samples
// memory and goroutines while the victim holds most, and has [Meter.End] compare
// them with the documented bound. What the attacker itself holds is measured
// too, so scripts build their frames once and keep nothing.
//
// Each measurement is an attribute of its test, from which docs/security.md is
// generated.
package hostile
