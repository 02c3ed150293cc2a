//go:build race

package main

const race = true // the race detector is on
